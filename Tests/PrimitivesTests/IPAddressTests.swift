// IPAddress and AddressRange: tables of valid text, invalid text, and printed text.

import Primitives
import Testing

@Suite struct IPAddressTests {
  @Test(arguments: [
    ("0.0.0.0", "0.0.0.0"),
    ("192.0.2.1", "192.0.2.1"),
    ("255.255.255.255", "255.255.255.255"),
    ("::", "::"),
    ("::1", "::1"),
    ("1::", "1::"),
    ("2001:db8::1", "2001:db8::1"),
    ("2001:DB8:0:0:8:800:200C:417A", "2001:db8::8:800:200c:417a"),
    // RFC 5952 4.2.2: a single zero group isn't shortened; 4.2.3: the longest run is, and the first
    // of equal ones.
    ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
    ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"),
    ("::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"),
    ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"),
    ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
    ("1:0:0:0:0:0:0:0", "1::"),
    ("fe80:0000:0000:0000:0204:61ff:fe9d:f156", "fe80::204:61ff:fe9d:f156"),
    ("64:ff9b::192.0.2.33", "64:ff9b::c000:221"),
    ("1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"),
    // A client has only one identity.
    ("::ffff:192.0.2.1", "192.0.2.1"),
    ("::FFFF:c000:0201", "192.0.2.1"),
  ])
  func whatIsReadIsWrittenCanonically(text: String, canonical: String) throws {
    let address = try #require(IPAddress(text))
    #expect(address.description == canonical)
    #expect(IPAddress(canonical) == address)
  }

  @Test(arguments: [
    "", ".", ":", ":::", "1", "1.2.3", "1.2.3.4.5", "1.2.3.", ".1.2.3", "1..2.3", "256.0.0.1",
    "01.2.3.4", "1.2.3.00", "1.2.3.4 ", " 1.2.3.4", "1.2.3.a", "-1.2.3.4", "1.2.3.4/8",
    "1:", ":1", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:", ":1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9",
    "1:2:3:4:5:6:7:8::", "::1:2:3:4:5:6:7:8", "1::2::3", "1:::2", "12345::", "g::", "::1%eth0",
    "[::1]", "1:2:3:4:5:6:7:1.2.3.4", "::1.2.3", "::1.2.3.4:5", "::1.2.3.04", "1.2.3.4::",
  ])
  func whatIsNotAnAddressIsRefused(text: String) {
    #expect(IPAddress(text) == nil)
  }

  @Test func anyAddressSurvivesWritingAndReading() {
    var generator = RandomGenerator(seed: 3)
    for _ in 0..<2_000 {
      // Many zero groups, so that runs of each length and position occur.
      var halves: [UInt64] = []
      for _ in 0..<2 {
        var half: UInt64 = 0
        for _ in 0..<4 {
          half = half << 16 | (generator.chance(2, in: 3) ? 0 : generator.next() & 0xFFFF)
        }
        halves.append(half)
      }
      let address = IPAddress(high: halves[0], low: halves[1])
      #expect(IPAddress(address.description) == address)
    }
  }

  @Test func theFamilyIsKnown() throws {
    #expect(IPAddress(v4: 0xC000_0201).description == "192.0.2.1")
    #expect(IPAddress.loopbackV4.isV4 && IPAddress.anyV4.isV4 && !IPAddress.anyV6.isV4)
    #expect(try #require(IPAddress("10.1.2.3")).v4 == 0x0A01_0203)
  }

  @Test func addressesThatCountOnlyHereAreKnown() throws {
    for text in ["127.0.0.1", "127.255.0.9", "::1"] {
      #expect(try #require(IPAddress(text)).isLoopback)
    }
    for text in ["169.254.0.1", "fe80::1", "febf::1"] {
      #expect(try #require(IPAddress(text)).isLinkLocal)
    }
    for text in ["126.0.0.1", "128.0.0.1", "::2", "169.253.0.1", "fec0::1", "fe00::1", "::"] {
      let address = try #require(IPAddress(text))
      #expect(!address.isLoopback && !address.isLinkLocal, "\(text)")
    }
  }

  @Test func socketAddressesAreWrittenWithTheirPort() throws {
    let v6 = try #require(IPAddress("2001:db8::1"))
    #expect(SocketAddress.ip(v6, port: 443).description == "[2001:db8::1]:443")
    #expect(SocketAddress.ip(.loopbackV4, port: 80).description == "127.0.0.1:80")
    #expect(SocketAddress.unix("/run/app").description == "unix:/run/app")
    #expect(SocketAddress.unix("/run/app").ip == nil)
  }
}

@Suite struct AddressRangeTests {
  @Test(arguments: [
    ("10.0.0.0/8", ["10.0.0.0", "10.255.255.255"], ["9.255.255.255", "11.0.0.0", "::a00:0"]),
    ("192.0.2.1", ["192.0.2.1"], ["192.0.2.0", "192.0.2.2"]),
    ("192.0.2.4/31", ["192.0.2.4", "192.0.2.5"], ["192.0.2.3", "192.0.2.6"]),
    ("0.0.0.0/0", ["0.0.0.0", "255.255.255.255"], ["::", "::1", "2001:db8::1"]),
    ("::/0", ["::", "2001:db8::1", "ffff::"], ["0.0.0.0", "192.0.2.1"]),
    ("2001:db8::/32", ["2001:db8::", "2001:db8:ffff::1"], ["2001:db7:ffff::", "2001:db9::"]),
    ("2001:db8::/64", ["2001:db8::ffff:0:0:1"], ["2001:db8:0:1::"]),
    ("2001:db8::8000:0:0:0/65", ["2001:db8::8000:0:0:1", "2001:db8::ffff:0:0:1"], ["2001:db8::1"]),
    ("::1", ["::1"], ["::", "::2", "0.0.0.1"]),
    ("2001:db8::1/128", ["2001:db8::1"], ["2001:db8::2"]),
    ("fe80::/10", ["fe80::1", "febf::1"], ["fec0::", "fe7f::"]),
  ])
  func aRangeHoldsExactlyItsAddresses(
    text: String, inside: [String], outside: [String]
  ) throws {
    let range = try #require(AddressRange(text))
    for address in inside {
      #expect(range.contains(try #require(IPAddress(address))), "\(address) is in \(text)")
    }
    for address in outside {
      #expect(!range.contains(try #require(IPAddress(address))), "\(address) is not in \(text)")
    }
  }

  @Test(arguments: [
    "", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/+8", "10.0.0.0/8/8",
    "10.0.0.1/8", "::/129", "2001:db8::1/64", "2001:db8::/16", "10.0.0.0/a", "nowhere/8",
    "10.0.0.0/99999999999999999999",
  ])
  func aMalformedOrMisleadingRangeIsRefused(text: String) {
    #expect(AddressRange(text) == nil)
  }
}
