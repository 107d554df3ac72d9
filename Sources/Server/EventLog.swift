// Rare events of workers, for the process log.
//
// Writing a line may allocate and block, so only what happens a few times a minute comes through
// here, never a request. The same events are counted in metrics.

import Balancing
import Logging
import Primitives
import Synchronization

struct EventLog: Sendable {
  let logger: Logger
  /// Shared by all workers.
  var exhaustion = Occurrence()

  /// `reason`: what the last failed check said, where checks decided.
  func flipped(_ backend: BackendRecord, _ flip: Flip, reason: String?) {
    let level: Logger.Level = flip.isUp ? .notice : .warning
    var metadata = metadata(of: backend)
    if let reason { metadata["reason"] = .string(reason) }
    logger.log(
      level: level, "backend \(flip.isUp ? "up" : "down"): \(flip.name)", metadata: metadata)
  }

  /// Only shown at the level `debug`: a backend that stays down fails a check every few seconds.
  func checkFailed(_ backend: BackendRecord, _ reason: @autoclosure () -> String) {
    guard logger.logLevel <= .debug else { return }
    var metadata = metadata(of: backend)
    metadata["reason"] = .string(reason())
    logger.debug("health check failed", metadata: metadata)
  }

  private func metadata(of backend: BackendRecord) -> Logger.Metadata {
    ["pool": .string(backend.identity.pool), "backend": .string(backend.identity.address)]
  }

  /// Says so when a pool has lost its last available backend, or has one again.
  func availability(of pool: Pool) {
    guard let change = pool.noteAvailability() else { return }
    let name = Logger.Metadata(dictionaryLiteral: ("pool", .string(pool.name)))
    switch (change, pool.allDown) {
    case (.lost, .refuse):
      logger.error("no backend is available: requests are refused with 503", metadata: name)
    case (.lost, .failOpen):
      logger.error(
        "no backend is available: failing open, requests go to all of them", metadata: name)
    case (.regained, _):
      logger.notice("a backend is available again", metadata: name)
    }
  }

  /// Once for all workers that meet it within ten seconds.
  func acceptingPaused(at now: Instant) {
    if !exhaustion.isFirst(at: now) { return }
    logger.error("out of descriptors or memory: new connections wait until some are free")
  }
}

/// When something happened last, so that what several workers meet at once is said once.
final class Occurrence: Sendable {
  private static let memory = TimeSpan.seconds(10)
  private let lastNanoseconds = Atomic<UInt64>(0)

  /// Whether it hasn't happened for a while.
  func isFirst(at now: Instant) -> Bool {
    let last = lastNanoseconds.exchange(now.nanoseconds, ordering: .relaxed)
    return last == 0 || now - Instant(nanoseconds: last) > Self.memory
  }
}
