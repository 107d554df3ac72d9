// Measures how much memory and how many connections are in use, and says when the stage of
// overload changes. On the control thread, a few times a second: no request waits for it.
//
// Memory is what the kernel counts as resident, since that is what it ends processes by. Freed
// memory that the allocator keeps would count as well, so it is given back while memory is short.

import Configuration
import Logging
import Primitives
import Reactor

struct OverloadWatch {
  private var overload = Overload()
  /// What the process may have; nil where nobody knows.
  private(set) var ceiling: Int?
  private var connectionMax = Int.max
  private(set) var measuresAt = Instant.origin
  private var givesBackAt = Instant.origin

  var stage: OverloadStage { overload.stage }

  private static var interval: TimeSpan { .milliseconds(250) }
  private static var givingBackInterval: TimeSpan { .seconds(1) }
  /// Of the memory that there is, without a ceiling in the configuration.
  private static let standardPercent = 80

  /// At the start, and with each configuration.
  mutating func configure(_ limits: Configuration.Limits, connectionMax: Int) {
    ceiling = limits.memory ?? Memory.available.map { $0 / 100 * Self.standardPercent }
    self.connectionMax = connectionMax
  }

  /// Measures if it is time; true when the stage has changed.
  mutating func measure(connections: Int, at now: Instant, _ logger: Logger) -> Bool {
    guard now >= measuresAt else { return false }
    measuresAt = now + Self.interval
    let resident = Memory.resident ?? 0
    let memoryPercent = Self.percent(resident, of: ceiling ?? .max)
    let connectionPercent = Self.percent(connections, of: connectionMax)
    let hasChanged = overload.update(memory: memoryPercent, connections: connectionPercent)
    if hasChanged {
      logger.log(
        level: stage == .normal ? .notice : .warning, "overload: \(stage.name)",
        metadata: ["memory": "\(memoryPercent)%", "connections": "\(connectionPercent)%"])
    }
    if stage != .normal && now >= givesBackAt {
      givesBackAt = now + Self.givingBackInterval
      Memory.giveBack()
    }
    return hasChanged
  }

  private static func percent(_ count: Int, of limit: Int) -> Int {
    Int(Double(count) * 100 / Double(max(1, limit)))
  }
}
