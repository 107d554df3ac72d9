// Parses response heads (RFC 9112 4 and 5).
//
// As strict as `RequestParser`, except for what servers do and what allows no smuggling: the reason
// phrase may be missing together with the space before it, and blanks before a field's colon are
// removed, as RFC 9112 5.1 requires. Tolerance.swift lists what tolerant rules accept beyond that.
// Interim responses are returned like any other; the caller continues until a head is final.

public import HTTP
import Primitives

public struct ResponseParser: Sendable {
  private var scanner: HeadScanner
  private let limits: HeadLimits
  private let rules: ResponseRules
  /// Which errors were tolerated in the last head. The connection shouldn't be reused after such a
  /// head.
  public private(set) var tolerated = ToleratedReasons()
  /// Interim heads since the last final one.
  private var interimHeadCount = 0

  public init(limits: HeadLimits = HeadLimits(), rules: ResponseRules = .strict) {
    self.limits = limits
    self.rules = rules
    scanner = HeadScanner(allowsLineFeeds: rules == .tolerant)
  }

  /// Whether a whole status line has arrived. After an error, this tells whether the error is after
  /// that line.
  public var hasStatusLine: Bool { scanner.hasLine }

  /// Parses the head at the front of `input`, by the same rules as `RequestParser.parse`.
  public mutating func parse(
    _ input: Span<UInt8>, into head: inout ResponseHead
  ) throws(HTTP1Error) -> HeadProgress {
    guard let end = try scan(input) else { return .incomplete }
    if scanner.usesLineFeeds {
      var text = ByteBuffer()
      text.append(endingLines: input.extracting(0..<(end - 1)))
      tolerated = try head.take(text.bytes, rules)
      tolerated.insert(.bareLineFeed)
    } else {
      tolerated = try head.take(input.extracting(0..<(end - 2)), rules)
    }
    scanner = HeadScanner(allowsLineFeeds: rules == .tolerant)
    interimHeadCount = head.isInterim ? interimHeadCount + 1 : 0
    if interimHeadCount > HeadLimits.interimHeadCount { throw .tooManyInterimHeads }
    return .complete(byteCount: end)
  }
}

extension ResponseParser {
  /// Scans, and refuses bytes that are not the beginning of a status line at once: its line may
  /// never end.
  private mutating func scan(_ input: Span<UInt8>) throws(HTTP1Error) -> Int? {
    do throws(HTTP1Error) {
      if let end = try scanner.scan(input, .response, limits) { return end }
    } catch {
      if !input.beginsAsStatusLine { throw .badStatusLine }
      throw error
    }
    if !input.beginsAsStatusLine { throw .badStatusLine }
    return nil
  }
}

extension Span where Element == UInt8 {
  /// Whether it is a prefix of a status line, or begins with one.
  fileprivate var beginsAsStatusLine: Bool {
    let start: StaticString = "HTTP/"
    for index in 0..<Swift.min(count, start.bytes.count) where self[index] != start.bytes[index] {
      return false
    }
    return true
  }
}

extension ByteBuffer {
  /// Appends lines that end in LF alone, with CR LF in its place.
  fileprivate mutating func append(endingLines lines: Span<UInt8>) {
    var start = 0
    while start < lines.count {
      let end = lines.firstIndex(of: 0x0A, in: start..<lines.count)
      append(lines.extracting(start..<end))
      append("\r\n")
      start = end + 1
    }
  }
}

extension ResponseHead {
  /// Parses a head without its closing empty line; returns the errors that were tolerated.
  fileprivate mutating func take(
    _ text: Span<UInt8>, _ rules: ResponseRules
  ) throws(HTTP1Error) -> ToleratedReasons {
    adopt(text)
    let lineEnd = text.firstIndex(of: 0x0D, in: 0..<text.count)
    try parseStatusLine(text.extracting(0..<lineEnd))
    var tolerated = try fields.listLines(of: text, from: lineEnd + 2, FieldLineRules(rules))
    if rules == .tolerant, version != .http10, let reason = fields.unifyTransferEncoding() {
      tolerated.insert(reason)
    }
    return tolerated
  }

  /// `version SP status [SP reason]`
  fileprivate mutating func parseStatusLine(_ line: Span<UInt8>) throws(HTTP1Error) {
    guard line.count >= 12, line[8] == 0x20, line.count == 12 || line[12] == 0x20,
      let version = try parseVersion(line.extracting(0..<8)),
      let status = line.extracting(9..<12).decimalValue, status >= 100, status <= 599
    else { throw .badStatusLine }
    self.version = version
    self.status = UInt16(status)
    if line.count > 13 { reason = Slice(13..<line.count) }
  }
}
