// A client that continues to send after its last response, as many do that write everything before
// they read.
//
// The worker runs on an I/O with one client, which sends more than the limit.

import HTTP
import Primitives
import Proxy
import Reactor
import Testing

@testable import Server

/// The client's actions, and how its connection ended; shared with the test.
private final class Upload {
  static let listener = Socket(descriptor: 9)
  static let client = Socket(descriptor: 10)

  var now = Instant.origin + .seconds(1)
  var head: [UInt8]? = Array(
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n".utf8)
  /// How many bytes the client has ready to send.
  var pending = 0
  var token: UInt64?
  var isAccepted = false
  var events: [ReadinessEvent] = []
  var receivedCount = 0
  var sent: [UInt8] = []
  var hasShutDown = false
  /// Nil while the connection is open.
  var closedByReset: Bool?

  func send(_ count: Int) {
    pending += count
    if let token { events.append(ReadinessEvent(token: token, readiness: .readable)) }
  }
}

private struct UploadIO: QuietIO {
  let upload: Upload
  var reported: [ReadinessEvent] = []
  var now: Instant { upload.now }

  mutating func wait(until deadline: Instant?) -> Int {
    reported = upload.events
    upload.events = []
    return reported.count
  }
  func event(_ index: Int) -> ReadinessEvent { reported[index] }
  mutating func watch(listener: Socket, token: UInt64) {
    upload.events.append(ReadinessEvent(token: token, readiness: .readable))
  }
  mutating func accept(from listener: Socket) -> AcceptResult {
    if upload.isAccepted { return .wouldBlock }
    upload.isAccepted = true
    return .accepted(Upload.client, peer: .ip(.loopbackV4, port: 1))
  }
  mutating func register(_ socket: Socket, token: UInt64) {
    upload.token = token
    upload.events.append(ReadinessEvent(token: token, readiness: [.readable, .writable]))
  }
  mutating func receive(
    from socket: Socket, into output: inout OutputSpan<UInt8>
  ) -> ReceiveResult {
    if let head = upload.head {
      upload.head = nil
      for byte in head { output.append(byte) }
      return .received(head.count)
    }
    let count = min(upload.pending, output.freeCapacity)
    if count == 0 { return .wouldBlock }
    for _ in 0..<count { output.append(0x6D) }
    upload.pending -= count
    upload.receivedCount += count
    return .received(count)
  }
  mutating func send(to socket: Socket, _ first: Span<UInt8>, _ second: Span<UInt8>) -> SendResult {
    for index in 0..<first.count { upload.sent.append(first[index]) }
    for index in 0..<second.count { upload.sent.append(second[index]) }
    return .sent(first.count + second.count)
  }
  mutating func shutdownSending(_ socket: Socket) { upload.hasShutDown = true }
  mutating func close(_ socket: Socket, reset: Bool) { upload.closedByReset = reset }
}

@Suite struct LingerTests {
  private func answered(
    _ upload: Upload, _ change: (inout Settings) -> Void = { _ in }
  ) throws -> Worker<UploadIO> {
    var settings = Settings()
    change(&settings)
    let snapshot = Snapshot(
      settings: settings,
      listeners: [
        ListenerSettings(name: [], rules: RouteRules(table: RouteTable([]), routes: []))
      ], pools: [])
    var worker = try loneWorker(
      on: UploadIO(upload: upload), snapshot, listeners: [Upload.listener])
    for _ in 0..<3 { worker.turn() }
    #expect(String(decoding: upload.sent.prefix(12), as: UTF8.self) == "HTTP/1.1 413")
    #expect(upload.hasShutDown && upload.closedByReset == nil)
    return worker
  }

  @Test func muchMayComeAfterTheAnswerAndAFewBlocksOfItInATurn() throws {
    let upload = Upload()
    var worker = try answered(upload)
    upload.send(64 << 20)
    while upload.pending > 0 {
      let before = upload.receivedCount
      worker.turn()
      #expect(upload.receivedCount > before)
      #expect(upload.receivedCount - before <= 5 * BufferPool.largeByteCount)
      if upload.receivedCount == before { break }
    }
    #expect(upload.closedByReset == nil)
  }

  @Test func aClientThatPausesIsCutOffAfterFiveSeconds() throws {
    let upload = Upload()
    var worker = try answered(upload)
    upload.send(100_000)
    upload.now = upload.now + .milliseconds(4900)
    for _ in 0..<3 { worker.turn() }
    upload.now = upload.now + .milliseconds(200)
    for _ in 0..<3 { worker.turn() }
    #expect(upload.closedByReset == nil)
    upload.now = upload.now + .milliseconds(5000)
    for _ in 0..<3 { worker.turn() }
    #expect(upload.closedByReset == false)
  }

  @Test(arguments: [(1200, 10, true), (1199, 1, false), (1, 1, false)])
  func aClientKeepsUpTheMinimumRate(byteCount: Int, rounds: Int, isOpen: Bool) throws {
    let upload = Upload()
    var worker = try answered(upload) { $0.lingerTime = .seconds(3600) }
    for _ in 0..<rounds {
      upload.send(byteCount)
      for _ in 0..<3 { worker.turn() }
      upload.now = upload.now + .milliseconds(5001)
      for _ in 0..<3 { worker.turn() }
    }
    #expect((upload.closedByReset == nil) == isOpen)
  }

  @Test func aSteadyClientHasItsTimeAndNoMore() throws {
    let upload = Upload()
    var worker = try answered(upload) { $0.lingerTime = .seconds(30) }
    for second in 1...31 {
      upload.send(100_000)
      for _ in 0..<3 { worker.turn() }
      upload.now = upload.now + .seconds(1)
      for _ in 0..<3 { worker.turn() }
      #expect((upload.closedByReset == nil) == (second < 30))
    }
    #expect(upload.closedByReset == false)
  }
}
