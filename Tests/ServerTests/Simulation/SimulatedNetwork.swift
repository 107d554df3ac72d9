// A network in memory with its own clock and its own randomness.
//
// It models the kernel's TCP as seen through epoll: bounded queues of bytes in flight and arrived,
// a clean end after the bytes, a reset that may destroy them, errors that are reported once. Time
// advances only while the worker waits. All randomness comes from one seed, so a run is a pure
// function of it. This file is the link; the worker's side is in
// SimulatedNetwork+InputOutput.swift, the actors' in SimulatedNetwork+Actors.swift. It loses no
// bytes of a live connection and has no congestion, which stream sockets hide anyway. A run uses
// one thread and accesses its hot state through a class, so exclusivity checks are off for it: they
// took a quarter of the time.

import Glibc
import Primitives
import Reactor

final class SimulatedNetwork {
  @exclusivity(unchecked) var now: Instant
  /// So that equal runs have equal dates.
  var wallTime: UInt64 { now.nanoseconds }
  @exclusivity(unchecked) var random: RandomGenerator
  let conditions: NetworkConditions
  @exclusivity(unchecked) var agenda = EventQueue()
  @exclusivity(unchecked) var endpoints: [SimulatedEndpoint] = []
  @exclusivity(unchecked) var actors: [SimulatedActor] = []
  var services: [SocketAddress: SimulatedService] = [:]
  var listeners: [SimulatedListener] = []

  /// Each worker's view; `lane` is the one of the current worker.
  private(set) var lanes = [SimulatedLane(number: 0)]
  @exclusivity(unchecked) private(set) var lane: SimulatedLane

  /// Descriptors that the workers hold, without listeners.
  var openSocketCount = 0
  var openSocketPeak = 0
  /// There are no free descriptors until then.
  var exhaustedUntil = Instant.origin
  /// Connects that failed because there was no descriptor.
  var failedDials: [Instant] = []

  /// Grows with every change of a connection's state; if it doesn't, an iteration was idle.
  @exclusivity(unchecked) var moves = 0
  /// Errors of the worker, and other things that must not happen.
  var faults: [String] = []
  /// A hash of all events: equal for equal seeds.
  @exclusivity(unchecked) var trace: UInt64
  /// A log of all events, if enabled.
  @exclusivity(unchecked) var log: [String]?

  init(seed: UInt64, conditions: NetworkConditions, isLogging: Bool = false) {
    random = RandomGenerator(seed: mix(seed ^ 0x6E65_7477_6F72_6B21))
    self.conditions = conditions
    lane = lanes[0]
    now = Instant(nanoseconds: 3_600_000_000_000 + mix(seed) % 1_000_000_000)
    trace = seed
    log = isLogging ? [] : nil
  }

  /// Whether the run should end because it can't continue.
  var isStuck = false

  func fault(_ text: @autoclosure () -> String) {
    if faults.count >= 20 { return }
    let words = text()
    faults.append(words)
    note("FAULT \(words)")
  }

  @inline(__always)
  func note(_ text: @autoclosure () -> String) {
    if log != nil { log?.append("\(now.nanoseconds / 1_000) \(text())") }
  }

  @inline(__always)
  func mark(_ value: Int) { trace = mix(trace &* 31 &+ UInt64(truncatingIfNeeded: value)) }

  func schedule(_ event: SimulatedEvent, at time: Instant) {
    agenda.schedule(event, at: time, tie: random.next())
  }

  func schedule(_ event: SimulatedEvent, after span: TimeSpan) {
    schedule(event, at: now + span)
  }

  /// Releases all actors at the end, since they hold references to the network.
  func dismiss() {
    actors = []
    services = [:]
    for endpoint in endpoints {
      endpoint.actor = nil
      endpoint.whenClosed = nil
    }
    for lane in lanes { lane.wakeUp = nil }
  }

  // MARK: Workers

  /// Makes room for `count` workers.
  func addLanes(upTo count: Int) {
    while lanes.count < count { lanes.append(SimulatedLane(number: lanes.count)) }
  }

  /// The following calls are from this worker.
  func give(turnTo number: Int) { lane = lanes[number] }

  /// Whether a wait of this worker would end at once.
  func isReady(_ lane: SimulatedLane) -> Bool {
    if lane.isWoken || !lane.ready.isEmpty { return true }
    if let deadline = lane.deadline, deadline <= now { return true }
    return listeners.contains {
      $0.lane == lane.number && $0.token != nil && !$0.queue.isEmpty
    }
  }

  // MARK: Connections

  /// The two ends of a new connection: the worker's, and the other one.
  func makeConnection(
    actor: SimulatedActor?, isDialledByWorker: Bool
  ) -> (workers: SimulatedEndpoint, other: SimulatedEndpoint) {
    let number = endpoints.count
    let workers = SimulatedEndpoint(
      number: number, peerNumber: number + 1, isWorkers: true, actor: nil,
      phase: isDialledByWorker ? .connecting : .open,
      capacity: conditions.drawCapacity(&random))
    let other = SimulatedEndpoint(
      number: number + 1, peerNumber: number, isWorkers: false, actor: actor,
      phase: isDialledByWorker ? .open : .connecting, capacity: conditions.drawCapacity(&random))
    other.dialledAt = now
    endpoints.append(workers)
    endpoints.append(other)
    return (workers, other)
  }

  func peer(of endpoint: SimulatedEndpoint) -> SimulatedEndpoint { endpoints[endpoint.peerNumber] }

  // MARK: Sending

  /// Sends up to `count` bytes, in one or more segments, unless `asOne`.
  func transmit(_ bytes: Span<UInt8>, to target: SimulatedEndpoint, asOne: Bool = false) {
    if bytes.isEmpty { return }
    target.bytes.append(bytes)
    target.sentTotal += bytes.count
    moves += 1
    var left = bytes.count
    while left > 0 {
      let part = asOne || random.chance(3, in: 4) ? left : 1 + random.next(below: left)
      dispatch(.bytes(part), to: target)
      left -= part
    }
  }

  /// Elements for one endpoint never overtake each other.
  func dispatch(_ parcel: SimulatedEndpoint.Parcel, to target: SimulatedEndpoint) {
    let arrival = max(target.lastArrival, now + conditions.drawLatency(&random))
    target.lastArrival = arrival
    target.dispatch(parcel, arriving: arrival)
    schedule(.delivery(target.number), at: arrival)
  }

  func sendFinish(from endpoint: SimulatedEndpoint) {
    if endpoint.hasSentFinish { return }
    endpoint.hasSentFinish = true
    moves += 1
    dispatch(.finish, to: peer(of: endpoint))
  }

  /// Closes `endpoint` for its owner: cleanly, or by a reset if bytes stay unread.
  func hangUp(_ endpoint: SimulatedEndpoint, reset: Bool) {
    let wasConnecting = endpoint.phase == .connecting
    endpoint.phase = .closed
    endpoint.closedAt = now
    moves += 1
    let other = peer(of: endpoint)
    if endpoint.isBroken || (wasConnecting && !endpoint.dialArrived) {
      // The other side has gone, or has never been told of this one.
    } else if reset || endpoint.arrivedCount > 0 {
      dispatch(.reset(discarding: random.chance(1, in: 2)), to: other)
      endpoint.hasSentFinish = true
      endpoint.hasSentReset = true
    } else {
      sendFinish(from: endpoint)
    }
    if endpoint.isBroken { endpoint.discardBytes() } else { discardArrived(endpoint) }
  }

  /// Bytes that have arrived at a closed endpoint are lost; those in flight will be.
  private func discardArrived(_ endpoint: SimulatedEndpoint) {
    let count = endpoint.arrivedCount
    if count == 0 { return }
    endpoint.actor?.discarded(endpoint.bytes.bytes.extracting(first: count))
    endpoint.bytes.consume(count)
    endpoint.arrivedCount = 0
  }

  /// The owner of `endpoint` has read `count` bytes: there is room for the sender.
  func took(_ count: Int, from endpoint: SimulatedEndpoint) {
    endpoint.bytes.consume(count)
    endpoint.arrivedCount -= count
    endpoint.takenTotal += count
    endpoint.takenAt = now
    if endpoint.isWorkers { endpoint.noteTaking(at: now) }
    moves += 1
    if endpoint.senderIsStarved && endpoint.room >= max(1, endpoint.capacity / 3) {
      endpoint.senderIsStarved = false
      schedule(.room(endpoint.peerNumber), after: conditions.drawLatency(&random))
    }
  }

  // MARK: Events

  /// Runs all events whose time has come.
  func runDueEvents() {
    while let (_, event) = agenda.next(at: now) {
      switch event {
      case .delivery(let number): deliver(to: endpoints[number])
      case .room(let number): changed(endpoints[number], .writable)
      case .dial(let number): arriveAtService(endpoints[number])
      case .establishment(let number): establish(endpoints[number])
      case .dialFailure(let number, let code): failDial(endpoints[number], code)
      case .act(let number):
        let actor = actors[number]
        // A turn that was moved to an earlier time has already run.
        if let due = actor.nextAct, due <= now {
          actor.nextAct = nil
          actor.act()
        }
      }
    }
  }

  private func deliver(to endpoint: SimulatedEndpoint) {
    if endpoint.isCut { return }
    while let parcel = endpoint.nextParcel(at: now) {
      if endpoint.phase == .connecting { establish(endpoint) }
      switch parcel {
      case .bytes(let count):
        if endpoint.phase == .closed {
          endpoint.actor?.discarded(endpoint.bytes.bytes.extracting(first: count))
          endpoint.bytes.consume(count)
          refuseBytes(endpoint)
        } else {
          endpoint.arrivedCount += count
          changed(endpoint, .readable)
        }
      case .finish:
        endpoint.finishArrived = true
        changed(endpoint, [.readable, .peerFinished])
      case .reset(let discarding):
        // The error differs when the peer has finished, as on Linux.
        breakDown(endpoint, code: endpoint.finishArrived ? EPIPE : ECONNRESET, discarding)
        if endpoint.isBroken && discarding { return }
      }
    }
  }

  /// Bytes arrived for an endpoint that its owner has closed.
  private func refuseBytes(_ endpoint: SimulatedEndpoint) {
    let sender = peer(of: endpoint)
    if endpoint.isBroken || sender.phase == .closed { return }
    endpoint.isBroken = true
    endpoint.hasSentReset = true
    dispatch(.reset(discarding: random.chance(1, in: 2)), to: sender)
  }

  private func breakDown(_ endpoint: SimulatedEndpoint, code: Int32, _ discarding: Bool) {
    if endpoint.isBroken { return }
    endpoint.isBroken = true
    endpoint.brokenAt = now
    endpoint.error = code
    if discarding { endpoint.discardBytes() }
    note("endpoint \(endpoint.number) is broken by errno \(code)")
    changed(endpoint, [.readable, .writable, .peerFinished, .failed])
  }

  private func establish(_ endpoint: SimulatedEndpoint) {
    if endpoint.phase != .connecting { return }
    endpoint.phase = .open
    changed(endpoint, .writable)
  }

  private func failDial(_ endpoint: SimulatedEndpoint, _ code: Int32) {
    if endpoint.phase == .connecting {
      breakDown(endpoint, code: code, false)
    }
  }

  /// The connect of the worker's `endpoint` reaches a service, or a client's the listener.
  private func arriveAtService(_ endpoint: SimulatedEndpoint) {
    if endpoint.isWorkers {
      dialService(from: endpoint)
    } else {
      dialListener(from: endpoint)
    }
  }

  /// Tells the owner of `endpoint` that something has changed.
  func changed(_ endpoint: SimulatedEndpoint, _ readiness: Readiness) {
    if endpoint.phase == .closed { return }
    if endpoint.isWorkers {
      if endpoint.token == nil { return }
      if endpoint.pending.isEmpty { lanes[endpoint.lane].ready.append(endpoint.number) }
      endpoint.pending.formUnion(readiness)
    } else {
      endpoint.actor?.wake(after: .microseconds(Int64(random.skewed(upTo: 200))))
    }
  }
}

/// A listening socket of the worker, with the connections in its queue.
struct SimulatedListener {
  let address: SocketAddress
  let lane: Int
  var token: UInt64?
  /// Numbers of the worker's ends.
  var queue: [Int] = []
  var isClosed = false
}

/// One worker's view: its sockets, and its pending reports.
final class SimulatedLane {
  let number: Int
  /// Numbers of its registered endpoints, and of those with something to report.
  @exclusivity(unchecked) var registered: [Int] = []
  @exclusivity(unchecked) var ready: [Int] = []
  @exclusivity(unchecked) var batch: [ReadinessEvent] = []
  @exclusivity(unchecked) var watch = TurnWatch()
  /// Wakes it when other threads have sent a message.
  var wakeUp: WakeUp?
  var isWoken: Bool { wakeUp?.isSignalled == true }
  /// How long its next wait may block, if known; only matters with several workers.
  var deadline: Instant?

  init(number: Int) { self.number = number }
}

/// Checks that a worker's iterations make progress.
struct TurnWatch {
  var callsInTurn = 0
  /// Consecutive waits without progress: polls without an event, and reports without any reaction.
  var idlePolls = 0
  var idleReports = 0
  var movesAtLastWait = 0
  var reportedLast = false
}
