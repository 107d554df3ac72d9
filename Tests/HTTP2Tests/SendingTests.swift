// Outgoing heads and trailers, and how an owner uses streams.

import HTTP
import Primitives
import Testing

@testable import HTTP2

@Suite struct SendingTests {
  private func bench(_ method: String = "GET") -> Bench {
    let bench = Bench.server()
    bench.feed(Wire.headers(1, Wire.request(method: method), ends: method == "GET"))
    bench.clear()
    return bench
  }

  @Test func aResponseLosesWhatBelongsToAConnection() {
    let bench = bench()
    bench.respond(
      200,
      [
        ("Content-Type", "text/plain"), ("Connection", "close, X-Hop"), ("Keep-Alive", "timeout=5"),
        ("Transfer-Encoding", "chunked"), ("Upgrade", "h2c"), ("X-Hop", "1"),
        ("Content-Length", "9"),
        ("X-Custom", " padded "),
      ], body: .known(5), on: 1)
    #expect(
      bench.frames() == [
        "HEADERS 1 :status: 200 + content-type: text/plain + x-custom: padded + content-length: 5"
      ])
  }

  @Test(arguments: [
    (UInt16(200), BodyLength.none, "HEADERS 1 :status: 200 + content-length: 9 end"),
    (304, .none, "HEADERS 1 :status: 304 + content-length: 9 end"),
    (204, .none, "HEADERS 1 :status: 204 end"),
    (200, .known(0), "HEADERS 1 :status: 200 + content-length: 0 end"),
    (200, .known(7), "HEADERS 1 :status: 200 + content-length: 7"),
    (302, .streamed, "HEADERS 1 :status: 302"),
  ])
  func aResponseIsFramedAsItsBodyIs(status: UInt16, body: BodyLength, frame: String) {
    let bench = bench()
    #expect(bench.respond(status, [("content-length", "9")], body: body, on: 1) == .sent)
    #expect(bench.frames() == [frame])
  }

  @Test func interimHeadsMayPrecedeTheFinalOne() {
    let bench = bench()
    #expect(bench.respond(103, [("Link", "</a>")], on: 1) == .sent)
    #expect(bench.respond(200, on: 1) == .sent)
    #expect(bench.respond(200, on: 1) == .gone)
    #expect(
      bench.frames() == ["HEADERS 1 :status: 103 + link: </a>", "HEADERS 1 :status: 200 end"])
  }

  @Test func switchingProtocolsDoesNotExist() {
    #expect(bench().respond(101, on: 1) == .refused(.unsendableStatus))
  }

  @Test func trailersEndABody() {
    let bench = bench()
    bench.respond(200, body: .streamed, on: 1)
    bench.send("x", on: 1)
    var trailers = FieldBlock()
    trailers.append(name: Array("grpc-status".utf8).span, value: Array("0".utf8).span)
    trailers.append(name: Array("Content-Length".utf8).span, value: Array("5".utf8).span)
    let outcome = bench.connection.send(
      trailers: trailers, on: 1, workspace: &bench.workspace, into: &bench.output)
    #expect(outcome == .sent)
    #expect(
      bench.frames() == ["HEADERS 1 :status: 200", "DATA 1 1", "HEADERS 1 grpc-status: 0 end"])
  }

  @Test func aLargeHeadGoesInSeveralFramesAndComesBack() {
    let client = Bench.client()
    let large = String(repeating: "~", count: 6000)
    client.request("GET", "/", (0..<5).map { ("x-\($0)", large) })
    let sent = bytes(of: client.output)
    let lines = client.frames()
    #expect(lines == ["HEADERS 1 16384 bytes end", "CONTINUATION 1 13672 bytes"])
    let server = Bench.server()
    server.feed(sent)
    #expect(server.events.first?.hasPrefix("request 1 GET example.org /") == true)
    #expect(server.workspace.request.fields.count == 6)
  }

  @Test func aHeadThatThePeerDoesNotTakeIsNotSent() {
    let client = Bench.client(settings: [(6, 500)])
    #expect(
      client.request("GET", "/", [("x", String(repeating: "x", count: 500))])
        == .refused(.headTooLargeForPeer))
    #expect(client.frames() == [])
    #expect(client.request() == .opened(stream: 1))
  }

  @Test func aRequestBecomesPseudoFieldsAndFields() {
    let client = Bench.client()
    client.request(
      "POST", "/a?b", [("Host", "example.org"), ("TE", "trailers, deflate"), ("X-A", "1")],
      body: .known(3))
    #expect(
      client.frames() == [
        "HEADERS 1 :method: POST + :scheme: https + :path: /a?b + :authority: example.org"
          + " + x-a: 1 + te: trailers + content-length: 3"
      ])
    client.request("OPTIONS", "*")
    #expect(
      client.frames() == [
        "HEADERS 3 :method: OPTIONS + :scheme: https + :path: * + :authority: example.org end"
      ])
  }

  @Test func aBlockCannotHoldALineEnd() {
    var block = FieldBlock()
    #expect(block.append(name: Array("a".utf8).span, value: Array("b\r\nc: d".utf8).span) == false)
    #expect(block.append(name: Array("a\r\n".utf8).span, value: Array("b".utf8).span) == false)
  }

  // MARK: Streams and their owners

  @Test func anEarlyAnswerIsFollowedByNoError() {
    // RFC 9113 8.1: the response first, then RST_STREAM, in that order.
    let bench = bench("POST")
    bench.respond(413, on: 1)
    bench.connection.abortStream(1, .noError, into: &bench.output)
    #expect(bench.frames() == ["HEADERS 1 :status: 413 end", "RST 1 no-error"])
    // Frames that were already on their way are ignored.
    bench.feed(Wire.data(1, "late") + Wire.headers(1, [("a", "b")], ends: true))
    #expect(bench.events == [])
    bench.release(1)
    bench.feed(Wire.data(1, "later"))
    #expect(bench.events == [])
    #expect(bench.frames() == [])
  }

  @Test func aReleasedStreamThatIsOpenIsReset() {
    let bench = bench("POST")
    bench.release(1)
    #expect(bench.frames() == ["RST 1 cancel"])
    bench.release(1)
    #expect(bench.frames() == [])
    #expect(bench.connection.streamCount == 0)
  }

  @Test func anAbortedStreamsDataIsDiscardedInTheMiddleOfAFrame() {
    let bench = bench("POST")
    let frame = Wire.data(1, "hello world")
    bench.feed(Array(frame[..<14]))
    #expect(bench.events == ["piece 1 hello"])
    bench.connection.abortStream(1, .cancel, into: &bench.output)
    bench.feed(Array(frame[14...]) + Wire.frame(Wire.ping, 0, 0, [UInt8](repeating: 0, count: 8)))
    #expect(bench.events == ["piece 1 hello"])
    #expect(bench.frames() == ["RST 1 cancel", "PING ack 0"])
  }

  @Test func nothingIsSentOnAStreamThatIsGone() {
    let bench = bench("POST")
    bench.releases = false
    bench.feed(Wire.reset(1, 8))
    #expect(bench.respond(on: 1) == .gone)
    #expect(bench.send("x", on: 1) == 0)
    bench.connection.sendEnd(on: 1, into: &bench.output)
    bench.connection.abortStream(1, .cancel, into: &bench.output)
    bench.connection.setWantsToSend(true, on: 1)
    #expect(bench.connection.nextTurn() == nil)
    #expect(bench.frames() == [])
  }

  @Test func aStreamCarriesItsOwnersNumber() {
    let bench = bench()
    bench.connection.setOwner(77, of: 1)
    #expect(bench.connection.owner(of: 1) == 77)
    let client = Bench.client()
    client.request(owner: 5)
    #expect(client.connection.owner(of: 1) == 5)
    #expect(client.connection.owner(of: 3) == nil)
  }

  /// Every event in every state (RFC 9113 5.1).
  @Test func theStatesOfAStreamAreTotal() {
    var states: [StreamState] = [.resetByUs, .resetByPeer]
    for incoming in IncomingHalf.allCases {
      for outgoing in OutgoingHalf.allCases { states.append(.live(incoming, outgoing)) }
    }
    for state in states {
      let before = state
      var after = state
      after.receivedHead(isInterim: true, ends: false)
      #expect(after == before)
      after.receivedHead(isInterim: false, ends: false)
      if case .live(.head, let outgoing) = before { #expect(after == .live(.body, outgoing)) }
      after = before
      after.receivedEnd()
      if case .live(_, let outgoing) = before { #expect(after == .live(.ended, outgoing)) }
      after = before
      after.sentHead(ends: true)
      #expect((after != before) == before.maySendHead)
      after = before
      after.sentEnd()
      #expect((after != before) == before.maySendBody)
      if before.isReset {
        #expect(!before.maySendHead && !before.maySendBody && before.isClosed)
        #expect(before.dataMeaning != .piece)
      }
    }
  }
}
