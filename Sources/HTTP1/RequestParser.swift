// Parses request heads (RFC 9112 2-5). Strict, unless the listener enables what Tolerance.swift
// lists.
//
// The bytes stay in the caller's buffer until the head is complete. Then they are copied into the
// head's block and cut into slices. The parser itself is a few words per connection, since the head
// is scratch memory that all connections of a worker share. Framing of the body is separate
// (`RequestHead.framing()`), and so is everything that a site may configure.

public import HTTP
import Primitives

/// The result of one call of a head parser.
public enum HeadProgress: Equatable, Sendable {
  /// Call again with the same bytes and more after them.
  case incomplete
  /// The head is parsed; its bytes are the first `byteCount` of the input.
  case complete(byteCount: Int)
}

public struct RequestParser: Sendable {
  private var scanner = HeadScanner()
  private let limits: HeadLimits
  private let rules: FieldLineRules
  /// Which errors were tolerated in the last head. The client may read what follows it differently
  /// than we do, so the connection should close after the answer.
  public private(set) var tolerated = ToleratedReasons()

  public init(limits: HeadLimits = HeadLimits(), tolerates: Bool = false) {
    self.limits = limits
    rules = tolerates ? .tolerant : .strict
  }

  /// Whether a part of a request head has arrived. Then the client is slow and not idle.
  public var hasBegun: Bool { scanner.hasBegun }

  /// Parses the head at the front of `input`. After `complete` the parser is ready for the next
  /// head; after an error it can't be used again. `head` is written only when the end of the head
  /// has arrived.
  public mutating func parse(
    _ input: Span<UInt8>, into head: inout RequestHead
  ) throws(HTTP1Error) -> HeadProgress {
    guard let end = try scanner.scan(input, .request, limits) else { return .incomplete }
    // The closing empty line is left out; appended fields take its place.
    let text = input.extracting(scanner.start..<(end - 2))
    scanner = HeadScanner()
    head.adopt(text)
    let lineEnd = text.firstIndex(of: 0x0D, in: 0..<text.count)
    let isEscaped = try head.parseRequestLine(text.extracting(0..<lineEnd), limits, rules)
    tolerated = try head.fields.listLines(of: text, from: lineEnd + 2, rules)
    if isEscaped { tolerated.insert(.targetNotASCII) }
    if rules == .tolerant && head.fields.unifyContentLength() {
      tolerated.insert(.repeatedContentLength)
    }
    try head.resolveHost(text)
    head.expect = head.statedExpect
    return .complete(byteCount: end)
  }
}

extension RequestHead {
  /// `method SP target SP version`, with single spaces (RFC 9112 3). Returns whether the target had
  /// to be escaped.
  fileprivate mutating func parseRequestLine(
    _ line: Span<UInt8>, _ limits: HeadLimits, _ rules: FieldLineRules
  ) throws(HTTP1Error) -> Bool {
    var index = 0
    while index < line.count && line[index].isTokenByte { index += 1 }
    guard index > 0, index <= HeadLimits.methodByteCount, index < line.count, line[index] == 0x20
    else { throw .badMethod }
    methodName = Slice(0..<index)
    method = Method(line.extracting(0..<index))

    let start = index + 1
    index = start
    while index < line.count && line[index].isTargetByte { index += 1 }
    let isEscaped = index < line.count && line[index] >= 0x80
    if isEscaped {
      guard rules == .tolerant else { throw .targetNotASCII }
      while index < line.count && (line[index].isTargetByte || line[index] >= 0x80) { index += 1 }
    }
    if index - start > limits.targetByteCount { throw .targetTooLong }
    guard index > start else { throw .badTarget }
    guard index < line.count else { throw .badRequestLine }
    guard line[index] == 0x20 else { throw .badTarget }

    guard let version = try parseVersion(line.extracting((index + 1)..<line.count)) else {
      throw .badRequestLine
    }
    self.version = version
    target = Slice(start..<index)
    try parseTarget(line, start..<index)
    if isEscaped { try escapeTarget(limits) }
    return isEscaped
  }

  /// Escapes non-ASCII bytes in the path and the query (RFC 3986 2.1).
  private mutating func escapeTarget(_ limits: HeadLimits) throws(HTTP1Error) {
    path = escaped(path)
    query = query.map { escaped($0) }
    if Int(path.count) + Int(query?.count ?? 0) > limits.targetByteCount { throw .targetTooLong }
  }

  private mutating func escaped(_ part: Slice) -> Slice {
    var text = ByteBuffer(capacity: 3 * Int(part.count))
    for byte in fields.array(part) {
      if byte < 0x80 {
        text.append(byte)
      } else {
        text.append(0x25)
        text.append(Self.digit(byte >> 4))
        text.append(Self.digit(byte & 0xF))
      }
    }
    return fields.store(text.bytes)
  }

  private static func digit(_ value: UInt8) -> UInt8 { value < 10 ? 0x30 + value : 0x37 + value }

  private mutating func parseTarget(
    _ line: Span<UInt8>, _ range: Range<Int>
  ) throws(HTTP1Error) {
    let text = line.extracting(range)
    if method == .connect {
      targetForm = .authority
      // The port is required (RFC 9110 9.3.6).
      guard let parts = Authority(text), parts.port != nil else { throw .badTarget }
      setAuthority(parts, at: range)
    } else if text[0] == 0x2F {
      targetForm = .origin
      setPath(line, range)
    } else if text.count == 1 && text[0] == 0x2A && method == .options {
      targetForm = .asterisk
      path = target
    } else {
      targetForm = .absolute
      try parseAbsolute(line, range)
    }
  }

  private mutating func parseAbsolute(
    _ line: Span<UInt8>, _ range: Range<Int>
  ) throws(HTTP1Error) {
    let colon = line.firstIndex(of: 0x3A, in: range)
    let name = line.extracting(range.lowerBound..<colon)
    guard
      name.equalsIgnoringCase(("http" as StaticString).bytes)
        || name.equalsIgnoringCase(("https" as StaticString).bytes),
      colon + 3 <= range.upperBound, line[colon + 1] == 0x2F, line[colon + 2] == 0x2F
    else { throw .badTarget }
    scheme = Slice(range.lowerBound..<colon)

    let start = colon + 3
    var end = start
    while end < range.upperBound && line[end] != 0x2F && line[end] != 0x3F { end += 1 }
    guard let parts = Authority(line.extracting(start..<end)) else { throw .badTarget }
    setAuthority(parts, at: start..<end)
    setPath(line, end..<range.upperBound)
    if path.isEmpty {
      // RFC 9112 3.2.1 and 3.2.4: how an empty path is sent on to a server.
      let isServer = method == .options && query == nil
      if isServer { targetForm = .asterisk }
      path = fields.store((isServer ? "*" as StaticString : "/").bytes)
    }
  }

  private mutating func setPath(_ line: Span<UInt8>, _ range: Range<Int>) {
    let mark = line.firstIndex(of: 0x3F, in: range)
    path = Slice(range.lowerBound..<mark)
    query = mark < range.upperBound ? Slice((mark + 1)..<range.upperBound) : nil
  }

  /// `range` is the position in the block of the text that `parts` refers to.
  private mutating func setAuthority(_ parts: Authority, at range: Range<Int>) {
    authority = Slice(range)
    let start = range.lowerBound + parts.host.lowerBound
    host = Slice(start..<(start + parts.host.count))
    port = parts.port
  }

  /// Checks Host (RFC 9112 3.2), and replaces it if the target contains another authority.
  fileprivate mutating func resolveHost(_ text: Span<UInt8>) throws(HTTP1Error) {
    guard let index = fields.firstIndex(of: .host) else {
      if version != .http10 { throw .missingHost }
      if !authority.isEmpty { fields.append(.host, text.extracting(authority.range)) }
      return
    }
    if fields.nextIndex(of: .host, after: index) != nil { throw .duplicateHost }
    let value = fields[index].value
    let stated = text.extracting(value.range)
    guard let parts = Authority(stated) else { throw .badHost }
    if authority.isEmpty {
      setAuthority(parts, at: value.range)
    } else if !stated.equalsIgnoringCase(text.extracting(authority.range)) {
      // The target takes precedence, and the next server must not see another host (RFC 9112
      // 3.2.2).
      fields.removeAll(of: .host)
      fields.append(.host, text.extracting(authority.range))
    }
  }

  fileprivate var statedExpect: Expect {
    if version == .http10 { return .none }
    var stated = Expect.none
    var next = fields.firstIndex(of: .expect)
    while let index = next {
      next = fields.nextIndex(of: .expect, after: index)
      var elements = ListElements(fields[index].value)
      while let element = elements.next(in: fields) {
        let text = fields.bytes(of: element)
        guard text.equalsIgnoringCase(("100-continue" as StaticString).bytes) else {
          return .unknown
        }
        stated = .continue
      }
    }
    return stated
  }
}

/// Nil when the text isn't a version at all (RFC 9112 2.3). An unknown minor version counts as the
/// highest that we know (RFC 9110 2.5).
func parseVersion(_ text: Span<UInt8>) throws(HTTP1Error) -> HTTPVersion? {
  guard text.count == 8, text.extracting(0..<5).equals(("HTTP/" as StaticString).bytes),
    text[5].isDigit, text[6] == 0x2E, text[7].isDigit
  else { return nil }
  guard text[5] == 0x31 else { throw .badVersion }
  return text[7] == 0x30 ? .http10 : .http11
}
