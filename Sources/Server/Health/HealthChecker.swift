// The schedule of active health checks, and what their results mean. Worker+Probe makes them.
//
// Only the worker with index 0 has targets. It runs them on its own loop through `InputOutput`, so
// that the simulation covers them too. Results go to `Pool.observeCheck`. A check is a connection
// of its own, closed after the answer, since a pooled one would say nothing about whether new ones
// are accepted. The first checks are spread over the interval and later ones jittered, so that a
// thousand backends are not dialled in the same millisecond.

import Balancing
import HTTP1
import Primitives
import Proxy
import Reactor
import TLS

/// The checks of a process. Without targets on every worker but the first.
struct HealthChecker: ~Copyable {
  var targets: [CheckTarget] = []
  /// Which targets are to be checked when, by index; those under check come back at their end.
  var agenda: TimerWheel
  var probes = Slab<Probe>()
  /// When the worker's timer for the next check is due.
  var deadline = Deadline()

  init(now: Instant) { agenda = TimerWheel(now: now) }

  /// A member under check.
  struct CheckTarget {
    /// Index in the snapshot's pools.
    let pool: Int
    let member: Member
    var nextAt: Instant
    /// The last check confirmed the state, so the next one follows after the whole interval.
    var isSettled = true
  }

  /// One check under way.
  struct Probe: ~Copyable {
    var target: Int
    var check: ActiveCheck
    var transport: Transport
    let startedAt: Instant
    /// Whether the TCP connection is there.
    var isConnected = false
    /// Whether the request was written, and anything came in return.
    var hasAsked = false
    var hasReceived = false
    /// Heads of HTTP/1 with a 1xx status that came so far.
    var interimCount = 0
    var parser: ResponseParser
    /// Nil if the check is not a request over HTTP/2.
    var http2: HTTP2Check?
    var deadline = Deadline()
  }
}

extension Worker where IO: ~Copyable {
  /// Uses the members of the current snapshot. Members that were checked before keep their next
  /// time and their active check. Otherwise frequent changes would end each check before its
  /// timeout, and a backend that hangs would stay up.
  mutating func resetChecks() {
    guard index == 0 else { return }
    let former = checker.targets
    var known: [Int: Int] = [:]
    for (index, target) in former.enumerated() { known[target.member.record.id] = index }
    var probes = probesByTarget()
    checker.targets.removeAll(keepingCapacity: true)
    checker.agenda = TimerWheel(now: now)
    for (index, pool) in snapshot.pools.enumerated() {
      guard let check = pool.check else { continue }
      for member in pool.pool.membership.members where member.record.adminState != .disabled {
        var target = HealthChecker.CheckTarget(pool: index, member: member, nextAt: now)
        let place = checker.targets.count
        guard let formerIndex = known[member.record.id] else {
          target.nextAt = check.firstDue(within: check.interval, at: now, &generator)
          enter(place, at: target.nextAt)
          checker.targets.append(target)
          continue
        }
        target.isSettled = former[formerIndex].isSettled
        target.nextAt = check.due(
          former[formerIndex].nextAt, isSettled: target.isSettled, at: now, &generator)
        if let probe = probes[formerIndex],
          checker.probes[probe].check.isSame(as: check, for: former[formerIndex].member, member)
        {
          // It is scheduled again when it has ended.
          checker.probes[probe].target = place
          checker.probes[probe].check = check
          probes[formerIndex] = nil
        } else {
          enter(place, at: target.nextAt)
        }
        checker.targets.append(target)
      }
    }
    // In order, so that a simulated run can be repeated.
    for target in probes.keys.sorted() { if let probe = probes[target] { closeProbe(probe) } }
    scheduleChecks()
  }

  /// The active checks, by the index of their target.
  private mutating func probesByTarget() -> [Int: Handle] {
    var probes: [Int: Handle] = [:]
    for slot in 0..<checker.probes.slotCount {
      if let handle = checker.probes.handle(at: slot) {
        probes[checker.probes[handle].target] = handle
      }
    }
    return probes
  }

  mutating func enter(_ target: Int, at instant: Instant) {
    _ = checker.agenda.schedule(instant, payload: UInt64(target))
  }

  mutating func endChecks() {
    for slot in 0..<checker.probes.slotCount {
      if let handle = checker.probes.handle(at: slot) { closeProbe(handle) }
    }
  }

  mutating func healthTimerFired(payload: UInt64) {
    if checker.deadline.fired(at: now, payload: payload, in: &timers) { checkHealth() }
  }

  /// Starts the checks that are due, and comes back for the next.
  private mutating func checkHealth() {
    while let target = checker.agenda.next(at: now) { startProbe(Int(target)) }
    scheduleChecks()
  }

  mutating func scheduleChecks() {
    checker.deadline.set(
      checker.agenda.nextDeadline ?? .never, payload: WorkerTimer.checkHealth.payload,
      in: &timers)
  }

  mutating func concluded(
    _ index: Int, _ check: ActiveCheck, failure: FailureCause?, isTLSAlert: Bool = false,
    took duration: TimeSpan
  ) {
    let target = checker.targets[index]
    let pool = snapshot.pools[target.pool].pool
    let success = failure == nil
    target.member.record.checks.note(
      failure, isTLSAlert: isTLSAlert, took: duration, at: now)
    let reason = failure.map { check.reason($0, isTLSAlert: isTLSAlert) }
    if let reason { events.checkFailed(target.member.record, reason) }
    let flip = pool.observeCheck(of: target.member.record, passed: success, at: now)
    if let flip { flipped(target.member.record, flip, in: pool, reason: reason) }
    let isUp = target.member.record.standing(at: now) != .down
    checker.targets[index].isSettled = success == isUp
    let interval = success == isUp ? check.interval : check.fastInterval
    // A tenth of jitter either way keeps checks from falling into step.
    let tenth = max(1, interval.nanoseconds / 10)
    let jitter = Int64(generator.next(below: Int(2 * tenth))) - tenth
    let nextAt = now + .nanoseconds(interval.nanoseconds + jitter)
    checker.targets[index].nextAt = nextAt
    enter(index, at: nextAt)
  }
}
