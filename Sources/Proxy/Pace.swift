// Whether a client that sends a body keeps to a minimum rate.
//
// A client has a grace time. It is used up while we wait for the client's bytes, and paused while
// we wait for something else. Each byte gives back the time that it may take at the minimum rate,
// up to the full grace time. So a burst doesn't allow a long pause later, and an occasional byte
// doesn't keep a connection open.

public import Primitives

/// The minimum rate of a client that sends or receives.
public struct MinimumRate: Sendable, Equatable {
  public var bytesPerSecond: Int
  /// How long a client may stay below the rate.
  public var grace: TimeSpan

  public init(bytesPerSecond: Int, grace: TimeSpan) {
    self.bytesPerSecond = bytesPerSecond
    self.grace = grace
  }

  /// The time for `count` bytes at this rate. Counts above 1 GiB are treated as 1 GiB.
  public func time(for count: UInt64) -> TimeSpan {
    .nanoseconds(Int64(min(count, 1 << 30)) * 1_000_000_000 / Int64(max(1, bytesPerSecond)))
  }

  /// How many bytes this rate allows in the grace time.
  public var bytesPerGrace: UInt64 {
    UInt64(max(0, grace.milliseconds)) * UInt64(max(0, bytesPerSecond)) / 1000
  }
}

struct Pace: Sendable {
  private enum State {
    /// We don't wait for the client; this part of the grace time is used up.
    case resting(spent: TimeSpan)
    /// We wait for the client, which is too slow from `lateAt` on.
    case running(lateAt: Instant)
  }

  private var state = State.resting(spent: .zero)
  /// Bytes whose time was given back.
  private var creditedByteCount: UInt64 = 0

  /// When the client is too slow; nil while we don't wait for it.
  var lateAt: Instant? {
    if case .running(let lateAt) = state { lateAt } else { nil }
  }

  /// `byteCount` is the total so far; `isAwaited`: whether we now wait for more.
  mutating func update(
    byteCount: UInt64, isAwaited: Bool, rate: MinimumRate, at now: Instant
  ) {
    let credit = rate.time(for: byteCount - creditedByteCount)
    creditedByteCount = byteCount
    let left: TimeSpan
    switch state {
    case .resting(let spent): left = rate.grace - max(.zero, spent - credit)
    case .running(let lateAt): left = min(rate.grace, lateAt - now + credit)
    }
    state = isAwaited ? .running(lateAt: now + left) : .resting(spent: rate.grace - left)
  }
}
