// How long a backend takes to respond: a peak-sensitive moving average, as in Finagle and tower. A
// slower response raises it at once; faster ones lower it with a half-life of seven seconds, and so
// does time without any, so that a slow backend gets another chance.
//
// One 64-bit word, so that a worker changes it by one compare-and-swap. Time counts in ticks of
// 67 ms: within a tick only a slower response writes, so many workers can share the cache line.

import Primitives
import Synchronization

/// The word, and how responses change it.
struct LatencyEstimate: Equatable {
  /// The largest time that is told apart, in units of 1,024 ns: 69 seconds.
  static let timeMax: UInt64 = 1 << 26 - 1
  /// In ticks: 7.0 s.
  private static let halfLife: UInt64 = 104
  private static let tickBits: UInt64 = 26
  private static let nanosecondsMax: UInt64 = 1 << 36 - 1

  /// The estimate in nanoseconds, 36 bits, and above it the tick of the last change. 0 before the
  /// first response.
  var word: UInt64

  private var nanoseconds: UInt64 { word & Self.nanosecondsMax }

  /// In units of 1,024 ns, at least 1; nil before the first response.
  func time(at now: Instant) -> UInt64? {
    if word == 0 { return nil }
    return max(1, Self.decayed(nanoseconds, over: ticks(until: now)) >> 10)
  }

  /// A response took this long. True if the word has changed.
  mutating func observe(_ span: TimeSpan, at now: Instant) -> Bool {
    let sample = UInt64(min(max(1, span.nanoseconds), Int64(Self.nanosecondsMax)))
    let elapsed = ticks(until: now)
    if word == 0 || sample > nanoseconds {
      set(sample, at: now)
      return true
    }
    if elapsed == 0 { return false }
    set(sample + Self.decayed(nanoseconds - sample, over: elapsed), at: now)
    return true
  }

  /// A failure counts as a response of twice the estimate, at least one second and at most ten, or
  /// as long as it took, if that was longer.
  func slowness(_ span: TimeSpan) -> TimeSpan {
    let doubled = TimeSpan.nanoseconds(Int64(nanoseconds) * 2)
    return max(span, min(max(doubled, .seconds(1)), .seconds(10)))
  }

  private mutating func set(_ nanoseconds: UInt64, at now: Instant) {
    word = (now.nanoseconds >> Self.tickBits) << 36 | nanoseconds
  }

  /// Since the last change, by 28 bits of the clock. A change that another worker made a moment
  /// later is one of now.
  private func ticks(until now: Instant) -> UInt64 {
    let ticks = ((now.nanoseconds >> Self.tickBits) &- (word >> 36)) & (1 << 28 - 1)
    return ticks >= 1 << 27 ? 0 : ticks
  }

  /// Halved for each half-life, and linear within one, which is right within 6 %.
  private static func decayed(_ value: UInt64, over ticks: UInt64) -> UInt64 {
    let (halvings, rest) = ticks.quotientAndRemainder(dividingBy: halfLife)
    if halvings > 40 { return 0 }
    return (value - value * rest / (2 * halfLife)) >> halvings
  }
}

/// A backend's estimate, shared by all workers.
struct Latency: ~Copyable {
  private let word = Atomic<UInt64>(0)

  var estimate: LatencyEstimate { LatencyEstimate(word: word.load(ordering: .relaxed)) }

  /// If another worker writes at the same time, its response counts and this one doesn't.
  func observe(_ span: TimeSpan, failed: Bool, at now: Instant) {
    let seen = estimate
    var changed = seen
    if changed.observe(failed ? seen.slowness(span) : span, at: now) {
      _ = word.compareExchange(
        expected: seen.word, desired: changed.word, ordering: .relaxed)
    }
  }
}
