// A header of the PROXY protocol as a simulated client sends it: correct, or wrong in one way, in
// pieces with pauses. It is written here from the specification, and not by the code that is
// tested.

import Primitives

struct IncomingHeader {
  /// The client and its destination, as the header has them.
  struct Ends {
    let source: SocketAddress
    let destination: SocketAddress
  }

  let bytes: [UInt8]
  let isFromProxy: Bool
  /// Whether the connection must be forwarded.
  let isValid: Bool
  /// Nil if the header leaves the ends of the socket in force.
  let ends: Ends?
  var uniqueID: [UInt8] = []
  /// How many bytes are sent at a time, and the pause behind each piece.
  let piece: Int
  let pause: TimeSpan

  var source: SocketAddress? { ends?.source }

  init(id: Int, mayBeWrong: Bool, drawnFrom random: inout RandomGenerator) {
    let isV6 = random.chance(1, in: 3)
    let (source, destination) =
      isV6
      ? (
        IPAddress(high: 0x2001_0DB8_0000_0000, low: UInt64(id + 1)),
        IPAddress(high: 0x2001_0DB8_0000_0001, low: 7)
      )
      : (IPAddress(v4: 0xCB00_7100 + UInt32(id & 0xFF)), IPAddress(v4: 0xC633_6407))
    let drawn = Ends(
      source: .ip(source, port: UInt16(30_000 + id)), destination: .ip(destination, port: 443))
    piece = random.pick([1, 1, 1 + random.next(below: 40), 4_096])
    // In all, far less than the time for a header.
    pause = random.chance(1, in: 2) ? .zero : .microseconds(Int64(random.skewed(upTo: 500)))
    isFromProxy = !mayBeWrong || random.chance(3, in: 4)
    if mayBeWrong && isFromProxy {
      bytes = Self.wrong(drawn, &random)
      (ends, isValid) = (nil, false)
      return
    }
    isValid = isFromProxy
    switch random.next(below: 8) {
    case 0:
      bytes = Array("PROXY UNKNOWN\r\n".utf8)
      ends = nil
    case 1:
      bytes = Array("PROXY UNKNOWN ffff:f::1 rubbish 77\r\n".utf8)
      ends = nil
    case 2:
      // What follows LOCAL is skipped, whatever it is.
      let rest = random.chance(1, in: 2) ? 0 : 30
      bytes = Self.block(0x20, 0x11, [UInt8](repeating: 9, count: rest))
      ends = nil
    case 3, 4:
      bytes = Self.line(drawn)
      ends = drawn
    default:
      var tlvs: [UInt8] = []
      if random.chance(1, in: 2) {
        uniqueID = Array("flow-\(id)".utf8)
        tlvs += Self.tlv(0x05, uniqueID)
      }
      if random.chance(1, in: 2) { tlvs += Self.tlv(0xEA, [1] + Array("vpce-08d2".utf8)) }
      if random.chance(1, in: 2) {
        tlvs += Self.tlv(0x04, [UInt8](repeating: 0, count: random.skewed(upTo: 3_000)))
      }
      let hasChecksum = random.chance(1, in: 2)
      bytes = Self.block(drawn, tlvs, hasChecksum: hasChecksum)
      ends = drawn
    }
  }

  // MARK: Wrong ones

  private static func wrong(_ ends: Ends, _ random: inout RandomGenerator) -> [UInt8] {
    let line = String(decoding: line(ends), as: UTF8.self)
    switch random.next(below: 9) {
    case 0: return Array("GET / HTTP/1.1\r\nHost: a\r\n\r\n".utf8)
    case 1: return Array(line.lowercased().utf8)
    case 2: return Array(line.dropLast().utf8) + [0x0A, 0x0A]
    case 3: return Array(line.replacing(" 443", with: " 65536").utf8)
    case 4: return Array(line.replacing(" ", with: "  ").utf8)
    case 5:
      var block = block(ends, [], hasChecksum: true)
      block[block.count - 1] ^= 1
      return block
    case 6:
      // A TLV that is longer than the header.
      return Self.block(ends, [0xEA, 0x40, 0], hasChecksum: false)
    case 7:
      // A family that is longer than the header.
      return Self.block(0x21, 0x21, [1, 2, 3, 4])
    default:
      var block = block(ends, [], hasChecksum: false)
      block[12] = 0x31
      return block
    }
  }

  // MARK: Writing

  private static func line(_ ends: Ends) -> [UInt8] {
    guard case .ip(let source, let sourcePort) = ends.source,
      case .ip(let destination, let port) = ends.destination
    else { return [] }
    let family = source.isV4 ? "TCP4" : "TCP6"
    return Array("PROXY \(family) \(source) \(destination) \(sourcePort) \(port)\r\n".utf8)
  }

  private static func block(_ ends: Ends, _ tlvs: [UInt8], hasChecksum: Bool) -> [UInt8] {
    guard case .ip(let source, let sourcePort) = ends.source,
      case .ip(let destination, let port) = ends.destination
    else { return [] }
    var rest = octets(source) + octets(destination)
    rest += [UInt8(sourcePort >> 8), UInt8(sourcePort & 0xFF), UInt8(port >> 8), UInt8(port & 0xFF)]
    rest += tlvs
    if hasChecksum { rest += tlv(0x03, [0, 0, 0, 0]) }
    var block = block(0x21, source.isV4 ? 0x11 : 0x21, rest)
    if hasChecksum {
      let sum = Castagnoli.checksum(of: block)
      for place in 0..<4 {
        block[block.count - 4 + place] = UInt8(truncatingIfNeeded: sum >> UInt32(24 - 8 * place))
      }
    }
    return block
  }

  private static func block(_ command: UInt8, _ family: UInt8, _ rest: [UInt8]) -> [UInt8] {
    SeenProxyHeader.signature + [command, family, UInt8(rest.count >> 8), UInt8(rest.count & 0xFF)]
      + rest
  }

  private static func tlv(_ type: UInt8, _ value: [UInt8]) -> [UInt8] {
    [type, UInt8(value.count >> 8), UInt8(value.count & 0xFF)] + value
  }

  private static func octets(_ address: IPAddress) -> [UInt8] {
    if address.isV4 {
      return (0..<4).map { UInt8(truncatingIfNeeded: address.v4 >> (24 - 8 * $0)) }
    }
    return [address.high, address.low].flatMap { half in
      (0..<8).map { UInt8(truncatingIfNeeded: half >> (56 - 8 * UInt64($0))) }
    }
  }
}

/// CRC32c, bit by bit.
enum Castagnoli {
  static func checksum(of bytes: [UInt8]) -> UInt32 {
    var value = UInt32.max
    for byte in bytes {
      value ^= UInt32(byte)
      for _ in 0..<8 { value = value & 1 == 1 ? value >> 1 ^ 0x82F6_3B78 : value >> 1 }
    }
    return ~value
  }
}
