// Headers as they are written. The parser reads each of them.

import Primitives
import ProxyProtocol
import Testing

struct WriterTests {
  private func line(_ source: SocketAddress?, _ destination: SocketAddress?) -> String {
    var output = ByteBuffer()
    ProxyHeaderWriter.writeLine(source: source, destination: destination, into: &output)
    return String(decoding: output)
  }

  private func block(
    _ source: SocketAddress?, _ destination: SocketAddress?, _ tlvs: OutgoingTLVs = OutgoingTLVs()
  ) -> [UInt8] {
    var output = ByteBuffer()
    ProxyHeaderWriter.writeBlock(source: source, destination: destination, tlvs, into: &output)
    return output.array(0..<output.count)
  }

  private func address(_ text: String, _ port: UInt16) throws -> SocketAddress {
    .ip(try #require(IPAddress(text)), port: port)
  }

  @Test func aLineHasTheAddresses() throws {
    let (v4, v6) = (try address("192.0.2.1", 40_000), try address("2001:db8::1", 65_535))
    #expect(line(v4, v4) == "PROXY TCP4 192.0.2.1 192.0.2.1 40000 40000\r\n")
    #expect(line(v6, v6) == "PROXY TCP6 2001:db8::1 2001:db8::1 65535 65535\r\n")
    #expect(line(v4, v6) == "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::1 40000 65535\r\n")
    #expect(
      try header(Array(line(v4, v6).utf8)).origin
        == (try ends("192.0.2.1", 40_000, "2001:db8::1", 65_535)))
    for other in [nil, SocketAddress.unix("/run/a")] {
      #expect(line(other, v4) == "PROXY UNKNOWN\r\n")
      #expect(line(v4, other) == "PROXY UNKNOWN\r\n")
    }
  }

  @Test func aBlockHasTheAddresses() throws {
    let (v4, v6) = (try address("192.0.2.1", 40_000), try address("2001:db8::1", 65_535))
    #expect(block(v4, try address("198.51.100.2", 443)).count == 28)
    #expect(
      try header(block(v4, try address("198.51.100.2", 443))).origin
        == (try ends("192.0.2.1", 40_000, "198.51.100.2", 443)))
    #expect(
      try header(block(v6, v4)).origin == (try ends("2001:db8::1", 65_535, "192.0.2.1", 40_000)))
    #expect(try header(block(nil, v4)) == ProxyHeader(.v2, .unknown))
    #expect(try header(block(v4, .unix("/a"))) == ProxyHeader(.v2, .unknown))
    let long = String(repeating: "a", count: 108)
    let bytes = block(.unix("/run/a"), .unix(long))
    guard case .unix(let from, let to, .stream) = try header(bytes).origin else {
      Issue.record("no paths")
      return
    }
    #expect(text(from, in: bytes) == "/run/a" && text(to, in: bytes) == long)
  }

  @Test func localIsTheFixedPart() throws {
    var output = ByteBuffer()
    ProxyHeaderWriter.writeLocal(into: &output)
    #expect(output.array(0..<output.count) == signature + [0x20, 0, 0, 0])
  }

  private func everyTLV() -> OutgoingTLVs {
    var tlvs = OutgoingTLVs()
    tlvs.alpn = Array("h2".utf8)
    tlvs.authority = Array("www.example.com".utf8)
    tlvs.uniqueID = Array("4711".utf8)
    tlvs.tls = OutgoingTLS(version: Array("TLSv1.3".utf8), cipher: Array("AES".utf8))
    tlvs.hasChecksum = true
    return tlvs
  }

  @Test func theTLVsAreReadAgain() throws {
    let bytes = block(try address("192.0.2.1", 1), try address("192.0.2.2", 2), everyTLV())
    let tlvs = try header(bytes).tlvs
    #expect(text(tlvs.alpn, in: bytes) == "h2")
    #expect(text(tlvs.authority, in: bytes) == "www.example.com")
    #expect(text(tlvs.uniqueID, in: bytes) == "4711")
    let tls = try #require(tlvs.tls)
    #expect(tls.isUsed && !tls.hasCertificateOfConnection && !tls.isVerified)
    #expect(text(tls.version, in: bytes) == "TLSv1.3")
    #expect(text(tls.cipher, in: bytes) == "AES")
    #expect(tlvs.hasChecksum)
  }

  @Test func theChecksumIsThatOfAnotherProgram() throws {
    var tlvs = OutgoingTLVs()
    tlvs.hasChecksum = true
    #expect(
      block(try address("192.0.2.1", 40_000), try address("198.51.100.2", 443), tlvs)
        == TLVTests.checked)
  }

  /// HAProxy 3.5-dev5: no room was left for the checksum behind TLVs that fill the header.
  @Test func theChecksumAlwaysHasRoom() throws {
    var tlvs = everyTLV()
    for count in 3900...4100 {
      tlvs.authority = Array(repeating: UInt8(ascii: "a"), count: count)
      let bytes = block(try address("192.0.2.1", 1), try address("192.0.2.2", 2), tlvs)
      #expect(bytes.count <= ProxyHeader.byteCountMax)
      var parser = ProxyHeaderParser()
      guard case .header(let header, bytes.count) = parser.parse(bytes.span) else {
        Issue.record("refused with \(count) bytes")
        return
      }
      #expect(header.tlvs.hasChecksum)
    }
  }

  @Test func whatStandsBeforeTheHeaderIsKept() throws {
    var output = ByteBuffer()
    output.append("before")
    var tlvs = OutgoingTLVs()
    tlvs.hasChecksum = true
    ProxyHeaderWriter.writeBlock(
      source: try address("192.0.2.1", 40_000), destination: try address("198.51.100.2", 443),
      tlvs, into: &output)
    #expect(output.array(0..<output.count) == Array("before".utf8) + TLVTests.checked)
  }
}
