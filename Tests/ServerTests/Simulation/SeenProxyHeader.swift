// A header of the PROXY protocol as a simulated backend reads it: strictly, from the specification,
// and not by the code that is tested.

import Primitives

struct SeenProxyHeader {
  enum Verdict {
    case more
    case wrong(String)
    case header(SeenProxyHeader)
  }

  static let signature: [UInt8] = Array("\r\n\r\n\0\r\nQUIT\n".utf8)

  let byteCount: Int
  /// The sender's own connection, as that of a health check.
  var isLocal = false
  /// Nil if they are unknown.
  var source: SocketAddress?
  var destination: SocketAddress?
  /// Nil without one.
  var uniqueID: [UInt8]?
  var hasChecksum = false

  private init(byteCount: Int) { self.byteCount = byteCount }

  static func read(_ buffer: borrowing ByteBuffer, as kind: OutgoingHeader) -> Verdict {
    let bytes = buffer.array(0..<min(buffer.count, 4_096))
    return kind == .v1 ? readLine(bytes) : readBlock(bytes, kind)
  }

  // MARK: Version 1

  private static func readLine(_ bytes: [UInt8]) -> Verdict {
    guard let end = bytes.firstIndex(of: 0x0A) else {
      return bytes.count > 107 ? .wrong("no end of the line") : .more
    }
    let line = String(decoding: bytes[..<end], as: UTF8.self)
    guard end < 107, line.hasSuffix("\r") else { return .wrong("line '\(line)'") }
    var header = SeenProxyHeader(byteCount: end + 1)
    let words = line.dropLast().split(separator: " ", omittingEmptySubsequences: false)
      .map(String.init)
    if words == ["PROXY", "UNKNOWN"] { return .header(header) }
    guard words.count == 6, words[0] == "PROXY", let source = IPAddress(words[2]),
      let destination = IPAddress(words[3]), let sourcePort = UInt16(words[4]),
      let port = UInt16(words[5]), "\(sourcePort) \(port)" == "\(words[4]) \(words[5])",
      words[1] == (words[2].contains(":") ? "TCP6" : "TCP4"),
      words[2].contains(":") == words[3].contains(":")
    else { return .wrong("line '\(line)'") }
    header.source = .ip(source, port: sourcePort)
    header.destination = .ip(destination, port: port)
    return .header(header)
  }

  // MARK: Version 2

  private static func readBlock(_ bytes: [UInt8], _ kind: OutgoingHeader) -> Verdict {
    let known = min(12, bytes.count)
    if bytes[..<known] != signature[..<known] { return .wrong("signature \(bytes[..<known])") }
    if bytes.count < 16 { return .more }
    let length = Int(bytes[14]) << 8 | Int(bytes[15])
    if bytes.count < 16 + length { return .more }
    var header = SeenProxyHeader(byteCount: 16 + length)
    let block = Array(bytes[..<(16 + length)])
    switch (block[12], block[13]) {
    case (0x20, 0x00):
      header.isLocal = true
      return length == 0 ? .header(header) : .wrong("LOCAL with \(length) bytes")
    case (0x21, 0x00): return header.readTLVs(block, from: 16, kind)
    case (0x21, 0x11) where length >= 12: header.readEnds(block, width: 4)
    case (0x21, 0x21) where length >= 36: header.readEnds(block, width: 16)
    default: return .wrong("command and family \(block[12]), \(block[13]) with \(length) bytes")
    }
    return header.readTLVs(block, from: block[13] == 0x11 ? 28 : 52, kind)
  }

  private mutating func readEnds(_ block: [UInt8], width: Int) {
    func number(_ range: Range<Int>) -> UInt64 {
      block[range].reduce(0) { $0 << 8 | UInt64($1) }
    }
    func address(_ start: Int) -> IPAddress {
      width == 4
        ? IPAddress(v4: UInt32(number(start..<(start + 4))))
        : IPAddress(high: number(start..<(start + 8)), low: number((start + 8)..<(start + 16)))
    }
    let ports = 16 + 2 * width
    source = .ip(address(16), port: UInt16(number(ports..<(ports + 2))))
    destination = .ip(address(16 + width), port: UInt16(number((ports + 2)..<(ports + 4))))
  }

  private mutating func readTLVs(
    _ block: [UInt8], from start: Int, _ kind: OutgoingHeader
  ) -> Verdict {
    var place = start
    while place < block.count {
      guard place + 3 <= block.count else { return .wrong("a TLV without a length") }
      let value = place + 3
      let length = Int(block[place + 1]) << 8 | Int(block[place + 2])
      guard value + length <= block.count else { return .wrong("a TLV that is too long") }
      switch block[place] {
      case 0x03:
        var zeroed = block
        for index in value..<(value + length) { zeroed[index] = 0 }
        let sum = Castagnoli.checksum(of: zeroed)
        let found = block[value..<(value + length)].reduce(0) { $0 << 8 | UInt32($1) }
        if length != 4 || found != sum { return .wrong("the checksum") }
        hasChecksum = true
      case 0x05: uniqueID = Array(block[value..<(value + length)])
      default: return .wrong("an unexpected TLV \(block[place])")
      }
      place = value + length
    }
    if hasChecksum != (kind == .v2WithTLVs) || (uniqueID != nil) != hasChecksum {
      return .wrong("the TLVs")
    }
    return .header(self)
  }
}
