// The pace of a client or backend: in how large pieces it sends and reads, and how long it pauses.

import Primitives

struct ActorPace {
  var piece: Int
  var readLimit: Int
  /// How often in 256 it pauses after a piece, and the longest pause.
  var pauses: Int
  var pauseMax: TimeSpan
  /// How often in 64 a pause is a long one.
  var stalls = 0

  init(drawnFrom random: inout RandomGenerator, level: SimulationLevel, isSmall: Bool) {
    let kind = random.next(below: 8)
    piece = kind < 5 ? 65_536 : kind < 7 || !isSmall ? 1 + random.skewed(upTo: 8_000) + 500 : 7
    readLimit = random.chance(2, in: 3) ? 65_536 : isSmall ? 5 : 2_000
    pauses = random.next(below: 64)
    pauseMax = .microseconds(Int64(1 + random.skewed(upTo: 20_000)))
    if level == .storm && random.chance(1, in: 6) { stalls = 1 }
  }

  func pause(_ random: inout RandomGenerator) -> TimeSpan? {
    if !random.chance(pauses, in: 256) { return nil }
    if random.chance(stalls, in: 64) { return .milliseconds(Int64(random.next(below: 90_000))) }
    return .nanoseconds(Int64(random.next(below: Int(pauseMax.nanoseconds))))
  }
}
