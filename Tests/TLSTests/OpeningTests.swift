// The first bytes of a connection: what the header of a ClientHello may announce, split at any
// byte.

import COpenSSL
import Testing

@testable import TLS

@Suite struct OpeningTests {
  /// Whether these bytes announce too much: as a whole, byte by byte, and in two parts.
  private func isTooLong(_ bytes: [UInt8]) -> Bool {
    var whole = Opening()
    whole.observe(bytes.span)
    var dripped = Opening()
    for byte in bytes { dripped.observe([byte].span) }
    #expect(dripped.isTooLong == whole.isTooLong)
    for cut in 0..<bytes.count {
      var parted = Opening()
      parted.observe(Array(bytes[..<cut]).span)
      parted.observe(Array(bytes[cut...]).span)
      #expect(parted.isTooLong == whole.isTooLong, "cut at \(cut)")
    }
    return whole.isTooLong
  }

  private func header(_ type: UInt8, _ byteCount: Int) -> [UInt8] {
    [type] + [16, 8, 0].map { UInt8(truncatingIfNeeded: byteCount >> $0) }
  }

  private func record(_ type: UInt8, _ body: [UInt8]) -> [UInt8] {
    [type, 3, 1, UInt8(body.count >> 8), UInt8(body.count & 255)] + body
  }

  private static let most = Opening.messageByteCountMax

  @Test(arguments: [(100, false), (most, false), (most + 1, true), (0xFF_FFFF, true)])
  func aClientHelloIsJudgedByItsHeader(byteCount: Int, isTooLong expected: Bool) {
    let hello = header(1, byteCount) + [3, 3]
    #expect(isTooLong(record(22, hello)) == expected)
    // One byte per record.
    #expect(isTooLong(hello.flatMap { record(22, [$0]) }) == expected)
    // An empty record and one of another type make no difference.
    #expect(isTooLong(record(22, []) + record(20, [1]) + record(22, hello)) == expected)
  }

  @Test func theSecondClientHelloIsJudgedToo() {
    let first = record(22, header(1, 50) + Array(repeating: 0xFF, count: 50))
    #expect(!isTooLong(first))
    #expect(isTooLong(first + record(20, [1]) + record(22, header(1, Self.most + 1))))
    var settled = Opening()
    settled.observe(first.span)
    settled.end()
    settled.observe(record(22, header(1, Self.most + 1)).span)
    #expect(!settled.isTooLong)
  }

  @Test func whatIsUnderKeysOrNoTLSIsNotRead() {
    let long = record(22, header(1, Self.most + 1))
    #expect(!isTooLong(record(22, header(16, 3) + [1, 2, 3]) + long))
    // After a HelloRetryRequest, OpenSSL skips such records.
    #expect(isTooLong(record(23, [1, 2]) + record(21, [1]) + long))
    #expect(!isTooLong(record(99, [1]) + long))
    // OpenSSL refuses this record by its header.
    #expect(!isTooLong([22, 3, 1, 0x4F, 0] + header(1, 0xFF_FFFF) + [3, 3]))
    #expect(!isTooLong(Array("GET / HTTP/1.1\r\n".utf8) + long))
  }

  @Test(arguments: ["DELETE / ", "OPTIONS *", "PATCH /a ", "TRACE / H"])
  func requestLinesAreKnown(line: String) {
    var opening = Opening()
    for byte in line.utf8 { opening.observe([byte].span) }
    #expect(opening.isRequestLine)
    var other = Opening()
    other.observe(Array(line.lowercased().utf8).span)
    #expect(!other.isRequestLine)
  }

  /// The header of a real ClientHello, with another length.
  private func lengthen(_ hello: [UInt8]) -> [UInt8] {
    Array(hello[..<6]) + [1, 0xFF, 0xF0] + Array(hello[9...])
  }

  @Test func aSessionRefusesALongHelloWithAnAlert() throws {
    let pair = try SessionPair(makeContext())
    _ = try pair.client.step()
    pair.inbound = lengthen(pair.client.take())
    #expect(throws: TLSFailure.helloTooLong) { try pair.handshake() }
    let failure = #expect(throws: ClientFailure.self) { try pair.client.step() }
    #expect(failure?.reason == 1047)
  }

  @Test func alsoAfterAHelloRetryRequest() throws {
    // The first key share of the client is of a group that the server does not support.
    let offer = ClientOffer(groups: "P-521:P-256")
    let pair = try SessionPair(makeContext(), offer)
    _ = try pair.client.step()
    pair.inbound = pair.client.take()
    #expect(try pair.handshake() == .wantsInput)
    _ = try pair.client.step()
    let second = pair.client.take()
    // A ChangeCipherSpec comes first (RFC 8446 D.4).
    #expect(second[0] == 20 && second[6] == 22)
    let early = record(23, [UInt8](repeating: 1, count: 40))
    pair.inbound = Array(second[..<6]) + early + lengthen(Array(second[6...]))
    #expect(throws: TLSFailure.helloTooLong) { try pair.handshake() }
    try SessionPair(makeContext(), offer).shakeHands()
  }
}
