// Builds a request head from decoded fields, and refuses malformed ones (RFC 9113 8.3.1).
//
// The head is the same as from HTTP/1's parser: pseudo-fields become its parts, Host exists and
// equals `:authority`, cookie crumbs are joined to one field, and field lines have the form of
// HTTP/1. After the first error nothing more is stored, but the block is decoded to its end.

import HTTP
import Primitives

struct RequestReader: ~Copyable, FieldSink {
  var head = RequestHead()
  private var error: HTTP2Error? = nil
  private var size = HeadSize()
  private var targetByteCountMax = 0
  private var crumbCountMax = 0
  private var takesExtendedConnect = false

  private var seen: PseudoFields = []
  private var pseudoFieldsAreOver = false
  private var hasHost = false
  private var crumbCount = 0
  /// The cookie fields so far, joined.
  private var cookies = ByteBuffer()
  private var hasSecretCookie = false
  private(set) var contentLength = StatedLength()
  private(set) var priority: StreamPriority? = nil

  private struct PseudoFields: OptionSet {
    let rawValue: UInt8
    static let method = PseudoFields(rawValue: 1)
    static let scheme = PseudoFields(rawValue: 2)
    static let authority = PseudoFields(rawValue: 4)
    static let path = PseudoFields(rawValue: 8)
    static let `protocol` = PseudoFields(rawValue: 16)
  }

  init() {}

  mutating func begin(_ limits: HTTP2Limits) {
    head.reset()
    head.version = .http2
    error = nil
    size = HeadSize(
      byteCountMax: limits.fieldListByteCount, fieldCountMax: limits.fieldCount)
    targetByteCountMax = limits.targetByteCount
    crumbCountMax = limits.cookieCrumbCount
    takesExtendedConnect = limits.offersExtendedConnect
    seen = []
    pseudoFieldsAreOver = false
    hasHost = false
    crumbCount = 0
    cookies.removeAll()
    hasSecretCookie = false
    contentLength = StatedLength()
    priority = nil
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
    if !pseudoFieldsAreOver { error = endPseudoFields() }
    if error == nil { error = FieldRules.violation(kind, name: name, value: value) }
    if error == nil { error = takeField(kind.known, name, value, isNeverIndexed) }
  }

  /// Ends the head. Returns its error, if any; then the head must not be used.
  mutating func finish() -> HTTP2Error? {
    if error == nil && !pseudoFieldsAreOver { error = endPseudoFields() }
    if let error { return error }
    if head.authority.isEmpty { return .missingAuthority }
    if !cookies.isEmpty { addCookies() }
    return nil
  }

  // MARK: Pseudo-fields

  private mutating func takePseudo(_ kind: FieldKind, _ value: Span<UInt8>) -> HTTP2Error? {
    switch kind {
    case .method: see(.method) ?? takeMethod(value)
    case .scheme: see(.scheme) ?? takeScheme(value)
    case .authority: see(.authority) ?? takeAuthority(value)
    case .path: see(.path) ?? takePath(value)
    case .protocol where takesExtendedConnect: see(.protocol) ?? takeProtocol(value)
    default: .unknownPseudoField
    }
  }

  private mutating func see(_ field: PseudoFields) -> HTTP2Error? {
    if !seen.isDisjoint(with: field) { return .repeatedPseudoField }
    seen.insert(field)
    return nil
  }

  private static let methodByteCount = 32

  private mutating func takeMethod(_ value: Span<UInt8>) -> HTTP2Error? {
    guard value.count <= Self.methodByteCount, value.isToken else { return .badMethod }
    head.method = Method(value)
    head.methodName = head.fields.store(value)
    return nil
  }

  /// Only http and https, so that nothing depends on what backends make of other schemes.
  private mutating func takeScheme(_ value: Span<UInt8>) -> HTTP2Error? {
    guard
      value.equalsIgnoringCase(("https" as StaticString).bytes)
        || value.equalsIgnoringCase(("http" as StaticString).bytes)
    else { return .badScheme }
    head.scheme = head.fields.store(value)
    return nil
  }

  /// Also for the Host field of a request without `:authority`.
  private mutating func takeAuthority(_ value: Span<UInt8>) -> HTTP2Error? {
    guard let parts = Authority(value) else { return .badAuthority }
    head.authority = head.fields.store(value)
    let start = Int(head.authority.start) + parts.host.lowerBound
    head.host = Slice(start..<(start + parts.host.count))
    head.port = parts.port
    return nil
  }

  private mutating func takePath(_ value: Span<UInt8>) -> HTTP2Error? {
    if value.count > targetByteCountMax { return .targetTooLong }
    // Whether an asterisk is allowed depends on the method, which may not have arrived yet.
    let isAsterisk = value.count == 1 && value[0] == 0x2A
    guard value.count > 0, value[0] == 0x2F || isAsterisk else { return .badPath }
    for index in 0..<value.count where !value[index].isTargetByte { return .badPath }
    head.target = head.fields.store(value)
    let start = Int(head.target.start)
    let mark = value.firstIndex(of: 0x3F, in: 0..<value.count)
    head.path = Slice(start..<(start + mark))
    if mark < value.count { head.query = Slice((start + mark + 1)..<(start + value.count)) }
    return nil
  }

  private mutating func takeProtocol(_ value: Span<UInt8>) -> HTTP2Error? {
    // Extended CONNECT to HTTP/2 itself makes no sense (RFC 8441 4).
    guard value.isToken, !value.equals(("h2" as StaticString).bytes),
      !value.equals(("h2c" as StaticString).bytes)
    else { return .badProtocol }
    head.connectProtocol = head.fields.store(value)
    return nil
  }

  /// Checks which pseudo-fields must be present (RFC 9113 8.3.1 and 8.5, RFC 8441 4).
  private mutating func endPseudoFields() -> HTTP2Error? {
    pseudoFieldsAreOver = true
    guard seen.contains(.method) else { return .missingPseudoField }
    if head.method == .connect && !seen.contains(.protocol) {
      guard seen == [.method, .authority], head.port != nil else { return .badConnect }
      head.targetForm = .authority
      head.target = head.authority
    } else {
      if seen.contains(.protocol) {
        guard head.method == .connect, seen.contains(.authority) else { return .badConnect }
      }
      guard seen.isSuperset(of: [.scheme, .path]) else { return .missingPseudoField }
      if head.bytes(of: head.path)[0] == 0x2A {
        guard head.method == .options else { return .badPath }
        head.targetForm = .asterisk
      }
    }
    if seen.contains(.authority) { addHost() }
    return nil
  }

  /// Host first, as RFC 9110 7.2 recommends.
  private mutating func addHost() {
    head.fields.beginField(.host)
    head.fields.appendValue(head.authority)
    head.fields.endField()
  }

  // MARK: Fields

  private mutating func takeField(
    _ known: KnownField?, _ name: Span<UInt8>, _ value: Span<UInt8>, _ isNeverIndexed: Bool
  ) -> HTTP2Error? {
    switch known {
    case .host: return takeHost(value)
    case .cookie: return takeCookie(value, isNeverIndexed)
    case .contentLength:
      if let error = contentLength.take(value) { return error }
    case .expect:
      let isContinue = value.equalsIgnoringCase(("100-continue" as StaticString).bytes)
      head.expect = isContinue && head.expect != .unknown ? .continue : .unknown
    case nil where name.equals(("priority" as StaticString).bytes):
      priority = StreamPriority(value) ?? priority
    default: break
    }
    if let error = size.addField() { return error }
    head.fields.add(known, name: name, value: value, isNeverIndexed: isNeverIndexed)
    return nil
  }

  /// It must equal `:authority`, or it replaces it (RFC 9113 8.3.1).
  private mutating func takeHost(_ value: Span<UInt8>) -> HTTP2Error? {
    if hasHost { return .repeatedHost }
    hasHost = true
    if seen.contains(.authority) {
      return value.equalsIgnoringCase(head.bytes(of: head.authority)) ? nil : .differingHost
    }
    if let error = takeAuthority(value) { return error }
    addHost()
    return nil
  }

  /// RFC 9113 8.2.3.
  private mutating func takeCookie(
    _ value: Span<UInt8>, _ isNeverIndexed: Bool
  ) -> HTTP2Error? {
    crumbCount += 1
    if crumbCount > crumbCountMax { return .tooManyFields }
    if !cookies.isEmpty { cookies.append("; ") }
    cookies.append(value)
    if isNeverIndexed { hasSecretCookie = true }
    return nil
  }

  private mutating func addCookies() {
    var joined = ByteBuffer()
    swap(&joined, &cookies)
    head.fields.add(
      .cookie, name: ("cookie" as StaticString).bytes, value: joined.bytes,
      isNeverIndexed: hasSecretCookie)
    // Keeps the memory for the next request.
    swap(&joined, &cookies)
  }
}
