// Exchange: every event in every phase. The table says which pairs can happen; all others must be
// refused without a change.

import Primitives
import Testing

@testable import Proxy

@Suite struct ExchangeTotalityTests {
  private enum Name: CaseIterable {
    case routing, staging, collecting, selecting, queued, connecting, awaiting
    case forwarding, relaying, ended

    /// The events that lead there.
    var path: [Exchange.Event] {
      let start = Exchange.Event.attemptStarted(backend: 1, isReused: false, isFailOpen: false)
      switch self {
      case .routing: return []
      case .staging: return [.stageWaits(until: .origin + .seconds(1), 3)]
      case .collecting: return [.routed(collectsUntil: .origin + .seconds(1))]
      case .selecting: return [.routed(collectsUntil: nil)]
      case .queued: return Self.selecting.path + [.queued]
      case .connecting: return Self.selecting.path + [start]
      case .awaiting: return Self.connecting.path + [.connected]
      case .forwarding: return Self.awaiting.path + [.head(status: 200, retry: nil)]
      case .relaying: return Self.awaiting.path + [.relayStarted]
      case .ended: return Self.forwarding.path + [.responseEnded]
      }
    }
  }

  /// What each event does, by the phases in which it can happen.
  private static let table: [(event: Exchange.Event, actions: [Name: Exchange.Action])] = [
    (.stageWaits(until: .origin + .seconds(1), 3), [.routing: .wait]),
    (.staged, [.staging: .stage(after: 3)]),
    (.routed(collectsUntil: nil), [.routing: .attempt]),
    (.answered(nil), [.routing: .finish, .staging: .finish]),
    (
      .requestEnded,
      [
        .routing: .wait, .staging: .wait, .collecting: .attempt, .selecting: .wait, .queued: .wait,
        .connecting: .wait, .awaiting: .wait, .forwarding: .wait,
      ]
    ),
    (.collectingEnded, [.collecting: .attempt]),
    (
      .refused(.bodyTooLarge),
      [
        .routing: .answer(status: 413), .staging: .answer(status: 413),
        .collecting: .answer(status: 413), .selecting: .answer(status: 413),
        .queued: .answer(status: 413),
        .connecting: .answer(status: 413), .awaiting: .answer(status: 413), .forwarding: .cut,
        .relaying: .cut,
      ]
    ),
    (
      .clientGone,
      [
        .routing: .cut, .staging: .cut, .collecting: .cut, .selecting: .cut, .queued: .cut,
        .connecting: .cut, .awaiting: .cut, .forwarding: .cut, .relaying: .cut,
      ]
    ),
    (.queued, [.selecting: .wait]),
    (.unavailable(.allDown), [.selecting: .answer(status: 503), .queued: .answer(status: 503)]),
    (
      .attemptStarted(backend: 2, isReused: true, isFailOpen: false),
      [.selecting: .send, .queued: .send]
    ),
    (.connected, [.connecting: .send]),
    (
      .attemptFailed(.badResponse, .giveUp),
      [
        .connecting: .answer(status: 502), .awaiting: .answer(status: 502), .forwarding: .cut,
        .relaying: .cut,
      ]
    ),
    (.interim(status: 103), [.awaiting: .forwardInterim]),
    (.head(status: 200, retry: nil), [.awaiting: .forward]),
    (.relayStarted, [.awaiting: .wait]),
    (.responseEnded, [.forwarding: .finish, .relaying: .finish]),
    (.relayOpened, [:]),
    (.relayEnded, [:]),
  ]

  /// The same for a TCP connection, which has fewer phases, and no answers.
  private static let connectionTable: [(Exchange.Event, [Name: Exchange.Action])] = [
    (.routed(collectsUntil: nil), [.routing: .attempt]),
    (
      .refused(.relayIdle),
      [
        .routing: .resetRelay, .selecting: .resetRelay, .queued: .resetRelay,
        .connecting: .resetRelay, .relaying: .resetRelay,
      ]
    ),
    (
      .clientGone,
      [
        .routing: .resetRelay, .selecting: .resetRelay, .queued: .resetRelay,
        .connecting: .resetRelay, .relaying: .resetRelay,
      ]
    ),
    (.queued, [.selecting: .wait]),
    (.unavailable(.allDown), [.selecting: .resetRelay, .queued: .resetRelay]),
    (
      .attemptStarted(backend: 2, isReused: false, isFailOpen: false),
      [.selecting: .wait, .queued: .wait]
    ),
    (
      .attemptFailed(.connectRefused, .retryElsewhere),
      [.connecting: .attempt, .relaying: .resetRelay]
    ),
    (.attemptFailed(.connectRefused, .giveUp), [.connecting: .resetRelay, .relaying: .resetRelay]),
    (.relayOpened, [.connecting: .wait]),
    (.relayEnded, [.relaying: .closeRelay]),
    (.requestEnded, [:]),
  ]

  @Test func everyEventInEveryPhaseOfAConnection() {
    for phase in [Name.routing, .selecting, .queued, .connecting, .relaying, .ended] {
      for (event, actions) in Self.connectionTable {
        var exchange = Exchange(
          startedAt: .origin, isIdempotent: false, isComplete: true, isConnection: true)
        let path: [Exchange.Event] =
          switch phase {
          case .relaying: Name.connecting.path + [.relayOpened]
          case .ended: Name.connecting.path + [.relayOpened, .relayEnded]
          default: phase.path
          }
        for step in path { _ = exchange.handle(step, at: .origin) }
        let action = exchange.apply(event, at: .origin)
        #expect(action == actions[phase], "\(event) in \(phase)")
      }
    }
  }

  @Test func aHalfClosedConnectionWaitsForTheOtherTimeout() {
    let limits = ExchangeLimits(
      connect: .seconds(1), response: .seconds(2), total: .seconds(3), clientIdle: .seconds(4),
      idle: .seconds(5), relayIdle: .seconds(6))
    var exchange = Exchange(
      startedAt: .origin, isIdempotent: false, isComplete: true, isConnection: true)
    for step in Name.connecting.path + [.relayOpened] { _ = exchange.handle(step, at: .origin) }
    #expect(exchange.deadline(limits, awaiting: .backend) == .origin + .seconds(6))
    exchange.halfClosed(at: .origin)
    #expect(exchange.deadline(limits, awaiting: .client) == .origin + .seconds(5))
    #expect(exchange.expiry(limits, awaiting: .client, at: .origin + .seconds(5)) == .relay)
  }

  @Test func everyEventInEveryPhase() {
    for phase in Name.allCases {
      for (event, actions) in Self.table {
        var exchange = Exchange(startedAt: .origin, isIdempotent: true)
        for step in phase.path { _ = exchange.handle(step, at: .origin) }
        let before = exchange.phase
        let action = exchange.apply(event, at: .origin)
        #expect(action == actions[phase], "\(event) in \(phase)")
        let after = exchange.phase
        if action == nil { #expect(after == before, "\(event) in \(phase)") }
      }
    }
  }

  @Test func aRequestEndsOnce() {
    var exchange = Exchange(startedAt: .origin, isIdempotent: true)
    _ = exchange.handle(.requestEnded, at: .origin)
    let again = exchange.apply(.requestEnded, at: .origin)
    #expect(again == nil)
  }
}
