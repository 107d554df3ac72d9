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

/// The checks of a process. Without targets on every worker but the first.
struct HealthChecker: ~Copyable {
  var targets: [CheckTarget] = []
  var probes = Slab<Probe>()
  /// When the worker's timer for the next check is due.
  var deadline = Deadline()

  /// A member under check.
  struct CheckTarget {
    let pool: Int
    let member: Member
    let check: ActiveCheck
    var nextAt: Instant
    var isProbed = false
  }

  /// One check under way.
  struct Probe: ~Copyable {
    let target: Int
    var transport: Transport
    var isConnected = false
    var parser: ResponseParser
    var deadline = Deadline()
  }
}

/// How a pool's members are checked.
struct ActiveCheck: Sendable {
  enum Kind: Sendable {
    /// Is a connection accepted?
    case tcp
    /// Is this request answered with one of these statuses?
    /// A nil `host` stands for the backend's address.
    case http(path: String, host: String?, expected: [ClosedRange<UInt16>])
  }

  var kind: Kind
  var interval: TimeSpan
  /// The interval while the state is changing.
  var fastInterval: TimeSpan
  var timeout: TimeSpan
}

extension Worker where IO: ~Copyable {
  /// Takes the members of the snapshot in force. Those that were checked before keep their time.
  mutating func resetChecks() {
    guard index == 0 else { return }
    endChecks()
    let previous = checker.targets
    checker.targets = []
    for (index, pool) in snapshot.pools.enumerated() {
      guard let check = pool.check else { continue }
      for member in pool.pool.membership.members {
        let known = previous.first { $0.member.record === member.record }
        let spread = generator.next(below: Int(max(1, check.interval.nanoseconds)))
        checker.targets.append(
          HealthChecker.CheckTarget(
            pool: index, member: member, check: check,
            nextAt: known?.nextAt ?? now + .nanoseconds(Int64(spread))))
      }
    }
    scheduleChecks()
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
    for index in checker.targets.indices
    where checker.targets[index].nextAt <= now && !checker.targets[index].isProbed {
      startProbe(index)
    }
    scheduleChecks()
  }

  private mutating func scheduleChecks() {
    var next = Instant.never
    for target in checker.targets where !target.isProbed { next = min(next, target.nextAt) }
    checker.deadline.set(next, payload: WorkerTimer.checkHealth.payload, in: &timers)
  }

  private mutating func startProbe(_ index: Int) {
    checker.targets[index].isProbed = true
    let handle = checker.probes.nextHandle
    let target = checker.targets[index]
    switch io.connect(to: target.member.address, token: Token(.probe, handle).packed) {
    case .started(let socket):
      var probe = HealthChecker.Probe(
        target: index, transport: Transport(socket, isWritable: false),
        parser: ResponseParser(limits: settings.headLimits))
      probe.deadline.set(
        now + target.check.timeout, payload: Token(.probe, handle).packed, in: &timers)
      let inserted = checker.probes.insert(probe)
      precondition(inserted == handle)
    case .failed:
      concluded(index, success: false)
    }
  }

  mutating func driveProbe(_ handle: Handle, _ readiness: Readiness) {
    guard checker.probes.contains(handle) else { return }
    checker.probes[handle].transport.note(readiness)
    let target = checker.probes[handle].target
    let check = checker.targets[target].check
    if !checker.probes[handle].isConnected {
      guard checker.probes[handle].transport.isWritable else { return }
      if io.connectionResult(of: checker.probes[handle].transport.socket) != nil {
        return conclude(handle, success: false)
      }
      checker.probes[handle].isConnected = true
      guard case .http(let path, let host, _) = check.kind else {
        return conclude(handle, success: true)
      }
      scratch.removeAll()
      scratch.append(string: "GET \(path) HTTP/1.1\r\nHost: ")
      scratch.append(string: host ?? checker.targets[target].member.record.identity.address)
      scratch.append("\r\nUser-Agent: martlet-health\r\nConnection: close\r\n\r\n")
      checker.probes[handle].transport.write(scratch, &io, &buffers)
    }
    // A socket may take the request in parts.
    checker.probes[handle].transport.flush(&io, &buffers)
    guard case .http(_, _, let expected) = check.kind else { return }
    while true {
      switch checker.probes[handle].transport.receive(&io, &buffers) {
      case .bytes: break
      case .nothing: return
      case .finished, .failed: return conclude(handle, success: false)
      }
      do throws(HTTP1Error) {
        if try checker.probes[handle].parseHead(into: &responseHead) {
          let status = responseHead.status
          if status >= 200 {
            return conclude(handle, success: expected.contains { $0.contains(status) })
          }
        }
      } catch {
        return conclude(handle, success: false)
      }
    }
  }

  mutating func probeExpired(_ handle: Handle, payload: UInt64) {
    guard checker.probes.contains(handle),
      checker.probes[handle].deadline.fired(at: now, payload: payload, in: &timers)
    else { return }
    conclude(handle, success: false)
  }

  private mutating func conclude(_ handle: Handle, success: Bool) {
    let target = checker.probes[handle].target
    closeProbe(handle)
    concluded(target, success: success)
    scheduleChecks()
  }

  private mutating func closeProbe(_ handle: Handle) {
    checker.probes[handle].deadline.cancel(in: &timers)
    var probe = checker.probes.remove(handle)
    probe.transport.release(to: &buffers)
    io.close(probe.transport.socket, reset: false)
    checker.targets[probe.target].isProbed = false
  }

  private mutating func concluded(_ index: Int, success: Bool) {
    checker.targets[index].isProbed = false
    let target = checker.targets[index]
    let pool = snapshot.pools[target.pool].pool
    let flip = pool.observeCheck(of: target.member.record, passed: success, at: now)
    if let flip { flipped(target.member.record, flip, in: pool) }
    let isUp = target.member.record.standing(at: now) != .down
    let interval = success == isUp ? target.check.interval : target.check.fastInterval
    // A tenth of jitter either way keeps checks from falling into step.
    let tenth = max(1, interval.nanoseconds / 10)
    let jitter = Int64(generator.next(below: Int(2 * tenth))) - tenth
    checker.targets[index].nextAt = now + .nanoseconds(interval.nanoseconds + jitter)
  }
}

extension HealthChecker.Probe {
  mutating func parseHead(into head: inout ResponseHead) throws(HTTP1Error) -> Bool {
    try parser.take(from: &transport.inbound, into: &head)
  }
}
