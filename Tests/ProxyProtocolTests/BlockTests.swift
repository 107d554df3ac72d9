// Version 2 of the header. The tests with a name of a program are its published bugs.

import Primitives
import ProxyProtocol
import Testing

struct BlockTests {
  @Test(
    arguments: [(0x11, ProxyHeader.Carrier.stream), (0x12, .datagram)]
      as [(UInt8, ProxyHeader.Carrier)])
  func ipv4(family: UInt8, carrier: ProxyHeader.Carrier) throws {
    let header = try header(block(0x21, family, tcp4))
    #expect(header.version == .v2)
    #expect(header.origin == (try ends("192.0.2.1", 40_000, "198.51.100.2", 443, carrier)))
  }

  @Test(
    arguments: [(0x21, ProxyHeader.Carrier.stream), (0x22, .datagram)]
      as [(UInt8, ProxyHeader.Carrier)])
  func ipv6(family: UInt8, carrier: ProxyHeader.Carrier) throws {
    let header = try header(block(0x21, family, tcp6))
    #expect(header.origin == (try ends("2001:db8::1", 40_000, "2001:db8::2", 443, carrier)))
  }

  /// A path may fill its field, so that no zero ends it.
  @Test(
    arguments: [(0x31, ProxyHeader.Carrier.stream), (0x32, .datagram)]
      as [(UInt8, ProxyHeader.Carrier)])
  func unixPathsMayHaveNoZero(family: UInt8, carrier: ProxyHeader.Carrier) throws {
    let source = Array("/run/a.sock".utf8) + Array(repeating: 0, count: 97)
    let bytes = block(0x21, family, source + Array(repeating: UInt8(ascii: "b"), count: 108))
    let header = try header(bytes)
    guard case .unix(let from, let to, carrier) = header.origin else {
      Issue.record("\(header.origin)")
      return
    }
    #expect(text(from, in: bytes) == "/run/a.sock")
    #expect(text(to, in: bytes) == String(repeating: "b", count: 108))
  }

  @Test func anUnspecifiedFamilyHasTLVsOnly() throws {
    let bytes = block(0x21, 0, tlv(2, "www.example.com"))
    let header = try header(bytes)
    #expect(header.origin == .unknown)
    #expect(text(header.tlvs.authority, in: bytes) == "www.example.com")
  }

  /// HAProxy 3.0: what follows the fixed part of LOCAL was taken for the beginning of the payload.
  @Test(arguments: [
    block(0x20, 0, []), block(0x20, 0, tlv(2, "a")), block(0x20, 0x11, tcp4),
    block(0x20, 0x11, [1]), block(0x20, 0xFF, Array(repeating: 9, count: 500)),
    block(0x20, 0, tlv(3, [1, 2, 3, 4])),
  ])
  func theRestOfLocalIsSkipped(bytes: [UInt8]) throws {
    #expect(try header(bytes) == ProxyHeader(.v2, .local))
  }

  @Test(arguments: [
    (block(0x11), ProxyProtocolError.unknownVersion), (block(0x01), .unknownVersion),
    (block(0x31), .unknownVersion), (block(0x22), .unknownCommand),
    (block(0x2F), .unknownCommand), (block(0x21, 0x10), .unknownFamily),
    (block(0x21, 0x13), .unknownFamily), (block(0x21, 0x01), .unknownFamily),
    (block(0x21, 0x41, tcp6), .unknownFamily), (block(0x21, 0xFF), .unknownFamily),
    (Array("\r\n\r\n\0\r\nQUIT\r".utf8), .noHeader), (Array("\r\n\r\nGET".utf8), .noHeader),
  ])
  func everyOtherHeaderIsRefused(bytes: [UInt8], error: ProxyProtocolError) {
    #expect(verdict(bytes) == .failed(error))
  }

  /// The family says more bytes than the header has: the addresses would be read from the payload.
  @Test(
    arguments: [(0x11, 12), (0x12, 12), (0x21, 36), (0x22, 36), (0x31, 216), (0x32, 216)]
      as [(UInt8, Int)])
  func aFamilyLongerThanTheHeaderIsRefused(family: UInt8, count: Int) {
    for length in [0, 1, count - 1] {
      let bytes = block(0x21, family, Array(repeating: 1, count: 300), length: length)
      #expect(verdict(bytes) == .failed(.truncatedAddresses))
    }
  }

  @Test func theLimitIsFourKibibytes() throws {
    let rest = 4096 - 16 - 12 - 3
    let largest = block(0x21, 0x11, tcp4 + tlv(4, Array(repeating: 0, count: rest)))
    #expect(largest.count == ProxyHeader.byteCountMax)
    var parser = ProxyHeaderParser()
    guard case .header(_, 4096) = parser.parse(largest.span) else {
      Issue.record("the largest header is refused")
      return
    }
    // Refused by its length, before the rest has come; also if it is LOCAL.
    for command: UInt8 in [0x20, 0x21] {
      #expect(verdict(block(command, 0x11, [], length: 4081)) == .failed(.tooLarge))
      #expect(verdict(block(command, 0x11, [], length: 65_535)) == .failed(.tooLarge))
    }
  }

  /// A header that never ends is never complete.
  @Test func aPartialHeaderWaits() {
    let bytes = block(0x21, 0x21, tcp6 + tlv(1, "h2"))
    for count in 0..<bytes.count { #expect(verdict(Array(bytes[..<count])) == .more) }
  }
}
