// Time in the pure targets: a point on a monotonic clock, and the span between two points.
//
// Nothing here reads a clock. The reactor reads it once per loop iteration and passes the value on,
// so a test can set the time. Both types are one machine word of nanoseconds. The standard
// library's Duration has two words, and has to be divided by 10^18.

/// A point in time on the worker's monotonic clock, in nanoseconds since an unspecified origin.
public struct Instant: Comparable, Hashable, Sendable {
  public var nanoseconds: UInt64

  @inlinable
  public init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }

  /// Later than every real deadline. It means "never" where an Optional would cost too much.
  @inlinable public static var never: Instant { Instant(nanoseconds: .max) }
  @inlinable public static var origin: Instant { Instant(nanoseconds: 0) }

  public static func < (left: Instant, right: Instant) -> Bool {
    left.nanoseconds < right.nanoseconds
  }

  /// Saturates at `never` instead of overflowing, because a configured timeout may be huge.
  public static func + (instant: Instant, span: TimeSpan) -> Instant {
    if span.nanoseconds < 0 {
      let (early, underflow) = instant.nanoseconds.subtractingReportingOverflow(
        span.nanoseconds.magnitude)
      return underflow ? .origin : Instant(nanoseconds: early)
    }
    let (late, overflow) = instant.nanoseconds.addingReportingOverflow(span.nanoseconds.magnitude)
    return overflow ? .never : Instant(nanoseconds: late)
  }

  /// The time from `earlier` to this instant; negative when this instant is earlier.
  public static func - (later: Instant, earlier: Instant) -> TimeSpan {
    later >= earlier
      ? TimeSpan(nanoseconds: Int64(clamping: later.nanoseconds - earlier.nanoseconds))
      : TimeSpan(nanoseconds: -Int64(clamping: earlier.nanoseconds - later.nanoseconds))
  }
}

/// A length of time in nanoseconds, at most about 292 years.
public struct TimeSpan: Comparable, Hashable, Sendable {
  public var nanoseconds: Int64

  @inlinable
  public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

  @inlinable public static var zero: TimeSpan { TimeSpan(nanoseconds: 0) }

  public static func nanoseconds(_ count: Int64) -> TimeSpan { TimeSpan(nanoseconds: count) }
  public static func microseconds(_ count: Int64) -> TimeSpan { scaled(count, by: 1_000) }
  public static func milliseconds(_ count: Int64) -> TimeSpan { scaled(count, by: 1_000_000) }
  public static func seconds(_ count: Int64) -> TimeSpan { scaled(count, by: 1_000_000_000) }

  public var microseconds: Int64 { nanoseconds / 1_000 }
  public var milliseconds: Int64 { nanoseconds / 1_000_000 }

  public static func < (left: TimeSpan, right: TimeSpan) -> Bool {
    left.nanoseconds < right.nanoseconds
  }

  public static func + (left: TimeSpan, right: TimeSpan) -> TimeSpan {
    let (sum, overflow) = left.nanoseconds.addingReportingOverflow(right.nanoseconds)
    guard overflow else { return TimeSpan(nanoseconds: sum) }
    return TimeSpan(nanoseconds: right.nanoseconds < 0 ? .min : .max)
  }

  public static func - (left: TimeSpan, right: TimeSpan) -> TimeSpan {
    let (rest, overflow) = left.nanoseconds.subtractingReportingOverflow(right.nanoseconds)
    guard overflow else { return TimeSpan(nanoseconds: rest) }
    return TimeSpan(nanoseconds: right.nanoseconds < 0 ? .max : .min)
  }

  public static func * (span: TimeSpan, factor: Int64) -> TimeSpan {
    scaled(factor, by: span.nanoseconds)
  }

  public static func / (span: TimeSpan, divisor: Int64) -> TimeSpan {
    TimeSpan(nanoseconds: span.nanoseconds / divisor)
  }

  private static func scaled(_ count: Int64, by factor: Int64) -> TimeSpan {
    let (product, overflow) = count.multipliedReportingOverflow(by: factor)
    guard overflow else { return TimeSpan(nanoseconds: product) }
    return TimeSpan(nanoseconds: (count < 0) == (factor < 0) ? .max : .min)
  }
}
