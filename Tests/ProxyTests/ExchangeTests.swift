// Exchange: the phases of a request, as a table of events and actions.
//
// The rows follow the retry rules; the deadlines have a separate table.

import Balancing
import Primitives
import Testing

@testable import Proxy

@Suite struct ExchangeTests {
  @Test(arguments: rows) func everyRowOfTheTable(_ row: Script) { row.run() }

  static let rows = [
    plain, failedDials, deaths, retried, repeatedHarm, neverRetried, cut, aborted, unavailable,
    queued, refused,
  ].flatMap { $0 }

  /// A request without a body has begun, and its first attempt is connecting.
  private static let dialled: [Step] = [
    Step(0, .requestEnds, .wait), Step(0, .begin, .attempt), Step(0, .dial(1), .wait),
  ]
  private static let sent: [Step] = dialled + [Step(1, .connected, .send)]
  private static let reused: [Step] = Array(dialled.dropLast()) + [Step(0, .reuse(1), .send)]
  private static let answering: [Step] = sent + [Step(2, .head(200), .forward)]

  static let plain: [Script] = [
    Script(
      testDescription: "a request without a body is answered",
      steps: answering + [Step(3, .progress), Step(4, .responseEnds, .finish)], attempts: ["ok"]),
    Script(
      testDescription: "a body that isn't collected is sent on while it arrives",
      steps: [
        Step(0, .begin, .attempt), Step(0, .dial(1), .wait), Step(1, .progress),
        Step(2, .connected, .send),
        Step(3, .requestEnds, .wait), Step(4, .head(200), .forward),
        Step(5, .responseEnds, .finish),
      ],
      attempts: ["ok"]),
    Script(
      testDescription: "a collected body is whole before a member is chosen",
      steps: [
        Step(0, .collect(50), .wait), Step(1, .progress), Step(2, .requestEnds, .attempt),
        Step(2, .dial(1), .wait), Step(3, .connected, .send), Step(4, .head(204), .forward),
        Step(4, .responseEnds, .finish),
      ],
      attempts: ["ok"]),
    Script(
      testDescription: "collecting ends in time, and the rest of the body is sent on",
      steps: [
        Step(0, .collect(50), .wait), Step(40, .progress), Step(50, .expires(.client), .attempt),
        Step(50, .reuse(1), .send), Step(60, .requestEnds, .wait), Step(61, .head(200), .forward),
        Step(62, .responseEnds, .finish),
      ],
      attempts: ["ok"]),
    Script(
      testDescription: "nothing is collected of a request that is complete",
      steps: [Step(0, .requestEnds, .wait), Step(0, .collect(50), .attempt)]),
    Script(
      testDescription: "an early answer is forwarded while the request is still arriving",
      steps: [
        Step(0, .begin, .attempt), Step(0, .reuse(1), .send), Step(1, .head(413), .forward),
        Step(2, .requestEnds, .wait), Step(3, .responseEnds, .finish),
      ],
      attempts: ["ok"]),
    Script(
      testDescription: "interim responses go ahead of the final one",
      steps: sent + [
        Step(2, .interim(103), .forwardInterim), Step(3, .interim(103), .forwardInterim),
        Step(4, .interim(100), .forwardInterim), Step(5, .head(200), .forward),
        Step(6, .responseEnds, .finish),
      ],
      attempts: ["ok"]),
    Script(
      testDescription: "a status that the policy names is forwarded when nobody else may be tried",
      idempotent: false, steps: sent + [Step(2, .head(503), .forward)], attempts: ["pending"]),
    Script(
      testDescription: "an upgrade is relayed until both sides are done",
      steps: sent + [
        Step(2, .upgraded, .wait), Step(3, .progress), Step(4000, .progress),
        Step(4001, .responseEnds, .finish),
      ],
      attempts: ["ok"]),
  ]

  static let failedDials: [Script] =
    [FailureCause.connectRefused, .connectTimeout, .connectFailed].map { (cause) -> Script in
      Script(
        testDescription:
          "a dial that fails (\(cause.name)) is tried elsewhere, whatever the method",
        idempotent: false,
        steps: dialled + [Step(1, .fails(cause, sent: 0), .attempt), Step(1, .dial(2), .wait)],
        attempts: ["\(cause.name)", "pending"])
    }

  static let deaths: [Script] =
    [FailureCause.resetBeforeResponse, .closedBeforeResponse].flatMap { (cause) -> [Script] in
      [
        Script(
          testDescription: "\(cause.name) before a byte was taken: elsewhere, whatever the method",
          idempotent: false,
          steps: sent + [Step(2, .fails(cause, sent: 0), .attempt), Step(2, .dial(2), .wait)],
          attempts: ["\(cause.name)", "pending"]),
        Script(
          testDescription: "\(cause.name) on a fresh connection: elsewhere if idempotent",
          steps: sent + [Step(2, .fails(cause, sent: 9), .attempt), Step(2, .dial(2), .wait)],
          attempts: ["\(cause.name)", "pending"]),
        Script(
          testDescription: "\(cause.name) on a reused connection: the same member, freshly",
          steps: reused + [Step(2, .fails(cause, sent: 9), .redial), Step(2, .dial(1), .wait)],
          attempts: ["\(cause.name)", "pending"]),
        Script(
          testDescription: "\(cause.name) on a reused connection before a byte: any method",
          idempotent: false,
          steps: reused + [Step(2, .fails(cause, sent: 0), .redial), Step(2, .dial(1), .wait)],
          attempts: ["\(cause.name)", "pending"]),
      ]
    }

  static let retried: [Script] =
    [
      Script(
        testDescription: "a response time-out is tried elsewhere if idempotent",
        steps: sent + [Step(1001, .expires(.backend), .attempt), Step(1001, .dial(2), .wait)],
        attempts: ["response-timeout", "pending"]),
      Script(
        testDescription: "a status that the policy names is tried elsewhere if idempotent",
        steps: sent + [
          Step(2, .head(503), .attempt), Step(2, .dial(2), .wait), Step(3, .connected, .send),
          Step(4, .head(200), .forward), Step(5, .responseEnds, .finish),
        ],
        attempts: ["status", "ok"]),
      Script(
        testDescription: "a second 100 (Continue) after a retry is swallowed, an early hint is not",
        steps: sent + [
          Step(2, .interim(100), .forwardInterim),
          Step(3, .fails(.closedBeforeResponse, sent: 9), .attempt), Step(3, .reuse(2), .send),
          Step(4, .interim(100), .wait), Step(5, .interim(103), .forwardInterim),
          Step(6, .head(200), .forward),
        ],
        attempts: ["closed-before-response", "pending"]),
      Script(
        testDescription: "a stale connection is not counted: three attempts follow it",
        steps: reused + [
          Step(1, .fails(.closedBeforeResponse, sent: 9), .redial), Step(1, .dial(1), .wait),
          Step(2, .fails(.connectRefused, sent: 0), .attempt), Step(2, .dial(2), .wait),
          Step(3, .fails(.connectRefused, sent: 0), .attempt), Step(3, .dial(3), .wait),
          Step(4, .fails(.connectRefused, sent: 0), .answer(status: 502)),
        ],
        failure: .upstream(.connectRefused),
        attempts: ["closed-before-response"] + Array(repeating: "connect-refused", count: 3)),
      Script(
        testDescription: "each member may prove stale once",
        steps: reused + [
          Step(1, .fails(.closedBeforeResponse, sent: 9), .redial), Step(1, .dial(1), .wait),
          Step(2, .fails(.connectRefused, sent: 0), .attempt), Step(2, .reuse(2), .send),
          Step(3, .fails(.resetBeforeResponse, sent: 9), .redial), Step(3, .dial(2), .wait),
        ],
        attempts: [
          "closed-before-response", "connect-refused", "reset-before-response", "pending",
        ]),
      Script(
        testDescription: "a connection that proves stale behind a fresh one counts",
        steps: reused + [
          Step(1, .fails(.closedBeforeResponse, sent: 9), .redial), Step(1, .dial(1), .wait),
          Step(2, .fails(.closedBeforeResponse, sent: 9), .attempt), Step(2, .reuse(1), .send),
          Step(3, .fails(.closedBeforeResponse, sent: 9), .attempt), Step(3, .dial(2), .wait),
          Step(4, .fails(.connectRefused, sent: 0), .answer(status: 502)),
        ],
        failure: .upstream(.connectRefused),
        attempts: Array(repeating: "closed-before-response", count: 3) + ["connect-refused"]),
    ]

  static let repeatedHarm: [Script] =
    [FailureCause.resetBeforeResponse, .closedBeforeResponse, .responseTimeout].flatMap {
      (cause) -> [Script] in
      let status: UInt16 = cause == .responseTimeout ? 504 : 502
      return [sent, reused].map { (start) -> Script in
        Script(
          testDescription: "\(cause.name) behind the first byte: never if not idempotent",
          idempotent: false,
          steps: start + [
            Step(2, .fails(cause, sent: 1), .answer(status: status))
          ],
          failure: .upstream(cause), attempts: ["\(cause.name)"])
      }
    }

  static let neverRetried: [Script] =
    [
      Script(
        testDescription: "a response that isn't HTTP is not asked for again",
        steps: sent + [Step(2, .fails(.badResponse, sent: 9), .answer(status: 502))],
        failure: .upstream(.badResponse), attempts: ["bad-response"]),
      Script(
        testDescription: "a body that can't be replayed is not sent again",
        canReplay: false,
        steps: sent + [Step(2, .fails(.resetBeforeResponse, sent: 9), .answer(status: 502))],
        failure: .upstream(.resetBeforeResponse), attempts: ["reset-before-response"]),
      Script(
        testDescription: "max-attempts counts the first one",
        steps: dialled + [
          Step(1, .fails(.connectRefused, sent: 0), .attempt), Step(1, .dial(2), .wait),
          Step(2, .fails(.connectTimeout, sent: 0), .attempt), Step(2, .dial(3), .wait),
          Step(3, .fails(.connectTimeout, sent: 0), .answer(status: 504)),
        ],
        failure: .upstream(.connectTimeout),
        attempts: ["connect-refused", "connect-timeout", "connect-timeout"]),
      Script(
        testDescription: "past the total time-out nothing is tried again",
        steps: sent + [
          Step(2500, .fails(.closedBeforeResponse, sent: 9), .answer(status: 502))
        ],
        failure: .upstream(.closedBeforeResponse), attempts: ["closed-before-response"]),
      Script(
        testDescription: "the last attempt's failure says more than that nobody is left",
        steps: dialled + [
          Step(1, .fails(.connectTimeout, sent: 0), .attempt),
          Step(1, .nobody(.allDown), .answer(status: 504)),
        ],
        failure: .upstream(.connectTimeout), attempts: ["connect-timeout"]),
      Script(
        testDescription: "a status goes to the client when nobody is left to be tried",
        steps: sent + [
          Step(2, .head(503), .attempt), Step(2, .nobody(.allFull), .answer(status: 503)),
        ],
        failure: .upstream(.status(503)), attempts: ["status"]),
    ]

  static let cut: [Script] =
    [FailureCause.truncatedResponse, .responseStalled, .badResponse, .resetBeforeResponse].map {
      (cause) -> Script in
      Script(
        testDescription: "\(cause.name) within the answer cuts the client",
        steps: answering + [Step(3, .fails(cause, sent: 0), .cut)],
        failure: .upstream(cause), attempts: ["\(cause.name)"])
    }

  private static let abortedAfter: [(phase: String, steps: [Step], attempts: [String])] =
    [
      ("collecting", [Step(0, .collect(50), .wait)], []),
      ("connecting", dialled, ["client-aborted"]), ("awaiting", sent, ["client-aborted"]),
      ("forwarding", answering, ["client-aborted"]),
      ("relaying", sent + [Step(2, .upgraded, .wait)], ["client-aborted"]),
      (
        "connecting anew",
        dialled + [Step(1, .fails(.connectRefused, sent: 0), .attempt), Step(1, .dial(2), .wait)],
        ["connect-refused", "client-aborted"]
      ),
    ]

  static let aborted: [Script] = abortedAfter.map { (row) -> Script in
    Script(
      testDescription: "a client that goes away while \(row.phase) is cut",
      steps: row.steps + [Step(9, .clientGone, .cut)], failure: .clientAborted,
      attempts: row.attempts)
  }

  static let unavailable: [Script] =
    [Unavailability.noMembers, .allDown, .allFull, .queueFull, .queueTimeout].map {
      (reason) -> Script in
      Script(
        testDescription: "\(reason.name): 503",
        steps: [
          Step(0, .requestEnds, .wait), Step(0, .begin, .attempt),
          Step(0, .nobody(reason), .answer(status: 503)),
        ],
        failure: .unavailable(reason))
    }

  static let queued: [Script] = [
    Script(
      testDescription: "a request that waited for a place is served like any other",
      steps: [
        Step(0, .requestEnds, .wait), Step(0, .begin, .attempt), Step(0, .queue, .wait),
        Step(300, .dial(1), .wait), Step(301, .connected, .send), Step(302, .head(200), .forward),
        Step(303, .responseEnds, .finish),
      ],
      attempts: ["ok"]),
    Script(
      testDescription: "its body may go on arriving meanwhile",
      steps: [
        Step(0, .begin, .attempt), Step(0, .queue, .wait), Step(5, .progress),
        Step(10, .requestEnds, .wait), Step(300, .reuse(1), .send), Step(302, .head(200), .forward),
      ],
      attempts: ["pending"]),
    Script(
      testDescription: "what is refused while it waits is answered",
      steps: [
        Step(0, .begin, .attempt), Step(0, .queue, .wait),
        Step(5, .refuse(.malformedBody), .answer(status: 400)),
      ],
      failure: .malformedBody),
    Script(
      testDescription: "a client that goes away while it waits is cut",
      steps: [
        Step(0, .requestEnds, .wait), Step(0, .begin, .attempt), Step(0, .queue, .wait),
        Step(5, .clientGone, .cut),
      ],
      failure: .clientAborted),
    Script(
      testDescription: "a further attempt that finds no place tells what became of the first",
      steps: sent + [
        Step(2, .fails(.resetBeforeResponse, sent: 9), .attempt), Step(2, .queue, .wait),
        Step(402, .expires(.backend), .answer(status: 502)),
      ],
      failure: .upstream(.resetBeforeResponse), attempts: ["reset-before-response"]),
  ]

  static let refused: [Script] =
    [ExchangeFailure.bodyTooLarge, .malformedBody].flatMap { (reason) -> [Script] in
      let status: UInt16 = reason == .bodyTooLarge ? 413 : 400
      return [
        Script(
          testDescription: "\(reason.name) while collecting is answered",
          steps: [
            Step(0, .collect(50), .wait), Step(1, .refuse(reason), .answer(status: status)),
          ],
          failure: reason),
        Script(
          testDescription: "\(reason.name) within an attempt is answered",
          steps: [
            Step(0, .begin, .attempt), Step(0, .dial(1), .wait), Step(1, .connected, .send),
            Step(2, .refuse(reason), .answer(status: status)),
          ],
          failure: reason, attempts: ["abandoned"]),
        Script(
          testDescription: "\(reason.name) behind the answer's head cuts",
          steps: [
            Step(0, .begin, .attempt), Step(0, .reuse(1), .send), Step(1, .head(200), .forward),
            Step(2, .refuse(reason), .cut),
          ],
          failure: reason, attempts: ["abandoned"]),
      ]
    }

  @Test func whatIsOpenToTheCallerFollowsThePhase() {
    var exchange = Exchange(startedAt: .origin, isIdempotent: true)
    func expect(
      _ state: [Bool], after action: Exchange.Action? = nil,
      is expected: Exchange.Action? = nil, sourceLocation: SourceLocation = #_sourceLocation
    ) {
      let now = [exchange.isConnected, exchange.hasAnswered, exchange.isRequestComplete]
      #expect(now == state && action == expected, sourceLocation: sourceLocation)
    }
    let begun = exchange.handle(
      .routed(collectsUntil: .origin + .seconds(1)), at: .origin)
    expect([false, false, false], after: begun, is: .wait)
    let collected = exchange.handle(.requestEnded, at: .origin)
    expect([false, false, true], after: collected, is: .attempt)
    let started = exchange.handle(
      .attemptStarted(backend: 1, isReused: false, isFailOpen: false), at: .origin)
    expect([false, false, true], after: started, is: .wait)
    let connected = exchange.handle(.connected, at: .origin)
    expect([true, false, true], after: connected, is: .send)
    let answered = exchange.handle(.head(status: 200, retry: nil), at: .origin)
    expect([true, true, true], after: answered, is: .forward)
    let ended = exchange.handle(.responseEnded, at: .origin)
    expect([false, true, true], after: ended, is: .finish)
    let phase = exchange.phase
    #expect(phase == .ended(nil))
  }

  @Test func anAttemptLastsUntilItsEndWhateverEndsIt() {
    let ends: [[Exchange.Event]] = [
      [.clientGone], [.refused(.bodyTooLarge)],
      [.head(status: 200, retry: nil), .responseEnded],
      [.attemptFailed(.connectRefused, .giveUp)],
    ]
    for end in ends {
      var exchange = Exchange(startedAt: .origin, isIdempotent: true)
      _ = exchange.handle(.routed(collectsUntil: nil), at: .origin)
      _ = exchange.handle(
        .attemptStarted(backend: 3, isReused: true, isFailOpen: false), at: Script.at(10))
      exchange.progressed(at: Script.at(20))
      for event in end { _ = exchange.handle(event, at: Script.at(35)) }
      let attempt = exchange.attempts.last
      #expect(attempt?.duration == .milliseconds(25))
      #expect(attempt?.backend == 3 && attempt?.isReused == true)
    }
  }

  @Test func theStatusOfAnAttemptIsRemembered() {
    var exchange = Exchange(startedAt: .origin, isIdempotent: true)
    let events: [Exchange.Event] = [
      .routed(collectsUntil: nil),
      .attemptStarted(backend: 1, isReused: true, isFailOpen: false),
      .head(status: 503, retry: .status(503)),
      .attemptStarted(backend: 2, isReused: true, isFailOpen: false), .relayStarted,
    ]
    for event in events { _ = exchange.handle(event, at: .origin) }
    let attempts = exchange.attempts
    #expect(attempts[0].status == 503 && attempts[1].status == 101)
  }
}
