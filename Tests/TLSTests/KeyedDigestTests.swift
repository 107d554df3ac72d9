// HMAC-SHA256 by the test vectors of RFC 4231.

import Testing

@testable import TLS

@Suite struct KeyedDigestTests {
  @Test func itAgreesWithTheTestVectors() {
    #expect(
      keyedDigest(Array("Hi There".utf8), key: [UInt8](repeating: 0x0B, count: 20))
        == 0xB034_4C61_D8DB_3853)
    #expect(
      keyedDigest(Array("what do ya want for nothing?".utf8), key: Array("Jefe".utf8))
        == 0x5BDC_C146_BF60_754E)
    // A key longer than a block.
    #expect(
      keyedDigest(
        Array("Test Using Larger Than Block-Size Key - Hash Key First".utf8),
        key: [UInt8](repeating: 0xAA, count: 131)) == 0x60E4_3159_1EE0_B67F)
  }
}
