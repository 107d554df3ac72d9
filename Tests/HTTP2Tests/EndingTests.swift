// PING, GOAWAY in both roles, and drains: no request is lost or executed twice.

import HTTP
import Primitives
import Testing

@testable import HTTP2

@Suite struct EndingTests {
  private static func get(_ stream: UInt32) -> [UInt8] {
    Wire.headers(stream, Wire.request(), ends: true)
  }

  private static func pong(_ number: UInt32) -> [UInt8] {
    Wire.frame(Wire.ping, 1, 0, [0, 0, 0, 0] + Wire.number(number))
  }

  @Test func aDrainHasTwoSteps() {
    let bench = Bench.server()
    bench.feed(Self.get(1))
    bench.connection.beginDrain(at: bench.now, into: &bench.output)
    #expect(bench.frames() == ["GOAWAY 2147483647 no-error", "PING 1"])
    // A request that was already on its way is still accepted.
    bench.feed(Self.get(3))
    bench.clear()
    bench.now = bench.now + .milliseconds(30)
    bench.feed(Self.pong(1))
    #expect(bench.events == ["pong 30 ms"])
    #expect(bench.frames() == ["GOAWAY 3 no-error"])
    // Later requests are ignored without an answer or a refusal: the client knows from the GOAWAY.
    bench.feed(Wire.headers(5, Wire.request(method: "POST")) + Wire.data(5, "x", ends: true))
    #expect(bench.events == ["pong 30 ms"])
    #expect(bench.frames() == [])
    for stream in [UInt32(1), 3] {
      #expect(bench.connection.isFinished == false)
      bench.respond(on: stream)
      bench.release(stream)
    }
    #expect(bench.connection.isFinished == true)
  }

  @Test func aDrainDoesNotWaitForPeersThatDoNotAnswer() {
    let bench = Bench.server()
    bench.connection.beginDrain(at: bench.now, into: &bench.output)
    bench.clear()
    #expect(bench.connection.deadline(at: bench.now) == bench.now + .seconds(5))
    bench.expire(after: .seconds(5))
    #expect(bench.frames() == ["GOAWAY 0 no-error"])
    #expect(bench.connection.isFinished == true)
  }

  @Test func compressionContinuesAfterAGoAway() {
    // An ignored block must still be decoded (RFC 9113 6.8).
    let bench = Bench.server()
    bench.feed(Self.get(1))
    bench.connection.beginDrain(at: bench.now, into: &bench.output)
    bench.connection.endDrain(into: &bench.output)
    let block = Wire.block(Wire.request()) + [0x40] + Wire.string("x-new") + Wire.string("y")
    bench.feed(Wire.frame(Wire.headers, 5, 3, block))
    #expect(bench.connection.decoder.tableCount == 1)
  }

  @Test func aGoAwayReportsUnprocessedStreamsToTheClient() {
    let bench = Bench.client()
    for _ in 0..<4 { bench.request() }
    bench.clear()
    bench.feed(Wire.goAway(3, 0))
    #expect(
      bench.events == [
        "goaway 3 no-error", "reset 5 refused-stream unprocessed",
        "reset 7 refused-stream unprocessed",
      ])
    #expect(bench.request() == .full)
    #expect(bench.connection.takesNoMoreStreams == true)
    bench.feed(
      Wire.headers(1, [(":status", "200")], ends: true)
        + Wire.headers(3, [(":status", "200")], ends: true))
    bench.release(1)
    #expect(bench.connection.isFinished == false)
    bench.release(3)
    #expect(bench.connection.isFinished == true)
  }

  @Test func aSecondGoAwayMayHaveALowerStream() {
    let bench = Bench.client()
    for _ in 0..<2 { bench.request() }
    bench.clear()
    bench.feed(Wire.goAway(0x7FFF_FFFF, 0))
    #expect(bench.events == ["goaway 2147483647 no-error"])
    bench.feed(Wire.goAway(1, 0))
    #expect(bench.events.last == "reset 3 refused-stream unprocessed")
  }

  @Test func aRefusedStreamWasNotProcessed() {
    let bench = Bench.client()
    bench.request("POST", body: .streamed)
    bench.feed(Wire.reset(1, 7))
    #expect(bench.events == ["reset 1 refused-stream unprocessed"])
    let server = Bench.server()
    server.feed(Self.get(1) + Wire.reset(1, 7))
    #expect(server.events.last == "reset 1 refused-stream")
  }

  @Test(arguments: [
    (UInt32(11), "enhance-your-calm"), (13, "http-1-1-required"), (2, "internal-error"),
  ])
  func theReasonsOfAServerAreReported(code: UInt32, name: String) {
    let bench = Bench.client()
    bench.request()
    bench.feed(Wire.reset(1, code) + Wire.goAway(1, code))
    #expect(bench.events == ["reset 1 \(name)", "goaway 1 \(name)"])
  }

  @Test func aClientsDrainLetsItsStreamsEnd() {
    let bench = Bench.client()
    bench.request()
    bench.clear()
    bench.connection.beginDrain(at: bench.now, into: &bench.output)
    #expect(bench.frames() == ["GOAWAY 0 no-error"])
    #expect(bench.request() == .full)
    bench.feed(Wire.headers(1, [(":status", "200")], ends: true))
    bench.release(1)
    #expect(bench.connection.isFinished == true)
  }

  // MARK: PING

  @Test func aPingMeasuresTheWay() {
    let bench = Bench.client()
    #expect(bench.connection.sendPing(at: bench.now, into: &bench.output) == true)
    #expect(bench.connection.sendPing(at: bench.now, into: &bench.output) == false)
    #expect(bench.frames() == ["PING 1"])
    bench.now = bench.now + .milliseconds(12)
    // Answers to other PINGs are ignored.
    bench.feed(Self.pong(9) + Self.pong(1))
    #expect(bench.events == ["pong 12 ms"])
  }

  /// It may take a response slowly, behind which the PING waits.
  @Test func aClientMayAnswerThePINGOfADrainLate() {
    let bench = Bench.server()
    bench.feed(Self.get(1))
    bench.connection.beginDrain(at: bench.now, into: &bench.output)
    for _ in 0..<12 { bench.expire(after: .seconds(5)) }
    #expect(bench.connection.isBroken == false && bench.connection.isDraining == true)
  }

  /// A client with one stream, which asks after 5 s of silence, and gives up after 1 s.
  private func waitingClient() -> Bench {
    var limits = HTTP2Limits()
    limits.pingInterval = .seconds(5)
    limits.pingTimeout = .seconds(1)
    let bench = Bench.client(limits)
    bench.request()
    bench.clear()
    return bench
  }

  @Test func aPeerThatDoesNotAnswerIsGone() {
    let bench = waitingClient()
    #expect(bench.connection.deadline(at: bench.now) == bench.now + .seconds(5))
    bench.expire(after: .seconds(5))
    #expect(bench.frames() == ["PING 1"])
    #expect(bench.connection.deadline(at: bench.now) == bench.now + .seconds(1))
    bench.expire(after: .seconds(1))
    #expect(bench.events == ["broken ping-timeout"])
  }

  @Test func aPeerThatSendsOtherFramesIsAlive() {
    let bench = waitingClient()
    _ = bench.connection.deadline(at: bench.now)
    bench.expire(after: .seconds(5))
    bench.now = bench.now + .milliseconds(900)
    bench.feed(Wire.windowUpdate(0, 1))
    bench.expire(after: .milliseconds(900))
    #expect(bench.connection.isBroken == false)
    bench.expire(after: .milliseconds(100))
    #expect(bench.connection.isBroken == true)
  }

  /// Servers of gRPC count PINGs between which they have sent nothing.
  @Test func aPeerThatOnlyAnswersIsLeftAloneForLong() {
    let bench = waitingClient()
    _ = bench.connection.deadline(at: bench.now)
    bench.expire(after: .seconds(5))
    #expect(bench.frames() == ["PING 1"])
    bench.feed(Self.pong(1))
    #expect(bench.connection.deadline(at: bench.now) == bench.now + .seconds(330))
    bench.expire(after: .seconds(300))
    #expect(bench.frames() == [])
    bench.feed(Wire.headers(1, [(":status", "200")]))
    bench.expire(after: .seconds(5))
    #expect(bench.frames() == ["PING 2"])
  }

  @Test func aPeerWithoutStreamsIsNotAsked() {
    let bench = waitingClient()
    _ = bench.connection.deadline(at: bench.now)
    bench.feed(Wire.headers(1, [(":status", "200")], ends: true))
    bench.release(1)
    #expect(bench.connection.deadline(at: bench.now) > bench.now + .seconds(5))
    bench.expire(after: .seconds(100))
    #expect(bench.frames() == [])
    // Time without a stream doesn't count.
    bench.request()
    bench.clear()
    #expect(bench.connection.deadline(at: bench.now) == bench.now + .seconds(5))
  }

  @Test(arguments: ["HTTP/1.1 400 Bad Request\r\n", "HTTP/1.0 505 Not Supported\r\n"])
  func aServerOfHTTP1IsRecognised(line: String) {
    let bench = Bench(.client)
    bench.feed(Array(line.utf8))
    #expect(bench.events == ["broken no-http2"])
  }

  // MARK: Changing settings

  @Test func aServerMayTakeFewerStreams() {
    let bench = Bench.server()
    bench.feed(Self.get(1) + Self.get(3))
    bench.clear()
    bench.connection.setStreamCountMax(1, at: bench.now, into: &bench.output)
    #expect(bench.frames() == ["SETTINGS 3=1"])
    bench.feed(Wire.settingsAck + Self.get(5))
    #expect(bench.events == ["rejected 5 too-many-streams"])
    for stream in [UInt32(1), 3] {
      bench.respond(on: stream)
      bench.release(stream)
    }
    bench.feed(Self.get(7))
    #expect(bench.events.last?.hasPrefix("request 7") == true)
  }
}
