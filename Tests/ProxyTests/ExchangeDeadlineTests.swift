// Exchange: the timeout of each phase, and which side is at fault when it expires.

import Balancing
import Primitives
import Proxy
import Testing

@Suite struct ExchangeDeadlineTests {
  @Test(arguments: rows) func everyRowOfTheTable(_ row: Script) { row.run() }

  private static let streaming = [
    Step(0, .begin, .attempt), Step(0, .dial(1), .wait), Step(10, .connected, .send),
  ]
  private static let sent = streaming + [Step(20, .requestEnds, .wait)]
  private static let answering = sent + [Step(30, .head(200), .forward)]

  static let rows: [Script] = [
    Script(
      testDescription: "a dial has its own time, within which no other limit counts",
      steps: [
        Step(0, .begin, .attempt), Step(0, .dial(1), .wait), Step(100, .expires(.client), .attempt),
        Step(100, .dial(2), .wait), Step(200, .expires(.backend), .attempt),
        Step(200, .dial(3), .wait),
        Step(300, .expires(.backend), .answer(status: 504)),
      ],
      failure: .upstream(.connectTimeout),
      attempts: Array(repeating: "connect-timeout", count: 3)),
    Script(
      testDescription: "a place that doesn't come free in time is given up",
      steps: [
        Step(0, .begin, .attempt), Step(0, .queue, .wait), Step(10, .requestEnds, .wait),
        Step(400, .expires(.client), .answer(status: 503)),
      ],
      failure: .unavailable(.queueTimeout)),
    Script(
      testDescription: "waiting for a place is part of the total time",
      steps: sent + [
        Step(1020, .expires(.backend), .attempt), Step(1020, .dial(2), .wait),
        Step(1030, .connected, .send),
        Step(2030, .expires(.backend), .attempt), Step(2130, .queue, .wait),
        Step(2520, .expires(.backend), .answer(status: 504)),
      ],
      failure: .upstream(.responseTimeout),
      attempts: ["response-timeout", "response-timeout"]),
    Script(
      testDescription: "a client that sends its body too slowly gets 408",
      steps: streaming + [
        Step(200, .progress), Step(500, .expires(.client), .answer(status: 408)),
      ],
      failure: .requestTimeout, attempts: ["abandoned"]),
    Script(
      testDescription: "a backend that takes a body too slowly has failed",
      idempotent: false,
      steps: streaming + [
        Step(200, .progress), Step(700, .expires(.backend), .answer(status: 504)),
      ],
      failure: .upstream(.responseTimeout), attempts: ["response-timeout"]),
    Script(
      testDescription: "the time of a response counts from the end of the request",
      idempotent: false,
      steps: streaming + [
        Step(290, .progress), Step(580, .requestEnds, .wait),
        Step(1580, .expires(.backend), .answer(status: 504)),
      ],
      failure: .upstream(.responseTimeout), attempts: ["response-timeout"]),
    Script(
      testDescription: "once the request is complete it is the backend, whichever socket is full",
      idempotent: false, steps: sent + [Step(1020, .expires(.client), .answer(status: 504))],
      failure: .upstream(.responseTimeout), attempts: ["response-timeout"]),
    Script(
      testDescription: "an interim response doesn't lengthen the wait for the final one",
      idempotent: false,
      steps: sent + [
        Step(900, .interim(103), .forwardInterim),
        Step(1020, .expires(.backend), .answer(status: 504)),
      ],
      failure: .upstream(.responseTimeout), attempts: ["response-timeout"]),
    Script(
      testDescription: "the time of a response counts anew for each attempt, up to the total",
      steps: sent + [
        Step(1020, .expires(.backend), .attempt), Step(1020, .dial(2), .wait),
        Step(1100, .connected, .send),
        Step(2100, .expires(.backend), .attempt), Step(2100, .reuse(3), .send),
        Step(2520, .expires(.backend), .answer(status: 504)),
      ],
      failure: .upstream(.responseTimeout),
      attempts: Array(repeating: "response-timeout", count: 3)),
    Script(
      testDescription: "the total time ends a dial too",
      steps: sent + [
        Step(1020, .expires(.backend), .attempt), Step(1020, .reuse(2), .send),
        Step(2020, .expires(.backend), .attempt), Step(2450, .dial(3), .wait),
        Step(2520, .expires(.backend), .answer(status: 504)),
      ],
      failure: .upstream(.connectTimeout),
      attempts: ["response-timeout", "response-timeout", "connect-timeout"]),
    Script(
      testDescription: "a backend that stops within its answer has stalled",
      steps: answering + [Step(400, .progress), Step(900, .expires(.backend), .cut)],
      failure: .upstream(.responseStalled), attempts: ["response-stalled"]),
    Script(
      testDescription: "a client that takes nothing of its answer has stalled",
      steps: answering + [Step(400, .progress), Step(700, .expires(.client), .cut)],
      failure: .clientStalled, attempts: ["abandoned"]),
    Script(
      testDescription: "an answer may take as long as it likes while it moves",
      steps: answering + (1...20).map { Step(30 + $0 * 290, .progress) } + [
        Step(6000, .responseEnds, .finish)
      ],
      attempts: ["ok"]),
    Script(
      testDescription: "a relay ends when nothing has moved for its own time",
      steps: sent + [
        Step(30, .upgraded, .wait), Step(4000, .progress), Step(9000, .expires(.client), .finish),
      ],
      attempts: ["ok"]),
    Script(
      testDescription: "both sides of a relay have the same time",
      steps: sent + [Step(30, .upgraded, .wait), Step(5030, .expires(.backend), .finish)],
      attempts: ["ok"]),
  ]

  @Test(arguments: [Exchange.Side.client, .backend])
  func thereIsNoDeadlineBetweenAttemptsAndAfterTheEnd(_ side: Exchange.Side) {
    var exchange = Exchange(startedAt: .origin, isIdempotent: true)
    func deadline() -> Instant { exchange.deadline(Script.limits, awaiting: side) }
    _ = exchange.handle(.routed(collectsUntil: nil), at: .origin)
    #expect(deadline() == .never)
    _ = exchange.handle(
      .attemptStarted(backend: 1, isReused: true, isFailOpen: false), at: .origin)
    #expect(deadline() != .never)
    _ = exchange.handle(.attemptFailed(.connectRefused, .retryElsewhere), at: .origin)
    #expect(deadline() == .never)
    _ = exchange.handle(.clientGone, at: .origin)
    #expect(deadline() == .never)
    let expiry = exchange.expiry(Script.limits, awaiting: side, at: .never)
    #expect(expiry == nil)
  }
}
