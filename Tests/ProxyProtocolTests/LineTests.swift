// Version 1 of the header.

import ProxyProtocol
import Testing

struct LineTests {
  @Test(arguments: [
    ("TCP4 192.0.2.1 198.51.100.2 40000 443", "192.0.2.1", "198.51.100.2"),
    ("TCP6 2001:db8::1 2001:DB8::2 40000 443", "2001:db8::1", "2001:db8::2"),
    ("TCP6 ::ffff:192.0.2.1 ::1 40000 443", "192.0.2.1", "::1"),
  ])
  func aLineHasTheAddresses(words: String, source: String, destination: String) throws {
    let header = try header(Array("PROXY \(words)\r\n".utf8))
    #expect(header.version == .v1)
    #expect(header.origin == (try ends(source, 40_000, destination, 443)))
    #expect(header.tlvs == ProxyTLVs())
  }

  @Test(arguments: ["0", "65535"])
  func everyPortIsTaken(port: String) throws {
    let header = try header(Array("PROXY TCP4 0.0.0.0 255.255.255.255 \(port) 1\r\n".utf8))
    #expect(header.origin == (try ends("0.0.0.0", UInt16(port) ?? 9, "255.255.255.255", 1)))
  }

  @Test(arguments: [
    "PROXY UNKNOWN\r\n", "PROXY UNKNOWN \r\n", "PROXY UNKNOWN any  thing\r\n",
    // The longest one of the specification.
    "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
      + " ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
  ])
  func theRestOfAnUnknownLineIsSkipped(line: String) throws {
    #expect(try header(Array(line.utf8)) == ProxyHeader(.v1, .unknown))
  }

  @Test func aLineEndsWithin107Bytes() {
    let fill = String(repeating: "x", count: 107 - 16)
    #expect(
      verdict("PROXY UNKNOWN \(fill)\r\n") == .header(ProxyHeader(.v1, .unknown), byteCount: 107))
    #expect(verdict("PROXY UNKNOWN \(fill)x\r\n") == .failed(.lineTooLong))
    #expect(verdict("PROXY UNKNOWN \(fill)xx") == .failed(.lineTooLong))
    #expect(verdict("PROXY UNKNOWN \(fill)x") == .more)
  }

  @Test(arguments: [
    ("GET / HTTP/1.1\r\n", ProxyProtocolError.noHeader),
    ("PROXYTCP4", .noHeader), ("PROX\r\n", .noHeader), ("proxy ", .noHeader),
    ("\r\nPROXY ", .noHeader), ("\u{16}\u{3}\u{1}", .noHeader),
    ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n", .badLine),
    ("PROXY UNKNOWN\rx", .badLine), ("PROXY UNKNOWN\r\r\n", .badLine), ("PROXY \n", .badLine),
    ("PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n", .unknownProtocol),
    ("PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n", .badLine),
    ("PROXY TCP4 192.0.2.1 192.0.2.2  1 2\r\n", .badLine),
    ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n", .badLine),
    ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n", .badLine),
    ("PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", .badLine),
    ("PROXY TCP4\r\n", .badLine), ("PROXY \r\n", .unknownProtocol),
    ("PROXY UNKNOWNX\r\n", .unknownProtocol), ("PROXY unknown\r\n", .unknownProtocol),
    ("PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n", .unknownProtocol),
    ("PROXY TCP4\t192.0.2.1 192.0.2.2 1 2\r\n", .unknownProtocol),
    ("PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n", .badAddress),
    ("PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n", .badAddress),
    ("PROXY TCP4 2001:db8::1 192.0.2.2 1 2\r\n", .badAddress),
    ("PROXY TCP4 ::ffff:192.0.2.1 192.0.2.2 1 2\r\n", .badAddress),
    ("PROXY TCP6 192.0.2.1 2001:db8::1 1 2\r\n", .badAddress),
    ("PROXY TCP6 2001:db8::1::2 2001:db8::1 1 2\r\n", .badAddress),
    ("PROXY TCP6 fe80::1%eth0 2001:db8::1 1 2\r\n", .badAddress),
    ("PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", .badPort),
    ("PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n", .badPort),
    ("PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n", .badPort),
    ("PROXY TCP4 192.0.2.1 192.0.2.2 1 00\r\n", .badPort),
    ("PROXY TCP4 192.0.2.1 192.0.2.2 184467440737095516 2\r\n", .badPort),
  ])
  func everyOtherLineIsRefused(line: String, error: ProxyProtocolError) {
    #expect(verdict(line) == .failed(error))
  }
}
