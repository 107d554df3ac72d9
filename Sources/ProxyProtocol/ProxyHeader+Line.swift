// Version 1 of the header, one line of text (2.1).

import Primitives

extension ProxyHeader {
  /// `line` ends with CRLF, has no other CR or LF, and begins with the signature.
  init(line: Span<UInt8>) throws(ProxyProtocolError) {
    var words = Words(line, from: ProxyHeader.v1Signature.bytes.count, to: line.count - 2)
    let name = words.next()
    if name.equals("UNKNOWN") {
      // The rest of the line is for the receiver to ignore.
      self.init(.v1, .unknown)
      return
    }
    let isV4 = name.equals("TCP4")
    guard isV4 || name.equals("TCP6") else { throw .unknownProtocol }
    let source = try Self.address(words.next(), isV4: isV4)
    let destination = try Self.address(words.next(), isV4: isV4)
    let sourcePort = try Self.port(words.next())
    let destinationPort = try Self.port(words.next())
    guard words.isAtEnd else { throw .badLine }
    self.init(
      .v1,
      .ip(
        source: Endpoint(source, sourcePort), destination: Endpoint(destination, destinationPort),
        .stream))
  }

  private static func address(
    _ word: Span<UInt8>, isV4: Bool
  ) throws(ProxyProtocolError) -> IPAddress {
    if word.isEmpty { throw .badLine }
    // A text with a colon is IPv6, also if it is a mapped IPv4 address.
    let hasColon = word.firstIndex(of: 0x3A, in: 0..<word.count) < word.count
    guard hasColon != isV4, let address = IPAddress(word) else { throw .badAddress }
    return address
  }

  /// Decimal, without leading zeros.
  private static func port(_ word: Span<UInt8>) throws(ProxyProtocolError) -> UInt16 {
    if word.isEmpty { throw .badLine }
    guard word.count <= 5, word.count == 1 || word[0] != 0x30 else { throw .badPort }
    var port = 0
    for index in 0..<word.count {
      guard word[index] >= 0x30 && word[index] <= 0x39 else { throw .badPort }
      port = port * 10 + Int(word[index] - 0x30)
    }
    guard let port = UInt16(exactly: port) else { throw .badPort }
    return port
  }

  /// The words of a line. Two spaces have an empty word between them.
  private struct Words: ~Escapable {
    private let line: Span<UInt8>
    private var place: Int
    private let end: Int

    @_lifetime(copy line)
    init(_ line: Span<UInt8>, from start: Int, to end: Int) {
      self.line = line
      place = start
      self.end = end
    }

    /// Whether the last word ended the line.
    var isAtEnd: Bool { place > end }

    @_lifetime(copy self)
    mutating func next() -> Span<UInt8> {
      guard place <= end else { return line.extracting(0..<0) }
      let start = place
      let space = line.firstIndex(of: 0x20, in: start..<end)
      place = space + 1
      return line.extracting(start..<space)
    }
  }
}
