// Rare events of workers, for the process log.
//
// Writing a line may allocate and block, so this is only for events that happen a few times per
// minute, and never for requests. The same events are counted in metrics.

import Balancing
import Logging
import Metrics
import Primitives
import Synchronization

struct EventLog: Sendable {
  let logger: Logger
  /// Shared by all workers.
  var exhaustion = Occurrence()
  /// By the place of the reason.
  var proxyHeaders = ProxyRefusal.all.map { _ in Occurrence() }

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

  /// Logs that a pool has lost its last available backend, or has one again.
  func availability(of pool: Pool) {
    guard let change = pool.noteAvailability() else { return }
    let name = Logger.Metadata(dictionaryLiteral: ("pool", .string(pool.name)))
    switch (change, pool.allDown) {
    case (.lost, .refuse):
      logger.error("no backend is available: requests are refused with 503", metadata: name)
    case (.lost, .reset):
      logger.error("no backend is available: connections are reset", metadata: name)
    case (.lost, .drop):
      logger.error("no backend is available: datagrams are dropped", metadata: name)
    case (.lost, .failOpen):
      logger.error(
        "no backend is available: requests go to all backends (when-all-down: fail-open)",
        metadata: name)
    case (.regained, _):
      logger.notice("a backend is available again", metadata: name)
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
    let name = String(decoding: listener.bytes, as: UTF8.self)
    logger.warning(
      "a connection was closed for want of a valid PROXY header",
      metadata: [
        "listener": .string(name), "peer": .string("\(peer)"),
        "reason": .string("\(refusal.name)"),
      ])
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
