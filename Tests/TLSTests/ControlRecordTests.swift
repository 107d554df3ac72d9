// Records without data: they are counted, and a session yields after a few of them. Also, errors
// that other sessions leave on the thread don't affect a session.

import COpenSSL
import Testing

@testable import TLS

@Suite("TLSSession: records without data") struct ControlRecordTests {
  private func established(_ version: TLSVersion = .tls13) throws -> SessionPair {
    let pair = try SessionPair(makeContext(), ClientOffer(maximum: version.code))
    try pair.shakeHands()
    return pair
  }

  /// `count` KeyUpdate records (RFC 8446 4.6.3) of 27 bytes each.
  private func updateKeys(_ pair: SessionPair, _ count: Int) {
    for _ in 0..<count {
      precondition(SSL_key_update(pair.client.ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1)
      precondition(SSL_do_handshake(pair.client.ssl) == 1)
    }
    pair.inbound += pair.client.take()
  }

  @Test("One read handles a limited number of KeyUpdates", arguments: [40, 1000])
  func keyUpdates(count: Int) throws {
    let pair = try established()
    updateKeys(pair, count)
    pair.client.write(Array("data".utf8))
    pair.inbound += pair.client.take()
    var turns = 0
    var seen = 0
    var result: (bytes: [UInt8], step: ReadStep) = ([], .wantsTurn)
    while result.step == .wantsTurn {
      let before = pair.inbound.count
      result = try pair.read(room: 1000)
      #expect(before - pair.inbound.count <= TLSSession.recordsPerTurn * 27 + 26)
      seen += pair.takeControlRecordCount()
      turns += 1
    }
    #expect(turns == count / TLSSession.recordsPerTurn + 1)
    #expect(result.bytes == Array("data".utf8) && seen == count)
    #expect(pair.takeControlRecordCount() == 0)
  }

  @Test("Each KeyUpdate is counted, however the bytes are split")
  func pieces() throws {
    for pieceByteCount in [1, 5, 7, 27] {
      let pair = try established()
      updateKeys(pair, 3)
      pair.pieceByteCount = pieceByteCount
      #expect(try pair.readAll().bytes.isEmpty)
      #expect(pair.takeControlRecordCount() == 3)
    }
  }

  @Test("Records with data aren't counted, however they are split", arguments: TLSVersion.allCases)
  func data(version: TLSVersion) throws {
    let message = pattern(40_000)
    for pieceByteCount in [3, 1000, 16_389, 16_400, 100_000] {
      let pair = try established(version)
      for _ in 0..<3 { pair.client.write(message) }
      pair.pieceByteCount = pieceByteCount
      #expect(try pair.readAll(room: 10_000).bytes == message + message + message)
      #expect(pair.takeControlRecordCount() == 0)
    }
  }

  @Test("One read takes so many records with data, however short they are")
  func shortRecords() throws {
    let pair = try established()
    for byte in pattern(1000) { pair.client.write([byte]) }
    pair.inbound = pair.client.take()
    var all: [UInt8] = []
    var turns = 0
    var step = ReadStep.wantsTurn
    while step == .wantsTurn {
      let result = try pair.read(room: 2000)
      #expect(result.bytes.count <= TLSSession.dataRecordsPerTurn)
      all += result.bytes
      step = result.step
      turns += 1
    }
    #expect(all == pattern(1000) && step == .wantsInput)
    #expect(turns == 1000 / TLSSession.dataRecordsPerTurn + 1)
  }

  @Test(
    "A session that we end for a fault sends a fatal alert, whatever it was reading",
    arguments: TLSVersion.allCases)
  func failing(version: TLSVersion) throws {
    for partByteCount in [0, 3, 5, 20] {
      let pair = try established(version)
      pair.client.write(pattern(1000))
      pair.inbound = Array(pair.client.take().prefix(partByteCount))
      #expect(try pair.read(room: 2000).bytes.isEmpty)
      let alert = pair.fail()
      #expect(alert.first == (version == .tls12 ? 21 : 23))
      pair.client.receive(alert)
      // A received alert is reported as this number plus its own.
      let failure = #expect(throws: ClientFailure.self) { try pair.client.read() }
      #expect((failure?.reason ?? 0) > 1000, "\(partByteCount)")
      // unexpected_message, between two records of TLS 1.3.
      if partByteCount == 0 && version == .tls13 { #expect(failure?.reason == 1010) }
      #expect(pair.fail().isEmpty)
      #expect(throws: TLSFailure.ended) { try pair.read(room: 1) }
    }
  }

  @Test("A request to renegotiate is counted")
  func renegotiation() throws {
    let pair = try established(.tls12)
    #expect(SSL_renegotiate(pair.client.ssl) == 1)
    #expect(try !pair.client.step())
    _ = try pair.readAll()
    #expect(pair.takeControlRecordCount() == 1)
  }

  @Test("A handshake in records of one byte yields to others, and completes")
  func shreddedHello() throws {
    let pair = try SessionPair(makeContext())
    _ = try pair.client.step()
    let hello = pair.client.take()
    #expect(hello[0] == 22 && hello.count > 200)
    pair.inbound = hello.dropFirst(5).flatMap { [22, 3, 1, 0, 1, $0] }
    _ = try pair.handshake()
    #expect(pair.turnCount == (hello.count - 5 - 1) / TLSSession.recordsPerTurn)
    try pair.shakeHands()
    #expect(pair.turnCount == (hello.count - 5 - 1) / TLSSession.recordsPerTurn)
  }

  /// Leaves an error, as an unreadable ticket or another user of OpenSSL does.
  private func leaveError() {
    let empty = BIO_new(BIO_s_mem())
    defer { BIO_free(empty) }
    precondition(PEM_read_bio_X509(empty, nil, nil, nil) == nil && ERR_peek_error() != 0)
  }

  @Test("An error that other code left on the thread doesn't end a session")
  func foreignErrors() throws {
    let pair = try SessionPair(makeContext())
    _ = try pair.client.step()
    let hello = pair.client.take()
    pair.inbound = Array(hello.prefix(50))
    leaveError()
    #expect(try pair.handshake() == .wantsInput)
    pair.inbound = Array(hello.dropFirst(50))
    leaveError()
    #expect(try pair.handshake() == .wantsInput)
    try pair.shakeHands()

    pair.client.write(Array("data".utf8))
    let record = pair.client.take()
    pair.inbound = Array(record.prefix(9))
    leaveError()
    #expect(try pair.read(room: 100).step == .wantsInput)
    pair.inbound = Array(record.dropFirst(9))
    leaveError()
    #expect(try pair.read(room: 100).bytes == Array("data".utf8))
    leaveError()
    #expect(try pair.write([1], capacity: 1000).taken == 1)
  }
}
