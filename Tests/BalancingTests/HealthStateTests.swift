// HealthState: its transitions, as tables with explicit instants.

import Primitives
import Testing

@testable import Balancing

/// A health state with its policy. A class, so that an expectation may change it.
private final class Patient {
  var state: HealthState
  let policy: HealthPolicy

  init(_ change: (inout HealthPolicy) -> Void = { _ in }) {
    var policy = HealthPolicy()
    change(&policy)
    self.policy = policy
    state = HealthState(policy)
  }

  var isEjectionDue: Bool { state.isEjectionDue(policy) }

  func check(passed: Bool) -> Flip? { state.observeCheck(passed: passed, policy) }
  func succeed(isTrial: Bool = false) -> Flip? { state.observeSuccess(isTrial: isTrial) }
  func fail(isTrial: Bool = false, at now: Instant = start) -> Flip? {
    state.observeFailure(isTrial: isTrial, policy, at: now)
  }
  func fail(times: Int) { for _ in 0..<times { _ = fail() } }
  func check(passed: Bool, times: Int) { for _ in 0..<times { _ = check(passed: passed) } }
  func claimTrial(at now: Instant) -> Bool { state.claimTrial(at: now) }

  func ejected() -> Patient {
    fail(times: 5)
    _ = state.eject(policy, at: start)
    return self
  }
}

private let start = Instant.origin + .seconds(1_000)

@Suite struct HealthStateTests {
  /// `+` is a passed check, `-` a failed one; the result is the state after each, `u` or `d`.
  @Test(arguments: [
    ("--", "uu"), ("---", "uud"), ("--+--", "uuuuu"), ("--+---", "uuuuud"),
    ("---+", "uudd"), ("---++", "uuddu"), ("---+-++", "uuddddu"), ("---+-+-++", "uuddddddu"),
    ("---++--", "uudduuu"), ("---++---", "uudduuud"), ("++++---", "uuuuuud"),
  ])
  func checksFlipAfterFallOrRiseInARow(checks: String, states: String) {
    let health = Patient()
    var seen = ""
    for check in checks {
      let before = health.state.isAvailable
      let flip = health.check(passed: check == "+")
      let after = health.state.isAvailable
      #expect(flip == (before == after ? nil : after ? .checksPassed : .checksFailed))
      seen.append(after ? "u" : "d")
    }
    #expect(seen == states)
  }

  @Test func aBackendThatStartsDownNeedsOnePassedCheck() {
    let startsDown = { (policy: inout HealthPolicy) in
      policy.initial = .down
      policy.rise = 3
    }
    let health = Patient(startsDown)
    #expect(health.state.standing(at: start) == .down)
    #expect(health.check(passed: true) == .checksPassed)
    // After it was down once, it needs the full number of passed checks.
    let failed = Patient(startsDown)
    #expect(failed.check(passed: false) == nil)
    #expect(failed.check(passed: true) == nil)
    #expect(failed.check(passed: true) == nil)
    #expect(failed.check(passed: true) == .checksPassed)
  }

  @Test func anEjectionIsDueAfterFiveFailuresInARow() {
    let health = Patient()
    for failures in 1...4 {
      health.fail(times: failures)
      #expect(!health.isEjectionDue)
      #expect(health.succeed() == nil)
    }
    health.fail(times: 4)
    #expect(!health.isEjectionDue)
    _ = health.fail()
    #expect(health.isEjectionDue && health.state.isAvailable)
  }

  @Test func withoutPassiveHealthNoFailureCounts() {
    let health = Patient { $0.failures = nil }
    health.fail(times: 1_000)
    #expect(!health.isEjectionDue && health.state.isAvailable)
  }

  @Test func anEjectionEndsInATrialAtItsInstant() {
    let health = Patient().ejected()
    let end = start + .seconds(10)
    #expect(health.state.standing(at: start) == .ejected(until: end))
    #expect(health.state.standing(at: end + .milliseconds(-1)) == .ejected(until: end))
    #expect(health.state.standing(at: end) == .onTrial)
    #expect(!health.state.isAvailable)
  }

  @Test func exactlyOneClaimsTheTrial() {
    let health = Patient().ejected()
    let end = start + .seconds(10)
    #expect(!health.claimTrial(at: end + .milliseconds(-1)))
    #expect(health.claimTrial(at: end))
    #expect(!health.claimTrial(at: end + .seconds(1_000)))
    #expect(health.state.standing(at: end) == .beingTried)
    health.state.abandonTrial()
    #expect(health.claimTrial(at: end))
  }

  @Test func aPassedTrialReadmitsAndStartsTheCountOver() {
    let health = Patient().ejected()
    _ = health.claimTrial(at: start + .seconds(10))
    #expect(health.succeed(isTrial: true) == .readmitted)
    #expect(health.state.standing(at: start) == .available)
    #expect(health.state == HealthState(health.policy))
  }

  @Test func failedTrialsEjectLongerAndLongerUpToTheCap() {
    let health = Patient().ejected()
    var now = start + .seconds(10)
    for count in 2...70 {
      #expect(health.claimTrial(at: now))
      let until = now + .seconds(min(Int64(count) * 10, 300))
      let flip = health.fail(isTrial: true, at: now)
      #expect(flip == .ejected(until: until, inRow: min(count, 63)))
      now = until
    }
  }

  @Test func resultsOfEarlierExchangesNeitherEndNorLengthenAnEjection() {
    let health = Patient().ejected()
    let before = health.state
    for _ in 0..<10 {
      #expect(health.fail() == nil)
      #expect(health.succeed() == nil)
    }
    #expect(health.state == before)
    _ = health.claimTrial(at: start + .seconds(10))
    let tried = health.state
    _ = health.succeed()
    _ = health.fail()
    #expect(health.state == tried)
  }

  @Test func passedChecksNeverEndAnEjection() {
    let health = Patient().ejected()
    for _ in 0..<10 { #expect(health.check(passed: true) == nil) }
    #expect(health.state.standing(at: start) == .ejected(until: start + .seconds(10)))
  }

  @Test func bothInputsMustAgree() {
    let health = Patient().ejected()
    health.check(passed: false, times: 3)
    let end = start + .seconds(10)
    #expect(health.state.standing(at: end) == .down)
    #expect(!health.claimTrial(at: end))
    health.check(passed: true, times: 2)
    #expect(health.state.standing(at: end) == .onTrial)
  }

  @Test func aReloadThatTurnsChecksOffForgetsThem() {
    let health = Patient()
    health.check(passed: false, times: 3)
    health.state.forgetChecks()
    #expect(health.state.isAvailable)
  }

  @Test func countsSaturateInsteadOfSpillingIntoTheirNeighbours() {
    let health = Patient {
      $0.fall = 255
      $0.failures = 255
    }
    health.fail(times: 300)
    #expect(health.state.failures == 255)
    #expect(health.state.ejections == 0 && health.state.checkStreak == 0)
    health.check(passed: false, times: 254)
    #expect(health.state.checkStreak == 254 && health.state.failures == 255)
    #expect(health.check(passed: false) == .checksFailed)
  }

  @Test func aLimitBeyondWhatIsCountedStillFlips() {
    let health = Patient {
      $0.fall = 1_000
      $0.failures = 1_000
    }
    health.fail(times: 255)
    #expect(health.isEjectionDue)
    health.check(passed: false, times: 255)
    #expect(!health.state.isAvailable)
  }

  @Test func theInstantIsRoundedUpToAMillisecond() {
    let health = Patient { $0.ejectionBase = .nanoseconds(1) }
    _ = health.state.eject(health.policy, at: start)
    #expect(health.state.ejectedUntil == start + .milliseconds(1))
  }
}
