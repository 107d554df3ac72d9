// Measures how much memory and how many connections are in use, and says when the stage of
// overload changes. On the control thread, a few times a second: no request waits for it.
//
// Memory is what the kernel counts as resident, since that is what it ends processes by. Freed
// memory that the allocator keeps would count as well, so it is given back while memory is short,
// and once after a flood of connections.

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
  /// The most connections since a flood ended last, or since the start.
  private var peak = 0
  private var connectionsBefore = 0
  /// A flood has ended, and workers don't know yet; they have freed their buffers since.
  private var isTrimDue = false
  private var isReturnDue = false

  var stage: OverloadStage { overload.stage }

  private static var interval: TimeSpan { .milliseconds(250) }
  private static var givingBackInterval: TimeSpan { .seconds(1) }
  /// After floods it is done less often, since it keeps workers waiting that allocate meanwhile.
  private static var calmGivingBackInterval: TimeSpan { .seconds(10) }
  /// A flood has ended when this many connections have gone, and half of all.
  private static let floodCount = 500
  /// Of the memory that there is, without a ceiling in the configuration.
  private static let standardPercent = 80

  /// At the start, and with each configuration.
  mutating func configure(_ limits: Configuration.Limits, connectionMax: Int) {
    ceiling = limits.memory ?? Memory.available.map { $0 / 100 * Self.standardPercent }
    self.connectionMax = connectionMax
  }

  /// Measures if it is time; true when the stage has changed.
  mutating func measure(_ admission: Admission, at now: Instant, _ logger: Logger) -> Bool {
    guard now >= measuresAt else { return false }
    measuresAt = now + Self.interval
    let connections = admission.count
    peak = max(peak, admission.takePeak())
    let resident = Memory.resident ?? 0
    let memoryPercent = Self.percent(resident, of: ceiling ?? .max)
    let connectionPercent = Self.percent(connections, of: connectionMax)
    let hasChanged = overload.update(memory: memoryPercent, connections: connectionPercent)
    if hasChanged {
      logger.log(
        level: stage == .normal ? .notice : .warning, "overload: \(stage.name)",
        metadata: ["memory": "\(memoryPercent)%", "connections": "\(connectionPercent)%"])
    }
    giveBack(connections: connections, at: now)
    return hasChanged
  }

  /// Whether workers should free the buffers that they keep for later. Says so once for each flood;
  /// the allocator gives memory back at the next measurement.
  mutating func takeTrim() -> Bool {
    defer { isTrimDue = false }
    return isTrimDue
  }

  private mutating func giveBack(connections: Int, at now: Instant) {
    // While many still go, there is more to come.
    let areManyLeaving = connectionsBefore - connections > Self.floodCount / 10
    connectionsBefore = connections
    guard now >= givesBackAt, !areManyLeaving else { return }
    if stage != .normal || isReturnDue {
      isReturnDue = false
      givesBackAt =
        now + (stage == .normal ? Self.calmGivingBackInterval : Self.givingBackInterval)
      return Memory.giveBack()
    }
    guard peak - connections >= Self.floodCount, connections <= peak / 2 else { return }
    peak = connections
    isTrimDue = true
    isReturnDue = true
  }

  private static func percent(_ count: Int, of limit: Int) -> Int {
    Int(Double(count) * 100 / Double(max(1, limit)))
  }
}
