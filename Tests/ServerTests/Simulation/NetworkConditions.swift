// The conditions of the simulated network: latencies, socket buffer sizes, and the frequency of
// rare but valid behaviour.

import Primitives

struct NetworkConditions {
  /// The travel time of a segment, in microseconds.
  var latency: ClosedRange<Int>
  /// Socket buffers hold about 2 to the power of one of these, in bytes.
  var capacityBits: ClosedRange<Int>
  /// How often in 256 a send accepts less than fits, or a receive returns less than there is.
  var partialCounts: Int
  /// How often in 256 a wait reports something that hasn't changed.
  var spuriousReports: Int
  /// How often in 256 a wait ends without an event, as if another thread had woken the worker.
  var wakeUps: Int
  /// How often in 4096 an accept or connect finds no descriptor left, for a while.
  var exhaustion: Int
  /// How often in 256 a connection in the accept queue is reported as aborted.
  var abortedAccepts: Int
  /// How often in 256 a report contains only the changes; otherwise it has the whole state, like
  /// epoll.
  var bareReports: Int
  /// The maximum of events in one wait.
  var batchMax: Int
  /// The longest time that the worker's thread needs for an iteration, in microseconds.
  var turnCost: Int

  /// Nothing random, for tests of the network itself.
  static let smooth = NetworkConditions(
    latency: 100...100, capacityBits: 16...16, partialCounts: 0, spuriousReports: 0, wakeUps: 0,
    exhaustion: 0, abortedAccepts: 0, bareReports: 256, batchMax: 64, turnCost: 0)

  init(
    latency: ClosedRange<Int>, capacityBits: ClosedRange<Int>, partialCounts: Int,
    spuriousReports: Int, wakeUps: Int, exhaustion: Int, abortedAccepts: Int, bareReports: Int,
    batchMax: Int, turnCost: Int
  ) {
    self.latency = latency
    self.capacityBits = capacityBits
    self.partialCounts = partialCounts
    self.spuriousReports = spuriousReports
    self.wakeUps = wakeUps
    self.exhaustion = exhaustion
    self.abortedAccepts = abortedAccepts
    self.bareReports = bareReports
    self.batchMax = batchMax
    self.turnCost = turnCost
  }

  /// Conditions of a run. Only rough ones lose connections (exhaustion, aborted accepts).
  init(drawnFrom random: inout RandomGenerator, isRough: Bool) {
    let kind = random.next(below: 10)
    let capacityBits = kind < 6 ? 12...17 : kind < 9 ? 8...12 : 2...6
    // Few bytes at a time with a high latency would take hours.
    let latencyMax = 20 << random.next(below: capacityBits.lowerBound)
    self.init(
      latency: 5...(5 + latencyMax), capacityBits: capacityBits,
      partialCounts: random.chance(1, in: 4) ? 96 : random.next(below: 24),
      spuriousReports: random.next(below: 12),
      wakeUps: random.next(below: 6),
      exhaustion: isRough && random.chance(1, in: 3) ? 200 : 0,
      abortedAccepts: isRough && random.chance(1, in: 3) ? 1 + random.next(below: 12) : 0,
      bareReports: [0, 128, 256][random.next(below: 3)],
      batchMax: random.chance(1, in: 3) ? 1 + random.next(below: 3) : 64,
      turnCost: 1 << random.next(below: 10))
  }

  /// The largest body that such sockets transfer in acceptable time.
  var bodyMax: Int { [2: 2_000, 8: 20_000][capacityBits.lowerBound] ?? 200_000 }

  func drawLatency(_ random: inout RandomGenerator) -> TimeSpan {
    .microseconds(
      Int64(latency.lowerBound + random.next(below: latency.upperBound - latency.lowerBound + 1)))
  }

  func drawCapacity(_ random: inout RandomGenerator) -> Int {
    let bits = capacityBits.lowerBound + random.next(below: capacityBits.count)
    if capacityBits.count == 1 { return 1 << bits }
    return (1 << bits) - random.next(below: 1 << (bits - 1))
  }
}

extension RandomGenerator {
  /// At most `bound`. The size in bits is drawn first, so small numbers are as likely as large
  /// ones.
  mutating func skewed(upTo bound: Int) -> Int {
    if bound <= 0 { return 0 }
    let bits = Int.bitWidth - bound.leadingZeroBitCount
    return min(bound, next(below: 1 << next(below: bits + 1)))
  }

  mutating func pick<Element>(_ elements: [Element]) -> Element {
    elements[next(below: elements.count)]
  }
}
