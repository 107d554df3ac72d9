// Rules for the fields of every message (RFC 9113 8.2), sent or received.

import HTTP
import Primitives

enum FieldRules {
  /// Fields that apply to a connection (RFC 9113 8.2.2), including HTTP2-Settings (RFC 7540 3.2.1).
  static let connectionFields: KnownFieldSet = [
    .connection, .proxyConnection, .keepAlive, .transferEncoding, .upgrade, .http2Settings,
  ]

  /// Trailers that would frame, route or authorise a message after that has already happened. Other
  /// forbidden trailers are left out when trailers are forwarded.
  static let refusedInTrailers: KnownFieldSet = [
    .host, .contentLength, .cookie, .setCookie, .authorization, .proxyAuthorization, .te, .expect,
  ]

  /// The error in a field that is no pseudo-field, if any.
  static func violation(
    _ kind: FieldKind, name: Span<UInt8>, value: Span<UInt8>
  ) -> HTTP2Error? {
    switch kind {
    case .empty: return .emptyFieldName
    case .upperCase: return .upperCaseFieldName
    case .invalid: return .badFieldName
    default: break
    }
    guard value.isFieldValue else { return .badFieldValue }
    // RFC 9113 8.2.1: no blanks around a value.
    if value.count > 0 && (value[0].isBlank || value[value.count - 1].isBlank) {
      return .badFieldValue
    }
    guard let known = kind.known else { return nil }
    if connectionFields.contains(known) { return .connectionField }
    if known == .te && !value.equalsIgnoringCase(("trailers" as StaticString).bytes) {
      return .badTE
    }
    return nil
  }
}

/// The size limits of a head, and its size so far.
struct HeadSize {
  private(set) var byteCount = 0
  private(set) var fieldCount = 0
  private var byteCountMax = 0
  private var fieldCountMax = 0

  init() {}

  init(byteCountMax: Int, fieldCountMax: Int) {
    self.byteCountMax = byteCountMax
    self.fieldCountMax = fieldCountMax
  }

  /// Counts a field's size (RFC 9113 6.5.2).
  mutating func add(_ name: Span<UInt8>, _ value: Span<UInt8>) -> HTTP2Error? {
    byteCount += name.count + value.count + DynamicTable.Entry.overhead
    return byteCount > byteCountMax ? .fieldListTooLarge : nil
  }

  mutating func addField() -> HTTP2Error? {
    fieldCount += 1
    return fieldCount > fieldCountMax ? .tooManyFields : nil
  }
}

/// The value of content-length.
struct StatedLength {
  /// Nil without the field.
  private(set) var value: Int64? = nil

  mutating func take(_ text: Span<UInt8>) -> HTTP2Error? {
    if value != nil { return .repeatedContentLength }
    guard let number = text.decimalValue else { return .badContentLength }
    value = Int64(number)
    return nil
  }
}
