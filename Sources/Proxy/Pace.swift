// Whether a client that sends a body keeps up a minimal rate.
//
// A client has a grace time. It runs while we wait for the client's bytes, stands still while
// somebody else is waited for, and each byte that comes gives back the time that it may take at the
// minimal rate, up to the whole grace. So a burst is no credit for a long silence, and a byte now
// and then keeps no connection open.

public import Primitives

/// The rate that clients must keep up, sending or taking.
public struct MinimumRate: Sendable, Equatable {
  public var bytesPerSecond: Int
  /// How long a client may stay below the rate.
  public var grace: TimeSpan

  public init(bytesPerSecond: Int, grace: TimeSpan) {
    self.bytesPerSecond = bytesPerSecond
    self.grace = grace
  }

  /// How long so many bytes take at this rate. Counts above a GiB are worth no more than one.
  public func time(for count: UInt64) -> TimeSpan {
    .nanoseconds(Int64(min(count, 1 << 30)) * 1_000_000_000 / Int64(max(1, bytesPerSecond)))
  }

  /// How many bytes pass within the grace time at this rate.
  public var bytesPerGrace: UInt64 {
    UInt64(max(0, grace.milliseconds)) * UInt64(max(0, bytesPerSecond)) / 1000
  }
}

struct Pace: Sendable {
  private enum State {
    /// Nothing is expected of the client; so much of the grace time is used up.
    case resting(spent: TimeSpan)
    /// The client is expected to send, and too slow from `lateAt` on.
    case running(lateAt: Instant)
  }

  private var state = State.resting(spent: .zero)
  /// Bytes whose time was given back.
  private var creditedByteCount: UInt64 = 0

  /// When the client is too slow; nil while it isn't expected to send.
  var lateAt: Instant? {
    if case .running(let lateAt) = state { lateAt } else { nil }
  }

  /// `byteCount` have arrived in all; `isAwaited`: are more expected now?
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
