// A backend's health as one 64-bit word, and its transitions as pure functions on that word.
//
// A backend is used only if two independent inputs agree:
//   checks     up ──fall failed in a row──► down ──rise passed in a row──► up
//   exchanges  admitted ──failures in a row──► ejected ──time──► on trial ──claim──► being tried
//              being tried ──success──► admitted        being tried ──failure──► ejected, longer
// A passed check never ends an ejection: a frozen process still accepts connections. During an
// ejection, results of exchanges that began before it are ignored; only the trial's result counts.
//
// One word, so that a transition is one compare-and-swap (Health.swift) and no reader sees half of
// it. The instant is stored in whole milliseconds, rounded up; 40 bits are enough for 34 years.

public import Primitives

/// A change of a backend's health, and its reason.
public enum Flip: Equatable, Sendable {
  /// `rise` checks in a row passed.
  case checksPassed
  /// `fall` checks in a row failed.
  case checksFailed
  /// Too many consecutive exchanges failed, or the trial failed. `inRow` counts the ejections
  /// without a passed trial between them.
  case ejected(until: Instant, inRow: Int)
  /// The trial request succeeded.
  case readmitted

  public var isUp: Bool {
    switch self {
    case .checksPassed, .readmitted: true
    case .checksFailed, .ejected: false
    }
  }

  /// For logs.
  public var name: StaticString {
    switch self {
    case .checksPassed: "checks-passed"
    case .checksFailed: "checks-failed"
    case .ejected: "ejected"
    case .readmitted: "readmitted"
    }
  }
}

/// What a backend may be used for at one instant.
public enum Standing: Equatable, Sendable {
  case available
  /// Checks mark it as down, whatever the exchanges say.
  case down
  case ejected(until: Instant)
  /// The ejection has ended: one exchange may claim the trial.
  case onTrial
  /// The trial is claimed; the backend gets no other exchange until its result.
  case beingTried
}

/// The word and its transitions.
struct HealthState: Equatable {
  private(set) var word: UInt64

  init(word: UInt64) { self.word = word }

  init(_ policy: HealthPolicy) {
    word = 0
    if policy.initial == .down {
      checksDown = true
      // The first passed check then completes the row.
      checkStreak = policy.rise - 1
    }
  }

  /// The state in another process. Counts of consecutive results start at 0. So does a trial, since
  /// its result only reaches the old process.
  init(isDown: Bool, ejections: Int, ejectedUntil: Instant) {
    word = 0
    checksDown = isDown
    self.ejections = ejections
    if isEjected { self.ejectedUntil = ejectedUntil }
  }

  // The fields, from the lowest bit: 1 + 8 + 8 + 6 + 1 + 40.
  private(set) var checksDown: Bool {
    get { field(0, 1) != 0 }
    set { set(0, 1, newValue ? 1 : 0) }
  }
  /// Consecutive checks that contradict `checksDown`.
  private(set) var checkStreak: Int {
    get { Int(field(1, 8)) }
    set { set(1, 8, UInt64(clamping: newValue)) }
  }
  /// Consecutive failed exchanges while admitted.
  private(set) var failures: Int {
    get { Int(field(9, 8)) }
    set { set(9, 8, UInt64(clamping: newValue)) }
  }
  /// Consecutive ejections; 0 means admitted.
  private(set) var ejections: Int {
    get { Int(field(17, 6)) }
    set { set(17, 6, UInt64(clamping: newValue)) }
  }
  private(set) var isTrialClaimed: Bool {
    get { field(23, 1) != 0 }
    set { set(23, 1, newValue ? 1 : 0) }
  }
  private(set) var ejectedUntil: Instant {
    get { Instant(nanoseconds: field(24, 40) * Self.millisecond) }
    set {
      let (whole, rest) = newValue.nanoseconds.quotientAndRemainder(dividingBy: Self.millisecond)
      set(24, 40, whole + (rest == 0 ? 0 : 1))
    }
  }

  var isEjected: Bool { ejections != 0 }
  /// Both inputs allow its use without a trial.
  var isAvailable: Bool { !checksDown && !isEjected }

  func standing(at now: Instant) -> Standing {
    if checksDown { return .down }
    if !isEjected { return .available }
    if isTrialClaimed { return .beingTried }
    return now < ejectedUntil ? .ejected(until: ejectedUntil) : .onTrial
  }

  mutating func observeCheck(passed: Bool, _ policy: HealthPolicy) -> Flip? {
    guard passed == checksDown else {
      checkStreak = 0
      return nil
    }
    checkStreak += 1
    let limit = min(passed ? policy.rise : policy.fall, Self.countMax)
    guard checkStreak >= limit else { return nil }
    checksDown = !passed
    checkStreak = 0
    return passed ? .checksPassed : .checksFailed
  }

  mutating func observeSuccess(isTrial: Bool) -> Flip? {
    if isEjected {
      guard isTrial && isTrialClaimed else { return nil }
      admit()
      return .readmitted
    }
    failures = 0
    return nil
  }

  /// Counts a failure. A failed trial ejects at once. Consecutive failures only make an ejection
  /// due (`isEjectionDue`), since only the pool knows whether another member is left.
  mutating func observeFailure(isTrial: Bool, _ policy: HealthPolicy, at now: Instant) -> Flip? {
    if isEjected {
      guard isTrial && isTrialClaimed else { return nil }
      if policy.failures == nil {
        // A reload turned ejections off while this one lasted.
        admit()
        return .readmitted
      }
      return eject(policy, at: now)
    }
    if policy.failures != nil { failures += 1 }
    return nil
  }

  /// Whether the number of consecutive failures is high enough.
  func isEjectionDue(_ policy: HealthPolicy) -> Bool {
    guard let limit = policy.failures else { return false }
    return !isEjected && failures >= min(limit, Self.countMax)
  }

  mutating func eject(_ policy: HealthPolicy, at now: Instant) -> Flip {
    failures = 0
    isTrialClaimed = false
    ejections += 1
    ejectedUntil = now + policy.ejectionSpan(ejections)
    return .ejected(until: ejectedUntil, inRow: ejections)
  }

  mutating func forgetFailures() { failures = 0 }

  /// Forgets the last result of the checks, for a backend that is no longer checked.
  mutating func forgetChecks() {
    checksDown = false
    checkStreak = 0
  }

  mutating func claimTrial(at now: Instant) -> Bool {
    guard standing(at: now) == .onTrial else { return false }
    isTrialClaimed = true
    return true
  }

  /// The trial ended without a result, for example because the client left: the next exchange may
  /// try.
  mutating func abandonTrial() { isTrialClaimed = false }

  private mutating func admit() {
    failures = 0
    ejections = 0
    isTrialClaimed = false
    ejectedUntil = .origin
  }

  /// Consecutive results are counted in eight bits.
  private static let countMax = 255
  private static let millisecond: UInt64 = 1_000_000

  private func field(_ shift: UInt64, _ width: UInt64) -> UInt64 {
    word >> shift & (1 << width - 1)
  }

  /// Saturates: a count at its limit stays there.
  private mutating func set(_ shift: UInt64, _ width: UInt64, _ value: UInt64) {
    let limit: UInt64 = 1 << width - 1
    word = word & ~(limit << shift) | min(value, limit) << shift
  }
}
