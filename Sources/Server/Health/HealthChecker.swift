// Active health checks: dials, or small HTTP requests, on a schedule.
//
// One per process: the worker with index 0 carries it on its own loop, through the same I/O seam as
// everything else, so that the simulation covers it too. A check is a connection of its own, closed
// after the answer, since a pooled one would say nothing about whether new ones are accepted. The
// first checks are spread over the interval and later ones jittered, so that a thousand backends
// are not dialled in the same millisecond.

import Balancing
import HTTP
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
    /// Whether the request was written.
    var hasAsked = false
    /// Heads with a 1xx status that came so far.
    var interimCount = 0
    var parser: ResponseParser
    var deadline = Deadline()
  }
}

/// How a pool's members are checked.
struct ActiveCheck: Sendable {
  enum Kind: Equatable, Sendable {
    /// Is a connection accepted, and does TLS agree if the pool has it?
    case tcp
    /// Is this request answered with one of these statuses?
    /// A nil `host` stands for the member's own.
    case http(path: String, host: String?, expected: [ClosedRange<UInt16>])
  }

  var kind: Kind
  var interval: TimeSpan
  /// The interval while the state is changing.
  var fastInterval: TimeSpan
  var timeout: TimeSpan
  /// Nil for the one at which the member serves.
  var port: UInt16?
  /// Of the pool's TLS; 0 without TLS.
  var tlsID = 0

  /// Interim responses (RFC 9110 15.2) that a check waits through, far more than any server sends:
  /// a backend that floods them mustn't keep the worker.
  static let interimMax = 16

  /// Whether an active check of `member` by this configuration is also valid for `otherMember` by
  /// `other`. The interval does not matter for this.
  func isSame(
    as other: ActiveCheck, for member: Member, _ otherMember: Member
  ) -> Bool {
    kind == other.kind && timeout == other.timeout && tlsID == other.tlsID
      && address(of: member) == other.address(of: otherMember)
      && member.checkHost == otherMember.checkHost && member.serverName == otherMember.serverName
  }

  /// When a check is due that was due at `former`, perhaps by a longer interval.
  func due(
    _ former: Instant, isSettled: Bool, at now: Instant, _ generator: inout RandomGenerator
  ) -> Instant {
    let longest = isSettled ? interval : fastInterval
    // A tenth of jitter is part of the interval.
    if former <= now + .nanoseconds(longest.nanoseconds / 10 * 11) { return former }
    return firstDue(within: longest, at: now, &generator)
  }

  /// Spread, so that a thousand backends are not all checked in the same millisecond.
  func firstDue(
    within span: TimeSpan, at now: Instant, _ generator: inout RandomGenerator
  ) -> Instant {
    now + .nanoseconds(Int64(generator.next(below: Int(max(1, span.nanoseconds)))))
  }

  /// Where `member` is checked.
  func address(of member: Member) -> SocketAddress {
    guard let port, case .ip(let address, _) = member.address else { return member.address }
    return .ip(address, port: port)
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

  private mutating func enter(_ target: Int, at instant: Instant) {
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

  private mutating func scheduleChecks() {
    checker.deadline.set(
      checker.agenda.nextDeadline ?? .never, payload: WorkerTimer.checkHealth.payload,
      in: &timers)
  }

  private mutating func startProbe(_ index: Int) {
    let target = checker.targets[index]
    guard let check = snapshot.pools[target.pool].check else { return }
    let responses = snapshot.pools[target.pool].responses
    var session: TLSSession?
    if let tls = snapshot.pools[target.pool].tls {
      do throws(TLSFailure) {
        // A resumed session wouldn't show the certificate. The requests of checks are HTTP/1.1.
        session = try tls.makeSession(
          with: target.member, worker: self.index, resumes: false, onlyHTTP1: check.kind != .tcp)
      } catch {
        return concluded(index, check, failure: FailureCause(error), took: .zero)
      }
    }
    let handle = checker.probes.nextHandle
    switch io.connect(to: check.address(of: target.member), token: Token(.probe, handle).packed) {
    case .started(let socket):
      var probe = HealthChecker.Probe(
        target: index, check: check, transport: Transport(connecting: socket, session),
        startedAt: now, parser: ResponseParser(limits: responses.limits, rules: responses.desync))
      probe.deadline.set(now + check.timeout, payload: Token(.probe, handle).packed, in: &timers)
      let inserted = checker.probes.insert(probe)
      precondition(inserted == handle)
    case .failed(let error) where error.isShortage:
      // It says nothing about the backend.
      checker.targets[index].nextAt = now + check.interval
      enter(index, at: now + check.interval)
    case .failed(let error):
      concluded(index, check, failure: FailureCause(connecting: error), took: .zero)
    }
  }

  mutating func driveProbe(_ handle: Handle, _ readiness: Readiness) {
    guard checker.probes.contains(handle) else { return }
    checker.probes[handle].transport.note(readiness)
    let target = checker.probes[handle].target
    let check = checker.probes[handle].check
    if !checker.probes[handle].isConnected {
      guard checker.probes[handle].transport.isWritable else { return }
      if let error = io.connectionResult(of: checker.probes[handle].transport.socket) {
        return conclude(handle, failure: FailureCause(connecting: error))
      }
      checker.probes[handle].isConnected = true
      if checker.probes[handle].transport.isEncrypted {
        checker.probes[handle].transport.open(&buffers)
      }
    }
    if !checker.probes[handle].transport.isEstablished {
      if let failure = shakeHands(handle) { return conclude(handle, failure: failure) }
      guard checker.probes[handle].transport.isEstablished else { return }
    }
    if !checker.probes[handle].hasAsked {
      checker.probes[handle].hasAsked = true
      guard case .http(let path, let host, _) = check.kind else {
        return conclude(handle, failure: nil)
      }
      scratch.removeAll()
      scratch.append(string: "GET \(path) HTTP/1.1\r\nHost: ")
      scratch.append(string: host ?? checker.targets[target].member.checkHost)
      scratch.append("\r\nUser-Agent: martlet-health\r\nConnection: close\r\n\r\n")
      checker.probes[handle].transport.write(scratch, &io, &buffers)
    }
    // A socket may take the request in parts.
    checker.probes[handle].transport.flush(&io, &buffers)
    guard case .http(_, _, let expected) = check.kind else { return }
    while true {
      switch checker.probes[handle].transport.receive(&io, &buffers) {
      case .bytes: break
      case .nothing:
        // A flood of such records fails the session.
        if checker.probes[handle].transport.takeGaveWay() { continue }
        checker.probes[handle].transport.flush(&io, &buffers)
        return
      case .finished: return conclude(handle, failure: .closedBeforeResponse)
      case .failed(.tls(let failure)): return conclude(handle, failure: FailureCause(failure))
      case .failed: return conclude(handle, failure: .resetBeforeResponse)
      }
      if checker.probes[handle].beginsWithTLSAlert {
        return conclude(handle, failure: .badResponse, isTLSAlert: true)
      }
      do throws(HTTP1Error) {
        guard let status = try checker.probes[handle].parseStatus(into: &responseHead) else {
          continue
        }
        let isExpected = expected.contains { $0.contains(status) }
        return conclude(handle, failure: isExpected ? nil : .status(status))
      } catch {
        return conclude(handle, failure: .badResponse)
      }
    }
  }

  /// Continues the TLS handshake of a check; returns why it has failed.
  private mutating func shakeHands(_ handle: Handle) -> FailureCause? {
    while true {
      let arrival = checker.probes[handle].transport.receive(&io, &buffers)
      if let cause = FailureCause(handshake: arrival) { return cause }
      checker.probes[handle].transport.flush(&io, &buffers)
      if checker.probes[handle].transport.isEstablished { return nil }
      if !checker.probes[handle].transport.takeGaveWay() { return nil }
    }
  }

  /// What it means if a check wasn't complete in time.
  private mutating func lateness(_ handle: Handle) -> FailureCause {
    if !checker.probes[handle].isConnected { return .connectTimeout }
    return checker.probes[handle].transport.isEstablished ? .responseTimeout : .tlsTimeout
  }

  mutating func probeExpired(_ handle: Handle, payload: UInt64) {
    guard checker.probes.contains(handle),
      checker.probes[handle].deadline.fired(at: now, payload: payload, in: &timers)
    else { return }
    conclude(handle, failure: lateness(handle))
  }

  /// `failure` is nil if the check passed.
  private mutating func conclude(
    _ handle: Handle, failure: FailureCause?, isTLSAlert: Bool = false
  ) {
    let target = checker.probes[handle].target
    let check = checker.probes[handle].check
    let duration = now - checker.probes[handle].startedAt
    closeProbe(handle)
    concluded(target, check, failure: failure, isTLSAlert: isTLSAlert, took: duration)
    scheduleChecks()
  }

  private mutating func closeProbe(_ handle: Handle) {
    checker.probes[handle].deadline.cancel(in: &timers)
    if checker.probes[handle].transport.isEncrypted {
      checker.probes[handle].transport.writeCloseNotify(&buffers)
      checker.probes[handle].transport.flush(&io, &buffers)
    }
    var probe = checker.probes.remove(handle)
    probe.transport.release(to: &buffers)
    io.close(probe.transport.socket, reset: false)
  }

  private mutating func concluded(
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

extension HealthChecker.Probe {
  /// A server that expects TLS may answer plain HTTP with an alert (RFC 8446 5.1: type 21).
  var beginsWithTLSAlert: Bool {
    transport.inbound.count > 0 && transport.inbound.bytes[0] == 0x15
  }

  /// The status of the final head, if that has come: it may stand in the same segment as interim
  /// ones. Too many of those are no answer.
  mutating func parseStatus(into head: inout ResponseHead) throws(HTTP1Error) -> UInt16? {
    while try parser.take(from: &transport.inbound, into: &head) {
      if !head.isInterim {
        // Requests fail too if the length is invalid for clients.
        _ = try head.framing(answering: .get)
        return head.status
      }
      interimCount += 1
      if interimCount > ActiveCheck.interimMax { throw .badStatusLine }
    }
    return nil
  }
}
