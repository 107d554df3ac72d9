// The TLVs of version 2. The tests with a name of a program are its published bugs.

import Primitives
import ProxyProtocol
import Testing

struct TLVTests {
  private func bytes(_ tlvs: [UInt8]...) -> [UInt8] { block(0x21, 0x11, tcp4 + tlvs.joined()) }

  @Test func everyKnownTLVIsFound() throws {
    let tls =
      tlv(0x21, "TLSv1.3") + tlv(0x22, "client") + tlv(0x23, "TLS_AES_128_GCM_SHA256")
      + tlv(0x24, "SHA256") + tlv(0x25, "EC256") + tlv(0x26, "X25519MLKEM768")
      + tlv(0x27, "ecdsa_secp256r1_sha256") + tlv(0x28, [0x30, 0]) + tlv(0x29, "new")
    let bytes = bytes(
      tlv(1, "h2"), tlv(4, [0, 0]), tlv(2, "www.example.com"), tlv(5, "4711"), tlv(4, []),
      tlv(0x20, [7, 0, 0, 0, 0] + tls), tlv(0x30, "blue"), tlv(0xEA, [1] + Array("vpce-1".utf8)),
      tlv(0xEE, [1, 0x78, 0x56, 0x34, 0x12]), tlv(0xE0, "gcp"), tlv(0xFF, "x"))
    let tlvs = try header(bytes).tlvs
    #expect(text(tlvs.alpn, in: bytes) == "h2")
    #expect(text(tlvs.authority, in: bytes) == "www.example.com")
    #expect(text(tlvs.uniqueID, in: bytes) == "4711")
    #expect(text(tlvs.namespace, in: bytes) == "blue")
    #expect(text(tlvs.awsEndpoint, in: bytes) == "vpce-1")
    #expect(tlvs.azureLink == 0x1234_5678)
    #expect(!tlvs.hasChecksum)
    let found = try #require(tlvs.tls)
    #expect(found.isUsed && found.hasCertificateOfConnection && found.hasCertificateOfSession)
    #expect(found.isVerified)
    #expect(text(found.version, in: bytes) == "TLSv1.3")
    #expect(text(found.commonName, in: bytes) == "client")
    #expect(text(found.cipher, in: bytes) == "TLS_AES_128_GCM_SHA256")
    #expect(text(found.signatureAlgorithm, in: bytes) == "SHA256")
    #expect(text(found.keyAlgorithm, in: bytes) == "EC256")
    #expect(text(found.group, in: bytes) == "X25519MLKEM768")
    #expect(text(found.signatureScheme, in: bytes) == "ecdsa_secp256r1_sha256")
    #expect(text(found.certificate, in: bytes) == "0\0")
  }

  /// The result of verification says nothing without a certificate.
  @Test(arguments: [
    ([0, 0, 0, 0, 0], false), ([1, 0, 0, 0, 0], false), ([3, 0, 0, 0, 0], true),
    ([5, 0, 0, 0, 0], true), ([3, 0, 0, 0, 1], false), ([3, 1, 0, 0, 0], false),
  ])
  func aCertificateIsVerifiedIfItIsThere(value: [UInt8], isVerified: Bool) throws {
    let tls = try #require(try header(bytes(tlv(0x20, value))).tlvs.tls)
    #expect(tls.isVerified == isVerified)
    #expect(tls.isUsed == (value[0] & 1 == 1))
  }

  /// HAProxy 2.2: a TLV longer than the header was read beyond it.
  @Test(arguments: [
    [1], [1, 0], [1, 0, 1], [1, 0xFF, 0xFF], [1, 0, 3, 0x68, 0x32], [4, 0, 0, 1], [4, 0, 0, 1, 0],
    tlv(1, "h2") + [0xEE, 0, 6, 1, 0, 0, 0, 0],
  ])
  func aTLVLongerThanTheHeaderIsRefused(tlvs: [UInt8]) {
    // What follows looks like the rest of it.
    let payload = Array(repeating: UInt8(0), count: 20)
    #expect(verdict(bytes(tlvs)) == .failed(.truncatedTLV))
    let longer = block(0x21, 0x11, tcp4 + tlvs + payload, length: 12 + tlvs.count)
    #expect(verdict(longer) == .failed(.truncatedTLV))
  }

  @Test(arguments: [[0x21], [0x21, 0], [0x21, 0, 1], [0x21, 0xFF, 0xFF, 1], [0x21, 0, 0, 0x23]])
  func aTLVLongerThanThatOfTLSIsRefused(subs: [UInt8]) {
    #expect(verdict(bytes(tlv(0x20, [1, 0, 0, 0, 0] + subs))) == .failed(.truncatedTLV))
    // The next TLV of the header isn't a part of it.
    #expect(
      verdict(bytes(tlv(0x20, [1, 0, 0, 0, 0] + subs), tlv(4, Array(repeating: 0, count: 300))))
        == .failed(.truncatedTLV))
  }

  @Test(arguments: [
    tlv(5, Array(repeating: 1, count: 129)), tlv(3, [1, 2, 3]), tlv(3, [1, 2, 3, 4, 5]), tlv(3, []),
    tlv(0x20, []), tlv(0x20, [1, 0, 0, 0]), tlv(0xEE, [1, 2, 3, 4]), tlv(0xEE, [1, 2, 3, 4, 5, 6]),
  ])
  func aValueThatItsTypeDoesNotAllowIsRefused(tlv: [UInt8]) {
    #expect(verdict(bytes(tlv)) == .failed(.badTLV))
  }

  @Test func aUniqueIDHasUpTo128Bytes() throws {
    let bytes = bytes(tlv(5, Array(repeating: 1, count: 128)))
    #expect(try header(bytes).tlvs.uniqueID?.count == 128)
  }

  @Test(arguments: [1, 2, 5, 0x30] as [UInt8])
  func aRepeatedTLVIsRefused(type: UInt8) {
    #expect(verdict(bytes(tlv(type, "a"), tlv(4, []), tlv(type, "a"))) == .failed(.repeatedTLV))
  }

  @Test func aRepeatedTLVOfTLSOrACloudIsRefused() {
    let tls = tlv(0x20, [1, 0, 0, 0, 0])
    let twice = tlv(0x20, [1, 0, 0, 0, 0] + tlv(0x21, "a") + tlv(0x21, "a"))
    let azure = tlv(0xEE, [1, 0, 0, 0, 0])
    for tlvs in [tls + tls, twice, azure + azure, tlv(0xEA, [1]) + tlv(0xEA, [1])] {
      #expect(verdict(bytes(tlvs)) == .failed(.repeatedTLV))
    }
    // Other types of the same owners are unknown.
    #expect(throws: Never.self) {
      try header(bytes(tlv(0xEA, [2]) + tlv(0xEA, []) + tlv(0xEE, [])))
    }
  }

  // MARK: Checksum

  /// Made by another program: the header of `tcp4` with a checksum.
  static let checked =
    signature + [0x21, 0x11, 0, 19] + tcp4 + [3, 0, 4] + checksum

  private static let checksum: [UInt8] = [0x4D, 0x20, 0xD6, 0x09]

  @Test func aChecksumCoversTheWholeHeader() throws {
    #expect(try header(Self.checked).tlvs.hasChecksum)
    for index in 16..<Self.checked.count {
      for bit in 0..<8 {
        var damaged = Self.checked
        damaged[index] ^= 1 << bit
        guard index < 28 || index > 30 else { continue }
        #expect(verdict(damaged) == .failed(.badChecksum), "byte \(index)")
      }
    }
    // The command, and the family.
    var other = Self.checked
    other[13] = 0x12
    #expect(verdict(other) == .failed(.badChecksum))
  }

  @Test func aSecondChecksumIsRefused() {
    var output = ByteBuffer()
    var tlvs = OutgoingTLVs()
    tlvs.hasChecksum = true
    ProxyHeaderWriter.writeBlock(source: nil, destination: nil, tlvs, into: &output)
    var bytes = output.array(0..<output.count)
    bytes += tlv(3, [0, 0, 0, 0])
    bytes[15] += 7
    // The first one doesn't match any more.
    #expect(verdict(bytes) == .failed(.badChecksum))
  }
}
