// What a worker tells people: rare events, handed to the process log.
//
// swift-log may allocate and block, so it is kept off the request path: only what happens a few
// times a minute comes through here. The same things are counted in metrics.

import Balancing
import Logging

struct EventLog: Sendable {
  let logger: Logger

  func flipped(_ backend: BackendRecord, _ flip: Flip) {
    let level: Logger.Level = flip.isUp ? .notice : .warning
    logger.log(
      level: level, "backend \(flip.isUp ? "up" : "down"): \(flip.name)",
      metadata: [
        "pool": .string(backend.identity.pool), "backend": .string(backend.identity.address),
      ])
  }

  func allDown(_ pool: Pool) {
    let consequence: Logger.Message =
      switch pool.allDown {
      case .refuse: "no backend is healthy: requests are refused with 503"
      case .failOpen: "no backend is healthy: failing open, requests go to all of them"
      }
    logger.error(consequence, metadata: ["pool": .string(pool.name)])
  }

  func acceptingPaused() {
    logger.error("out of descriptors or memory: new connections wait until some are free")
  }
}
