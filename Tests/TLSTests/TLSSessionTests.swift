// Sessions over memory, with an OpenSSL client.

import COpenSSL
import Testing

@testable import TLS

@Suite("TLSSession") struct TLSSessionTests {
  @Test(
    "A verifying client completes the handshake with every key type in both versions",
    arguments: [TestAuthority.Key.rsa2048, .p256, .p384, .ed25519], TLSVersion.allCases)
  func handshakeWithEveryKey(key: TestAuthority.Key, version: TLSVersion) throws {
    let authority = TestAuthority.shared
    let context = try makeContext([authority.certificate(key)])
    let pair = try SessionPair(
      context, ClientOffer(maximum: version.code, trusts: authority.path("ca.crt")))
    try pair.shakeHands()
    #expect(pair.version == version)
    #expect(pair.serverName == "a.test")
    #expect(!pair.isResumed)
    pair.client.write(Array("ping".utf8))
    #expect(try pair.readAll().bytes == Array("ping".utf8))
    try pair.writeAll(Array("pong".utf8))
    #expect(try pair.client.read() == Array("pong".utf8))
  }

  @Test("A session that gets single bytes behaves in the same way", arguments: TLSVersion.allCases)
  func byteByByte(version: TLSVersion) throws {
    let pair = try SessionPair(makeContext(), ClientOffer(maximum: version.code))
    pair.pieceByteCount = 1
    try pair.shakeHands()
    let message = pattern(3000)
    pair.client.write(message)
    #expect(try pair.readAll().bytes == message)
  }

  @Test("A handshake completes with an output that is much too small")
  func smallOutput() throws {
    let pair = try SessionPair(makeContext([TestAuthority.shared.certificate(.rsa2048)]))
    pair.outputCapacity = 100
    try pair.shakeHands()
    #expect(pair.fullOutputCount >= 10)
  }

  @Test("The flight with a chain of four RSA certificates fits the recommended output")
  func longFlight() throws {
    let authority = TestAuthority.shared
    let files = authority.files(.rsa2048, names: "DNS:a.test")
    let leaf = authority.contents(files.chain)
    let chain = authority.file("long.crt", leaf + leaf + leaf + leaf)
    let certificate = try Certificate(chainPath: chain, keyPath: files.key)
    for version in TLSVersion.allCases {
      let pair = try SessionPair(makeContext([certificate]), ClientOffer(maximum: version.code))
      pair.outputCapacity = TLSSession.handshakeOutputByteCount
      try pair.shakeHands()
      #expect(pair.longestFlight > 2500)
      #expect(pair.longestFlight < TLSSession.handshakeOutputByteCount)
    }
  }

  @Test("Large data survives both ways intact", arguments: TLSVersion.allCases)
  func largeData(version: TLSVersion) throws {
    let pair = try SessionPair(makeContext(), ClientOffer(maximum: version.code))
    try pair.shakeHands()
    let message = pattern(1 << 20)
    pair.client.write(message)
    pair.pieceByteCount = 50_000
    #expect(try pair.readAll(room: 40_000).bytes == message)
    try pair.writeAll(message)
    #expect(try pair.client.read() == message)
  }

  @Test("Data that arrives with the last handshake bytes can be read afterwards")
  func dataBehindHandshake() throws {
    let pair = try SessionPair(makeContext())
    _ = try pair.client.step()
    pair.inbound = pair.client.take()
    #expect(try pair.handshake() == .wantsInput)
    #expect(try pair.client.step())
    pair.client.write(Array("early bird".utf8))
    pair.inbound = pair.client.take()
    #expect(try pair.handshake() == .complete)
    #expect(!pair.inbound.isEmpty)
    #expect(try pair.readAll().bytes == Array("early bird".utf8))
  }

  @Test("Plaintext that doesn't fit stays pending and is returned later without input")
  func pendingPlaintext() throws {
    let pair = try SessionPair(makeContext())
    try pair.shakeHands()
    let message = pattern(10_000)
    pair.client.write(message)
    pair.inbound = pair.client.take()
    let first = try pair.read(room: 4_000)
    #expect(first.step == .plaintextFull)
    #expect(first.bytes == Array(message[..<4_000]))
    #expect(pair.inbound.isEmpty)
    #expect(pair.pendingByteCount == 6_000)
    #expect(try pair.read(room: 0).step == .plaintextFull)
    let second = try pair.read(room: 8_000)
    #expect(second.step == .wantsInput)
    #expect(second.bytes == Array(message[4_000...]))
    #expect(pair.pendingByteCount == 0)
  }

  @Test("Ciphertext after a full plaintext buffer stays with the caller")
  func inputIsNotSwallowed() throws {
    let pair = try SessionPair(makeContext())
    try pair.shakeHands()
    for _ in 0..<3 { pair.client.write(pattern(1_000)) }
    pair.inbound = pair.client.take()
    let (bytes, step) = try pair.read(room: 1_500)
    #expect(bytes.count == 1_500)
    #expect(step == .plaintextFull)
    #expect(pair.inbound.count == 1_000 + 22)
  }

  @Test("A write encrypts what is sure to fit and never overflows", arguments: TLSVersion.allCases)
  func writeFits(version: TLSVersion) throws {
    let pair = try SessionPair(makeContext(), ClientOffer(maximum: version.code))
    try pair.shakeHands()
    let message = pattern(200_000)
    var expected: [UInt8] = []
    for capacity in [0, 1, 60, 93, 94, 200, 4096, 16_000, 16_500, 17_000, 33_000, 69_632] {
      let (taken, output) = try pair.write(message, capacity: capacity)
      #expect(output.count <= capacity)
      #expect(taken == 0 ? output.isEmpty : output.count > taken)
      #expect((taken > 0) == (capacity > 93))
      expected += message[..<taken]
      pair.client.receive(output)
    }
    #expect(try pair.client.read() == expected)
  }

  @Test(
    "The worst-case size lets a write take everything",
    arguments: [1, 100, 16_383, 16_384, 16_385, 65_536])
  func worstCase(count: Int) throws {
    let message = pattern(count)
    for version in TLSVersion.allCases {
      let pair = try SessionPair(makeContext(), ClientOffer(maximum: version.code))
      try pair.shakeHands()
      let capacity = TLSSession.ciphertextByteCount(for: count)
      let (taken, output) = try pair.write(message, capacity: capacity)
      #expect(taken == count)
      #expect(capacity - output.count < 64 + 8 * 5)
    }
  }

  @Test("A limited write ends with a full record and not with a small one")
  func wholeRecords() {
    let fitting = TLSSession.fittingByteCount(
      of: 100_000, into: 2 * (16_384 + 29) + 64 + 500, recordByteCount: 16_384)
    #expect(fitting == 32_768)
    #expect(TLSSession.fittingByteCount(of: 100, into: 64 + 29, recordByteCount: 512) == 0)
    #expect(TLSSession.fittingByteCount(of: 100, into: 64 + 30, recordByteCount: 512) == 1)
  }

  @Test("A client that asks for short records gets them, and writes still fit")
  func shortRecords() throws {
    let pair = try SessionPair(makeContext(), ClientOffer(fragmentCode: 1))
    try pair.shakeHands()
    let message = pattern(16_384)
    let capacity = TLSSession.ciphertextByteCount(for: message.count)
    let (taken, output) = try pair.write(message, capacity: capacity)
    #expect(taken > 15_000 && taken < message.count)
    #expect(Int(output[3]) << 8 | Int(output[4]) == 512 + 1 + 16)
    pair.client.receive(output)
    #expect(try pair.client.read() == Array(message[..<taken]))
  }

  @Test("A client's KeyUpdate is answered with the next write, in the room kept for it")
  func keyUpdate() throws {
    let pair = try SessionPair(makeContext())
    try pair.shakeHands()
    #expect(SSL_key_update(pair.client.ssl, SSL_KEY_UPDATE_REQUESTED) == 1)
    pair.client.write(Array("new keys".utf8))
    #expect(try pair.readAll().bytes == Array("new keys".utf8))
    let message = pattern(5_000)
    let (taken, output) = try pair.write(
      message, capacity: TLSSession.ciphertextByteCount(for: message.count))
    #expect(taken == message.count)
    pair.client.receive(output)
    #expect(try pair.client.read() == message)
  }

  @Test("close_notify goes out once and ends writing", arguments: TLSVersion.allCases)
  func close(version: TLSVersion) throws {
    let pair = try SessionPair(makeContext(), ClientOffer(maximum: version.code))
    try pair.shakeHands()
    let farewell = pair.close()
    #expect(!farewell.isEmpty)
    #expect(pair.close().isEmpty)
    pair.client.receive(farewell)
    #expect(try pair.client.read().isEmpty)
    #expect(pair.client.sawCloseNotify)
    #expect(throws: TLSFailure.ended) { try pair.write([1], capacity: 1000) }
  }

  @Test("After our close_notify the client's data can still be read")
  func readAfterClose() throws {
    let pair = try SessionPair(makeContext())
    try pair.shakeHands()
    _ = pair.close()
    pair.client.write(Array("late".utf8))
    #expect(try pair.readAll().bytes == Array("late".utf8))
  }

  @Test("The client's close_notify ends reading, after its data", arguments: TLSVersion.allCases)
  func peerCloses(version: TLSVersion) throws {
    let pair = try SessionPair(makeContext(), ClientOffer(maximum: version.code))
    try pair.shakeHands()
    pair.client.write(Array("last words".utf8))
    SSL_shutdown(pair.client.ssl)
    let (bytes, step) = try pair.readAll()
    #expect(bytes == Array("last words".utf8))
    #expect(step == .closed)
    try pair.writeAll(Array("still heard".utf8))
    #expect(!pair.close().isEmpty)
  }

  @Test("Closing before the handshake is complete sends nothing")
  func earlyClose() throws {
    let pair = try SessionPair(makeContext())
    #expect(pair.close().isEmpty)
    _ = try pair.client.step()
    pair.inbound = pair.client.take()
    #expect(try pair.handshake() == .wantsInput)
    #expect(pair.close().isEmpty)
  }

  @Test("Reading and writing before the handshake are refused")
  func tooEarly() throws {
    let pair = try SessionPair(makeContext())
    #expect(throws: TLSFailure.ended) { try pair.read(room: 10) }
    #expect(throws: TLSFailure.ended) { try pair.write([1], capacity: 1000) }
  }

  @Test(
    "Plain HTTP is recognised and not answered in TLS",
    arguments: ["GET / HTTP/1.1\r\n", "POST /x HTTP/1.1\r\n", "HEAD / HTTP/1.0\r\n",
      "PUT /x HTTP/1.1\r\n", "CONNECT a:1 HTTP/1.1\r\n", "DELETE /x HTTP/1.1\r\n",
      "OPTIONS * HTTP/1.1\r\n", "PATCH /x HTTP/1.1\r\n"])
  func plaintextHTTP(request: String) throws {
    for pieceByteCount in [1, 1000] {
      let pair = try SessionPair(makeContext())
      pair.pieceByteCount = pieceByteCount
      pair.inbound = Array(request.utf8)
      #expect(throws: TLSFailure.plaintextHTTP) { try pair.handshake() }
      #expect(pair.longestFlight == 0)
      #expect(throws: TLSFailure.ended) { try pair.handshake() }
      #expect(pair.close().isEmpty)
    }
  }

  @Test(
    "Garbage is recognised and not answered",
    arguments: [[UInt8](repeating: 0xFF, count: 50), Array("SSH-2.0-OpenSSH_9\r\n".utf8),
      Array("GETTING".utf8), [0x05, 1, 0, 1, 2, 3]])
  func garbage(bytes: [UInt8]) throws {
    let pair = try SessionPair(makeContext())
    pair.inbound = bytes
    #expect(throws: TLSFailure.notTLS) { try pair.handshake() }
    #expect(pair.longestFlight == 0)
  }

  @Test("An invalid handshake record gets an alert and doesn't crash")
  func nonsenseHello() throws {
    let pair = try SessionPair(makeContext())
    pair.inbound = [0x16, 3, 1, 0, 8, 1, 0, 0, 4, 9, 9, 9, 9]
    #expect(throws: TLSFailure.self) { try pair.handshake() }
    #expect(pair.longestFlight == 7)
  }

  @Test("A truncated record waits for its rest")
  func truncated() throws {
    let pair = try SessionPair(makeContext())
    try pair.shakeHands()
    for cut in [1, 4, 5, 6, 300, 521] {
      pair.client.write(pattern(500))
      let record = pair.client.take()
      #expect(record.count == 522)
      pair.inbound = Array(record[..<cut])
      let first = try pair.read(room: 1_000)
      #expect(first.bytes.isEmpty)
      #expect(first.step == .wantsInput)
      pair.inbound = Array(record[cut...])
      #expect(try pair.readAll().bytes == pattern(500))
    }
  }

  @Test("A forged record ends the session with an alert", arguments: TLSVersion.allCases)
  func forged(version: TLSVersion) throws {
    let pair = try SessionPair(makeContext(), ClientOffer(maximum: version.code))
    try pair.shakeHands()
    pair.client.write(pattern(100))
    var record = pair.client.take()
    record[record.count - 1] ^= 1
    pair.inbound = record
    #expect(throws: TLSFailure.self) { try pair.read(room: 1_000) }
    #expect(throws: ClientFailure.self) { try pair.client.read() }
    #expect(throws: TLSFailure.ended) { try pair.read(room: 1_000) }
    #expect(throws: TLSFailure.ended) { try pair.write([1], capacity: 1_000) }
    #expect(pair.close().isEmpty)
  }

  @Test("A failure on one session leaves no error for the next one on the thread")
  func errorsDoNotLeak() throws {
    let context = try makeContext()
    let victim = try SessionPair(context)
    try victim.shakeHands()
    let bad = try SessionPair(context)
    bad.inbound = Array("nonsense!".utf8)
    #expect(throws: TLSFailure.notTLS) { try bad.handshake() }
    #expect(ERR_peek_error() == 0)
    victim.client.write([1, 2, 3])
    #expect(try victim.readAll().bytes == [1, 2, 3])
  }

  @Test("Renegotiation is refused and the session goes on")
  func renegotiation() throws {
    let pair = try SessionPair(makeContext(), ClientOffer(maximum: TLS1_2_VERSION))
    try pair.shakeHands()
    #expect(SSL_renegotiate(pair.client.ssl) == 1)
    #expect(try !pair.client.step())
    let (bytes, step) = try pair.readAll()
    #expect(bytes.isEmpty && step == .wantsInput)
    #expect(throws: ClientFailure.self) { try pair.client.step() }
    #expect(pair.isResumed == false)
    #expect(try pair.write([1, 2, 3], capacity: 1_000).taken == 3)
  }

  @Test("A client that refuses the certificate is reported as such")
  func refusedCertificate() throws {
    let authority = TestAuthority.shared
    let pair = try SessionPair(
      makeContext(),
      ClientOffer(
        maximum: TLS1_2_VERSION, trusts: authority.files(.rsa2048, names: "DNS:a.test").chain))
    _ = try pair.client.step()
    pair.inbound = pair.client.take()
    _ = try pair.handshake()
    #expect(throws: ClientFailure.self) { try pair.client.step() }
    pair.inbound = pair.client.take()
    #expect(throws: TLSFailure.badCertificate) { try pair.handshake() }
  }
}
