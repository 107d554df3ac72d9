// The results of one backend's health checks: how many passed, how many failed and why, how long
// they took, and the last one in full. It is for operators and metrics; HealthState decides the
// health.
//
// One checker writes, any thread reads. The time and the result of the last check are in one word,
// so that no reader sees the time of one check with the result of another.

public import Primitives
import Synchronization

/// How one health check ended.
public struct CheckResult: Equatable, Sendable {
  /// When it ended, in whole milliseconds.
  public var at: Instant
  /// Nil when it passed.
  public var failure: FailureCause?
  /// The response was an alert of TLS (RFC 8446 6): the port speaks TLS.
  public var isTLSAlert = false
  public var duration: TimeSpan
}

/// The checks of one backend since the start.
public struct CheckHistory: ~Copyable, Sendable {
  private let passed = Atomic<UInt64>(0)
  private let failed = InlineArray<32, Atomic<UInt64>> { _ in Atomic(0) }
  private let microseconds = Atomic<UInt64>(0)
  /// The instant in milliseconds (40 bits), the word's place plus one or 0 for passed (8 bits), and
  /// the response's status or the number of the alert with which the backend refused TLS (16 bits,
  /// the highest of which marks an alert in place of a plain response).
  private let lastResult = Atomic<UInt64>(0)
  private let lastDuration = Atomic<Int64>(0)
  private static let alertBit: UInt64 = 1 << 15

  init() {}

  /// Checker only.
  public func note(
    _ failure: FailureCause?, isTLSAlert: Bool = false, took duration: TimeSpan, at now: Instant
  ) {
    var result = UInt64(max(0, (now - .origin).milliseconds)) << 24
    if let failure {
      let place = Int(failure.word.rawValue)
      failed[place].wrappingAdd(1, ordering: .relaxed)
      result |= UInt64(place + 1) << 16
      switch failure {
      case .status(let status): result |= UInt64(status) & ~Self.alertBit
      case .tlsAlert(let number), .grpcStatus(let number): result |= UInt64(number)
      default: break
      }
      if isTLSAlert { result |= Self.alertBit }
    } else {
      passed.wrappingAdd(1, ordering: .relaxed)
    }
    microseconds.wrappingAdd(UInt64(max(0, duration.microseconds)), ordering: .relaxed)
    lastDuration.store(duration.nanoseconds, ordering: .relaxed)
    lastResult.store(result, ordering: .releasing)
  }

  public var passedCount: UInt64 { passed.load(ordering: .relaxed) }

  /// Failed checks with this cause, which is a cause of attempts.
  public func failedCount(_ word: FailureWord) -> UInt64 {
    failed[Int(word.rawValue)].load(ordering: .relaxed)
  }

  public var count: UInt64 {
    FailureWord.ofAttempts.reduce(passedCount) { $0 &+ failedCount($1) }
  }

  /// The duration of all checks.
  public var duration: TimeSpan {
    .microseconds(Int64(clamping: microseconds.load(ordering: .relaxed)))
  }

  /// Nil before the first.
  public var last: CheckResult? {
    let result = lastResult.load(ordering: .acquiring)
    if result == 0 { return nil }
    let word = UInt8(truncatingIfNeeded: result >> 16)
    return CheckResult(
      at: .origin + .milliseconds(Int64(result >> 24)),
      failure: word == 0
        ? nil
        : FailureWord(rawValue: word - 1).flatMap {
          FailureCause($0, number: UInt16(truncatingIfNeeded: result & ~Self.alertBit))
        },
      isTLSAlert: result & Self.alertBit != 0,
      duration: TimeSpan(nanoseconds: lastDuration.load(ordering: .relaxed)))
  }
}
