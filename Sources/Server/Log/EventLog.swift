// Rare events of workers, for the process log.
//
// Writing a line may allocate and block, so this is only for events that happen a few times per
// minute, and never for requests. The same events are counted in metrics.

import Balancing
import Logging
import Metrics
import Primitives
import Synchronization
import TLS

struct EventLog: Sendable {
  let logger: Logger
  /// Shared by all workers.
  var exhaustion = Occurrence()
  /// By the place of the reason.
  var proxyHeaders = ProxyRefusal.all.map { _ in Occurrence() }
  /// By limit.
  var refusals = ConnectionLimit.allCases.map { _ in Occurrence() }
  /// By the place of the kind of failure, and last those that were too slow.
  var handshakes = (0...TLSFailure.Kind.allCases.count).map { _ in Occurrence() }

  /// `reason`: why the last check or request failed, if a failure caused the change.
  func flipped(_ backend: BackendRecord, _ flip: Flip, reason: String?) {
    let level: Logger.Level = flip.isUp ? .notice : .warning
    var metadata = metadata(of: backend)
    if let reason { metadata["reason"] = .string(reason) }
    logger.log(
      level: level, "backend \(flip.isUp ? "up" : "down"): \(flip.name)", metadata: metadata)
  }

  /// Only logged at the level `debug`: a backend that stays down fails a check every few seconds.
  func checkFailed(_ backend: BackendRecord, _ reason: @autoclosure () -> String) {
    guard logger.logLevel <= .debug else { return }
    var metadata = metadata(of: backend)
    metadata["reason"] = .string(reason())
    logger.debug("health check failed", metadata: metadata)
  }

  private func metadata(of backend: BackendRecord) -> Logger.Metadata {
    ["pool": .string(backend.identity.pool), "backend": .string(backend.identity.address)]
  }

  /// Logs that a pool has lost its last available backend, or has one again; and that so few are
  /// healthy that health is ignored, or enough again.
  func availability(of pool: Pool) {
    let name: Logger.Metadata = ["pool": .string(pool.name)]
    if let isPanicking = pool.notePanic() {
      isPanicking
        ? logger.error(
          "too few backends are healthy: all are used, healthy or not (panic-percent)",
          metadata: name)
        : logger.notice("enough backends are healthy again: health counts", metadata: name)
    }
    switch pool.noteAvailability() {
    case .lost:
      let effect = pool.effectOfOutage ?? pool.allDown.effect
      logger.error("no backend is available: \(effect)", metadata: name)
    case .regained:
      logger.notice("a backend is available again", metadata: name)
    case nil: break
    }
  }

  /// Logged once if several workers notice it within ten seconds.
  func acceptingPaused(at now: Instant) {
    if !exhaustion.isFirst(at: now) { return }
    logger.error(
      "no file descriptors or memory left: new connections wait until some are free")
  }

  /// At most one line in ten seconds for each reason: anybody who can connect may cause it.
  func proxyHeaderRefused(
    _ refusal: ProxyRefusal, from peer: SocketAddress, listener: LogName, at now: Instant
  ) {
    if !proxyHeaders[refusal.word.place].isDue(at: now) { return }
    logger.warning(
      "a connection was closed, because it has no valid PROXY header",
      metadata: metadata(peer, listener, ("reason", refusal.name)))
  }

  /// The same for each limit: a client may reach it as often as it wants.
  func connectionRefused(
    _ limit: ConnectionLimit, from peer: SocketAddress, listener: LogName, at now: Instant
  ) {
    if !refusals[limit.rawValue].isDue(at: now) { return }
    logger.warning(
      "a connection was refused, because a limit is reached",
      metadata: metadata(peer, listener, ("limit", limit.name)))
  }

  /// The same for each kind of failure. Only of TCP listeners: operators connect programs to them
  /// that may begin without TLS, while an HTTPS port on the Internet meets scanners all day.
  /// `kind` is nil for one that took too long.
  func handshakeFailed(
    _ kind: TLSFailure.Kind?, from peer: SocketAddress, listener: LogName, at now: Instant
  ) {
    let place = kind.map { Int($0.rawValue) } ?? handshakes.count - 1
    if !handshakes[place].isDue(at: now) { return }
    logger.notice(
      "the TLS handshake of a connection failed",
      metadata: metadata(peer, listener, ("reason", kind?.name ?? "timed-out")))
  }

  private func metadata(
    _ peer: SocketAddress, _ listener: LogName, _ detail: (String, StaticString)
  ) -> Logger.Metadata {
    [
      "listener": .string(String(decoding: listener.bytes, as: UTF8.self)),
      "peer": .string("\(peer)"), detail.0: .string("\(detail.1)"),
    ]
  }
}

/// When an event last happened, so that it is logged once if several workers notice it.
final class Occurrence: Sendable {
  private static let memory = TimeSpan.seconds(10)
  private let lastNanoseconds = Atomic<UInt64>(0)

  /// Whether it has not happened for some time.
  func isFirst(at now: Instant) -> Bool {
    let last = lastNanoseconds.exchange(now.nanoseconds, ordering: .relaxed)
    return last == 0 || now - Instant(nanoseconds: last) > Self.memory
  }

  /// Whether it is to be noted again: it has not been for some time.
  func isDue(at now: Instant) -> Bool {
    let last = lastNanoseconds.load(ordering: .relaxed)
    if last != 0 && now - Instant(nanoseconds: last) <= Self.memory { return false }
    return lastNanoseconds.compareExchange(
      expected: last, desired: now.nanoseconds, ordering: .relaxed
    ).exchanged
  }
}
