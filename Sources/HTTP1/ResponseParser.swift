// Parses response heads (RFC 9112 4 and 5).
//
// As strict as `RequestParser`, except where a proxy has to put up with servers and nothing can be
// smuggled: the reason phrase may be missing together with the space before it, and blanks before a
// field's colon are repaired, as RFC 9112 5.1 demands. Interim responses come out like any other;
// the caller goes on until a head is final.

public import HTTP
import Primitives

public struct ResponseParser: Sendable {
  private var scanner = HeadScanner()
  private let limits: HeadLimits
  /// Interim heads since the last final one.
  private var interimHeadCount = 0

  public init(limits: HeadLimits = HeadLimits()) { self.limits = limits }

  /// Parses the head at the front of `input`, by the same rules as `RequestParser.parse`.
  public mutating func parse(
    _ input: Span<UInt8>, into head: inout ResponseHead
  ) throws(HTTP1Error) -> HeadProgress {
    guard let end = try scanner.scan(input, .response, limits) else { return .incomplete }
    let text = input.extracting(0..<(end - 2))
    scanner = HeadScanner()
    head.adopt(text)
    let lineEnd = text.firstIndex(of: 0x0D, in: 0..<text.count)
    try head.parseStatusLine(text.extracting(0..<lineEnd))
    try head.fields.listLines(of: text, from: lineEnd + 2, .response)
    interimHeadCount = head.isInterim ? interimHeadCount + 1 : 0
    if interimHeadCount > HeadLimits.interimHeadCount { throw .tooManyInterimHeads }
    return .complete(byteCount: end)
  }
}

extension ResponseHead {
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
