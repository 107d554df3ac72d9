// One thread's share of the proxy: its loop, its listening sockets, its connections, its timers.
//
// Workers share nothing on the request path but the atomics of Balancing; where a connection begins
// and ends they share Admission. Everything else reaches a worker through its inbox. The loop is
// `turn`: wait; note what became ready; fire due deadlines; drive each connection; flush. Nothing
// re-enters it: whoever makes work for another connection queues it. How connections are driven is
// told in the extensions beside this file.
//
// A ~Copyable struct, generic over the I/O and named only in Server.run and in the simulation,
// because that is the shape which the compiler specialises whole. Its methods are mutating even
// where they only read, because to lend it out the compiler copies it (docs/decisions/0002).

import Balancing
import HTTP
import HTTP1
import Metrics
import Primitives
import Proxy
import Reactor

struct Worker<IO: InputOutput & ~Copyable>: ~Copyable {
  let index: Int
  var io: IO
  var buffers = BufferPool()
  var timers: TimerWheel
  var generator: RandomGenerator
  let inbox: Inbox<WorkerMessage>
  /// The inboxes of all workers, by index.
  let peers: [Inbox<WorkerMessage>]
  let metrics: WorkerMetrics
  /// Where traffic is counted by whom it concerns.
  let traffic: MetricsRegistry
  /// Who may connect; shared by all workers.
  let admission: Admission
  /// Where exchanges go that somebody may want to see.
  let reports: ExchangeReports
  /// How many more of them may go there within this second.
  var reportAllowance = ReportAllowance()
  /// Where what people should know is said: health flips, exhaustion.
  let events: EventLog
  var log: AccessLog
  /// The names of backends by id, as the log writes them, and what they are counted in.
  var backendNames: [LogName] = []
  var backendTraffic: [TrafficMetrics?] = []

  /// The configuration in force, and its limits at hand.
  var snapshot: Snapshot
  var settings: Settings

  var listeners: [WorkerListener] = []
  var downstreams = Slab<DownstreamConnection>()
  var upstreams = Slab<UpstreamConnection>()
  var exchanges = Slab<ActiveExchange>()
  /// Idle upstream connections by backend id, the most recently used last.
  var idleUpstreams: [[Handle]] = []
  /// How many there are in all.
  var idleUpstreamCount = 0
  /// The configurations that exchanges still run under, the one in force last.
  var generations: [Generation] = []
  var checker: HealthChecker

  /// Heads and trailers in work. Each lives within one step of one connection, so one of each does.
  var requestHead = RequestHead()
  var responseHead = ResponseHead()
  var trailers = FieldBlock()
  /// Text that is being put together, likewise.
  var scratch = ByteBuffer(capacity: 16 * 1024)
  var dates = DateClock()
  /// Where the request in `requestHead` stands in its trace, if it is recorded.
  var requestTrace: TraceContext?
  var spans = SpanText()

  /// TLS handshakes of clients, which take turns behind everything else.
  var handshakes = HandshakeQueue()

  /// Connections to drive and to flush in this turn, in order.
  private var toDrive: [Token] = []
  private var toFlush: [Token] = []
  /// The lists above while they are worked through; kept, so that they are not allocated anew.
  private var driving: [Token] = []
  private var flushing: [Token] = []
  /// Connections with another request, which had one in this turn already.
  private var toDriveNext: [Token] = []
  /// The number of this turn.
  private(set) var turnNumber: UInt64 = 0

  var stage = Stage.serving
  /// Was Martlet told to stop? A process that only gives way to its successor drains without it.
  var isLeaving = false
  var overload = OverloadStage.normal
  /// When listeners that ran into a lack of descriptors are watched again.
  var acceptDeadline = Deadline()
  var stageDeadline = Deadline()

  /// How far the worker is on its way out.
  enum Stage: Equatable {
    case serving
    /// Accepts nothing new; each connection gets one more answer at most.
    case draining
    case finished
  }

  /// Rounds of driving and flushing in one turn; a bulk transfer that has more to do goes on in the
  /// next turn, behind whoever became ready meanwhile.
  private static var roundsPerTurn: Int { 4 }
  /// Deadlines that fire in one turn; the others are due in the next. As many clients as there may
  /// be can connect within one tick of the timers.
  private static var deadlinesPerTurn: Int { 256 }

  init(
    index: Int, io: consuming IO, seed: UInt64, snapshot: Snapshot,
    inbox: Inbox<WorkerMessage>, peers: [Inbox<WorkerMessage>], metrics: WorkerMetrics,
    traffic: MetricsRegistry? = nil, admission: Admission = Admission(),
    reports: ExchangeReports = ExchangeReports(), events: EventLog, log: consuming AccessLog
  ) {
    self.index = index
    self.snapshot = snapshot
    settings = snapshot.settings
    generations = [Generation(id: 0, snapshot: snapshot)]
    timers = TimerWheel(now: io.now)
    checker = HealthChecker(now: io.now)
    self.io = io
    generator = RandomGenerator(seed: seed)
    self.inbox = inbox
    self.peers = peers
    self.metrics = metrics
    self.traffic = traffic ?? MetricsRegistry(workerCount: index + 1)
    self.admission = admission
    self.reports = reports
    self.events = events
    self.log = log
  }

  var now: Instant { io.now }

  // MARK: The loop

  /// One turn. It blocks until something is ready or due.
  mutating func turn() {
    let count = io.wait(until: waitsUntil)
    turnNumber += 1
    readInbox()
    // All events are noted before anything is driven, so that nobody leases an upstream connection
    // whose end is already known.
    for index in 0..<count { note(io.event(index)) }
    fireDeadlines()
    drive()
    driveHandshakes()
    flush()
    var rounds = 1
    while rounds < Self.roundsPerTurn && !(toDrive.isEmpty && toFlush.isEmpty) {
      drive()
      flush()
      rounds += 1
    }
    toDrive.append(contentsOf: toDriveNext)
    toDriveNext.removeAll(keepingCapacity: true)
  }

  /// Until when the next turn blocks if nothing becomes ready.
  var waitsUntil: Instant? {
    toDrive.isEmpty && toFlush.isEmpty && !handshakes.hasReady ? timers.nextDeadline : .origin
  }

  /// Nothing is left to do for a worker that was told to drain.
  var isFinished: Bool { stage == .finished }

  private mutating func note(_ event: ReadinessEvent) {
    guard let token = Token(packed: event.token) else { return }
    switch token.kind {
    case .listener:
      accept(from: Int(token.handle.index))
    case .downstream:
      guard downstreams.contains(token.handle) else { return }
      downstreams[token.handle].transport.note(event.readiness)
      queueToDrive(downstream: token.handle)
      if event.readiness.contains(.writable) && !downstreams[token.handle].transport.isFlushed {
        queueToFlush(downstream: token.handle)
      }
    case .upstream:
      guard upstreams.contains(token.handle) else { return }
      upstreams[token.handle].transport.note(event.readiness)
      queueToDrive(upstream: token.handle)
      if event.readiness.contains(.writable) && !upstreams[token.handle].transport.isFlushed {
        queueToFlush(upstream: token.handle)
      }
    case .probe:
      driveProbe(token.handle, event.readiness)
    case .exchange, .worker:
      break
    }
  }

  private mutating func drive() {
    swap(&toDrive, &driving)
    for token in driving {
      switch token.kind {
      case .downstream:
        guard downstreams.contains(token.handle) else { continue }
        if case .handshaking = downstreams[token.handle].phase {
          // It stays queued, in a queue of its own.
          handshakes.wait(token.handle)
          continue
        }
        downstreams[token.handle].isQueued = false
        driveDownstream(token.handle)
      case .upstream:
        guard upstreams.contains(token.handle) else { continue }
        upstreams[token.handle].isQueued = false
        driveUpstream(token.handle)
      case .exchange:
        takeTurn(token.handle)
      default:
        break
      }
    }
    driving.removeAll(keepingCapacity: true)
  }

  /// The share of handshakes in a turn; the others are driven in the next.
  private mutating func driveHandshakes() {
    var steps = 0
    while steps < HandshakeQueue.stepsPerTurn, let handle = handshakes.popReady() {
      guard downstreams.contains(handle) else { continue }
      downstreams[handle].isQueued = false
      driveDownstream(handle)
      steps += 1
    }
  }

  private mutating func flush() {
    swap(&toFlush, &flushing)
    for token in flushing {
      switch token.kind {
      case .downstream:
        guard downstreams.contains(token.handle) else { continue }
        downstreams[token.handle].isQueuedToFlush = false
        flushDownstream(token.handle)
      case .upstream:
        guard upstreams.contains(token.handle) else { continue }
        upstreams[token.handle].isQueuedToFlush = false
        flushUpstream(token.handle)
      default:
        break
      }
    }
    flushing.removeAll(keepingCapacity: true)
  }

  private mutating func fireDeadlines() {
    let now = io.now
    for _ in 0..<Self.deadlinesPerTurn {
      guard let payload = timers.next(at: now) else { return }
      guard let token = Token(packed: payload) else { continue }
      switch token.kind {
      case .downstream:
        guard downstreams.contains(token.handle),
          downstreams[token.handle].deadline.fired(at: now, payload: payload, in: &timers)
        else { continue }
        downstreamExpired(token.handle)
      case .upstream:
        guard upstreams.contains(token.handle),
          upstreams[token.handle].deadline.fired(at: now, payload: payload, in: &timers)
        else { continue }
        upstreamExpired(token.handle)
      case .exchange:
        guard downstreams.contains(token.handle),
          downstreams[token.handle].exchangeDeadline.fired(at: now, payload: payload, in: &timers),
          let exchange = downstreams[token.handle].exchange
        else { continue }
        exchangeExpired(exchange)
      case .probe:
        probeExpired(token.handle, payload: payload)
      case .worker:
        workerTimerFired(WorkerTimer(rawValue: token.handle.index), payload: payload)
      case .listener:
        break
      }
    }
  }

  private mutating func workerTimerFired(_ timer: WorkerTimer?, payload: UInt64) {
    switch timer {
    case .resumeAccepting:
      if acceptDeadline.fired(at: now, payload: payload, in: &timers) { resumeAccepting() }
    case .endStage:
      if stageDeadline.fired(at: now, payload: payload, in: &timers) { stageExpired() }
    case .checkHealth:
      healthTimerFired(payload: payload)
    case nil:
      break
    }
  }

  // MARK: Queues

  mutating func queueToDrive(downstream handle: Handle) {
    if downstreams[handle].isQueued { return }
    downstreams[handle].isQueued = true
    toDrive.append(Token(.downstream, handle))
  }

  /// In the next turn, behind everybody else.
  mutating func queueToDriveNext(downstream handle: Handle) {
    if downstreams[handle].isQueued { return }
    downstreams[handle].isQueued = true
    toDriveNext.append(Token(.downstream, handle))
  }

  mutating func queueToDrive(upstream handle: Handle) {
    if upstreams[handle].isQueued { return }
    upstreams[handle].isQueued = true
    toDrive.append(Token(.upstream, handle))
  }

  /// For an exchange that stands in line; it may be gone by then.
  mutating func queueTurn(exchange handle: Handle) { toDrive.append(Token(.exchange, handle)) }

  mutating func queueToFlush(downstream handle: Handle) {
    if downstreams[handle].isQueuedToFlush { return }
    downstreams[handle].isQueuedToFlush = true
    toFlush.append(Token(.downstream, handle))
  }

  mutating func queueToFlush(upstream handle: Handle) {
    if upstreams[handle].isQueuedToFlush { return }
    upstreams[handle].isQueuedToFlush = true
    toFlush.append(Token(.upstream, handle))
  }

  // MARK: Deadlines

  mutating func setDeadline(downstream handle: Handle, _ instant: Instant) {
    downstreams[handle].deadline.set(
      instant, payload: Token(.downstream, handle).packed, in: &timers)
  }

  mutating func setDeadline(upstream handle: Handle, _ instant: Instant) {
    upstreams[handle].deadline.set(instant, payload: Token(.upstream, handle).packed, in: &timers)
  }

  mutating func setDeadline(exchange handle: Handle, _ instant: Instant) {
    let downstream = exchanges[handle].downstream
    downstreams[downstream].exchangeDeadline.set(
      instant, payload: Token(.exchange, downstream).packed, in: &timers)
  }
}

/// The timers of a worker itself.
enum WorkerTimer: UInt32 {
  case resumeAccepting
  case endStage
  case checkHealth

  var payload: UInt64 { Token(.worker, Handle(index: rawValue, generation: 1)).packed }
}
