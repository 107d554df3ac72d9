// Measures the used memory and connections, and reports changes of the overload stage. It runs on
// the control thread, a few times per second: no request waits for it.
//
// Memory is the resident memory in the kernel's count, because the kernel ends processes by that.
// It includes freed memory that the allocator keeps. So this memory is returned to the kernel while
// memory is short, and once after a flood of connections.

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
  /// The maximum of connections since the last flood ended, or since the start.
  private var peak = 0
  private var connectionsBefore = 0
  /// A flood has ended, and workers don't know yet.
  private var isTrimDue = false
  /// Workers free their buffers, and the memory must be returned after that.
  private var isReturnDue = false
  /// How often workers must have freed their buffers before memory is returned.
  private var trimsExpected = 0
  /// Until then, a smaller number of connections that close is the rest of a flood.
  private var restEndsAt = Instant.origin

  var stage: OverloadStage { overload.stage }

  private static var interval: TimeSpan { .milliseconds(250) }
  private static var givingBackInterval: TimeSpan { .seconds(1) }
  /// After floods the interval is longer, because workers that allocate have to wait meanwhile.
  private static var calmGivingBackInterval: TimeSpan { .seconds(10) }
  /// A flood has ended when this many connections have closed, and half of all.
  private static let floodCount = 500
  /// On a busy machine the connections of a flood close over some time.
  private static var restTime: TimeSpan { .seconds(60) }
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
    giveBack(connections: connections, trims: admission.trimCount, at: now)
    return hasChanged
  }

  /// Whether this number of workers should free their spare buffers. True once per flood; the
  /// allocator returns memory after all have done so.
  mutating func takeTrim(workers: Int) -> Bool {
    guard isTrimDue else { return false }
    isTrimDue = false
    isReturnDue = true
    trimsExpected += workers
    return true
  }

  private mutating func giveBack(connections: Int, trims: Int, at now: Instant) {
    // While many connections close, more memory will become free.
    let areManyLeaving = connectionsBefore - connections > Self.floodCount / 10
    connectionsBefore = connections
    guard now >= givesBackAt, !areManyLeaving else { return }
    if isReturnDue && trims < trimsExpected && stage == .normal { return }
    if stage != .normal || isReturnDue {
      isReturnDue = false
      givesBackAt =
        now + (stage == .normal ? Self.calmGivingBackInterval : Self.givingBackInterval)
      return Memory.giveBack()
    }
    let least = now < restEndsAt ? Self.floodCount / 10 : Self.floodCount
    guard peak - connections >= least, connections <= peak / 2 else { return }
    peak = connections
    restEndsAt = now + Self.restTime
    isTrimDue = true
  }

  private static func percent(_ count: Int, of limit: Int) -> Int {
    Int(Double(count) * 100 / Double(max(1, limit)))
  }
}
