// Builds a response head from decoded fields, and refuses malformed ones (RFC 9113 8.3.2).

import HTTP
import Primitives

struct ResponseReader: ~Copyable, FieldSink {
  var head = ResponseHead()
  private var error: HTTP2Error? = nil
  private var size = HeadSize()
  private var hasStatus = false
  private var pseudoFieldsAreOver = false
  private(set) var contentLength = StatedLength()

  init() {}

  mutating func begin(_ limits: HTTP2Limits) {
    head.reset()
    head.version = .http2
    error = nil
    size = HeadSize(
      byteCountMax: limits.fieldListByteCount, fieldCountMax: limits.fieldCount)
    hasStatus = false
    pseudoFieldsAreOver = false
    contentLength = StatedLength()
  }

  mutating func take(
    _ kind: FieldKind, name: Span<UInt8>, value: Span<UInt8>, isNeverIndexed: Bool
  ) {
    if error != nil { return }
    error = size.add(name, value)
    if error != nil { return }
    if kind.isPseudo {
      error = pseudoFieldsAreOver ? .misplacedPseudoField : takePseudo(kind, value)
      return
    }
    pseudoFieldsAreOver = true
    if !hasStatus { error = .missingPseudoField }
    if error == nil { error = FieldRules.violation(kind, name: name, value: value) }
    if error == nil && kind.known == .contentLength { error = contentLength.take(value) }
    if error == nil { error = size.addField() }
    if error == nil {
      head.fields.add(kind.known, name: name, value: value, isNeverIndexed: isNeverIndexed)
    }
  }

  /// Ends the head. Returns its error, if any; then the head must not be used.
  func finish() -> HTTP2Error? {
    if let error { return error }
    return hasStatus ? nil : .missingPseudoField
  }

  private mutating func takePseudo(_ kind: FieldKind, _ value: Span<UInt8>) -> HTTP2Error? {
    guard kind == .status else { return .unknownPseudoField }
    if hasStatus { return .repeatedPseudoField }
    hasStatus = true
    // 101 doesn't exist in HTTP/2 (RFC 9113 8.6).
    guard value.count == 3, let status = value.decimalValue, status >= 100, status <= 599,
      status != 101
    else { return .badStatus }
    head.status = UInt16(status)
    return nil
  }
}
