// One worker: a thread with its event loop, listening sockets, connections and timers.
//
// On the request path workers share only the atomics of Balancing and the queue of a full pool;
// when a connection begins or ends they also share Admission. Everything else reaches a worker
// through its inbox. docs/ARCHITECTURE.md has the steps of a turn. Code that has work for another
// connection queues that connection (the exception is in Worker+HTTP2Streams). How connections are
// driven is in the extensions (Connections, Wires, Exchanges, Upstreams).
//
// A ~Copyable struct, generic over the I/O, since the compiler specialises this form completely.
// Its methods are mutating even where they only read, since the compiler copies the whole struct to
// lend it (docs/decisions/0002).

import Balancing
import HTTP
import HTTP1
import HTTP2
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
  /// The counters per listener, route, pool and backend.
  let traffic: MetricsRegistry
  /// Who may connect; shared by all workers.
  let admission: Admission
  /// Where notable exchanges are reported, for the admin interface.
  let reports: ExchangeReports
  /// How many more may be reported within this second.
  var reportAllowance = ReportAllowance()
  /// The process log: changes of health, exhaustion.
  let events: EventLog
  var log: AccessLog
  /// The backends that were used.
  var backends = BackendTable()

  /// The configuration in force, and its limits at hand.
  var snapshot: Snapshot
  var settings: Settings

  var listeners: [WorkerListener] = []
  /// Accepted and dialled ones.
  var connections = Slab<Connection>()
  /// How many of them are clients'.
  var clientCount = 0
  /// The codecs of HTTP/1 connections.
  var http1Clients = Slab<HTTP1Client>()
  var http1Backends = Slab<HTTP1Backend>()
  /// Those of clients' HTTP/2 connections, what they share, and frames in work.
  var http2Sessions = Slab<HTTP2Session>()
  var http2 = HTTP2Workspace()
  var frames = ByteBuffer()
  /// Heads that wait for room at their clients; hardly ever any.
  var keptHeads = Slab<KeptHead>(capacity: 8)
  var stock = UpstreamStock()
  var logins = Logins()
  var ownConnections = OwnConnections()
  /// Clients whose connections began with a header of the PROXY protocol, by connection.
  var proxiedClients: [Handle: ProxiedClient] = [:]
  var exchanges = Slab<ActiveExchange>()
  /// Of UDP listeners.
  var udp = Datagrams()
  /// The exchanges that a fault delays, and the bodies that a stage transforms.
  var delayed: Set<Handle> = []
  var transforms = Slab<BodyTransform>()
  /// By the slot of the exchange. The timer of a slot stays when its exchange ends, and the next
  /// exchange moves it, so that the timer wheel isn't changed for each.
  var exchangeDeadlines: [Deadline] = []
  /// When calls of gRPC must have ended, likewise. Empty before the first one.
  var callDeadlines: [CallDeadline] = []
  /// Nil before the first call of gRPC.
  var calls: CallTable?
  /// The configurations that exchanges still run under, the one in force last.
  var generations: [Generation] = []
  var checker: HealthChecker

  /// Messages in work. Each is used within one step of one connection, so one of each is enough.
  var responseHead = ResponseHead()
  var trailers = FieldBlock()
  /// Text in work, likewise.
  var scratch = ByteBuffer(capacity: 16 * 1024)
  /// The heads of active exchanges, spare ones, and the one that the next request is parsed into.
  var heads = Slab<RequestHead>()
  var spareHeads: [Handle] = []
  var nextHead: Handle
  var dates = DateClock()
  var spans = SpanText()

  /// TLS handshakes, which take turns behind everything else.
  var handshakes = HandshakeQueue()

  /// Connections to drive and to flush in this turn, in order.
  private var toDrive: [Token] = []
  private var toFlush: [Handle] = []
  /// The lists above while they are processed; kept, so that they are not allocated again.
  private var driving: [Token] = []
  private var flushing: [Handle] = []
  /// Connections with another request, which had one in this turn already.
  private var toDriveNext: [Token] = []
  /// The number of this turn.
  private(set) var turnNumber: UInt64 = 0

  var lifecycle = Lifecycle.serving
  /// Whether Martlet was told to stop. A process that is replaced by an upgrade drains without it.
  var isLeaving = false
  var overload = OverloadStage.normal
  /// When listeners are watched again after descriptors ran out.
  var acceptDeadline = Deadline()
  var drainDeadline = Deadline()

  /// How far the worker has come with its shutdown.
  enum Lifecycle: Equatable {
    case serving
    /// Accepts nothing new; each connection gets one more answer at most.
    case draining
    case finished
  }

  /// Rounds of driving and flushing in one turn. A bulk transfer with more to do continues in the
  /// next turn, behind the connections that have become ready by then.
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
    nextHead = heads.insert(RequestHead())
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
    // All events are noted before anything is driven, so that no attempt leases an upstream
    // connection whose end is already known.
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
    endIfDrained()
  }

  /// Until when the next turn blocks if nothing becomes ready.
  var waitsUntil: Instant? {
    toDrive.isEmpty && toFlush.isEmpty && !handshakes.hasReady ? timers.nextDeadline : .origin
  }

  /// Nothing is left to do for a worker that was told to drain.
  var isFinished: Bool { lifecycle == .finished }

  private mutating func note(_ event: ReadinessEvent) {
    guard let token = Token(packed: event.token) else { return }
    switch token.kind {
    case .listener:
      accept(from: Int(token.handle.index))
    case .connection:
      guard connections.contains(token.handle) else { return }
      connections[token.handle].transport.note(event.readiness)
      queueToDrive(token.handle)
      if event.readiness.contains(.writable) && !connections[token.handle].transport.isFlushed {
        queueToFlush(token.handle)
      }
    case .probe:
      driveProbe(token.handle, event.readiness)
    case .session:
      receiveReplies(token.handle)
    case .udpListener:
      receiveDatagrams(from: Int(token.handle.index))
    case .exchange, .worker:
      break
    }
  }

  private mutating func drive() {
    swap(&toDrive, &driving)
    for token in driving {
      switch token.kind {
      case .connection:
        guard connections.contains(token.handle) else { continue }
        if connections[token.handle].isShakingHands {
          // It stays queued, in a queue for handshakes.
          handshakes.wait(token.handle)
          continue
        }
        connections[token.handle].isQueued = false
        drive(token.handle)
      case .exchange:
        takeTurn(token.handle)
      case .session:
        flushReplies()
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
      guard connections.contains(handle) else { continue }
      connections[handle].isQueued = false
      drive(handle)
      steps += 1
    }
  }

  private mutating func flush() {
    swap(&toFlush, &flushing)
    for handle in flushing {
      guard connections.contains(handle) else { continue }
      connections[handle].isQueuedToFlush = false
      flush(handle)
    }
    flushing.removeAll(keepingCapacity: true)
  }

  private mutating func fireDeadlines() {
    let now = io.now
    for _ in 0..<Self.deadlinesPerTurn {
      guard let payload = timers.next(at: now) else { return }
      guard let token = Token(packed: payload) else { continue }
      switch token.kind {
      case .connection:
        guard connections.contains(token.handle),
          connections[token.handle].deadline.fired(at: now, payload: payload, in: &timers)
        else { continue }
        expired(token.handle)
      case .exchange:
        let slot = Int(token.handle.index)
        guard exchangeDeadlines[slot].fired(at: now, payload: payload, in: &timers),
          let exchange = exchanges.handle(at: slot)
        else { continue }
        exchangeExpired(exchange)
      case .probe:
        probeExpired(token.handle, payload: payload)
      case .worker:
        workerTimerFired(WorkerTimer(rawValue: token.handle.index), payload: payload)
      case .session:
        sessionExpired(token.handle, payload: payload)
      case .listener, .udpListener:
        break
      }
    }
  }

  private mutating func workerTimerFired(_ timer: WorkerTimer?, payload: UInt64) {
    switch timer {
    case .resumeAccepting:
      if acceptDeadline.fired(at: now, payload: payload, in: &timers) { resumeAccepting() }
    case .endDrain:
      if drainDeadline.fired(at: now, payload: payload, in: &timers) { drainExpired() }
    case .checkHealth:
      healthTimerFired(payload: payload)
    case nil:
      break
    }
  }

  // MARK: Looking up

  // Functions, since an optional that is bound directly from a slab costs a call of its accessor.

  /// The connection that the exchange's attempt holds; nil between attempts.
  @inline(__always)
  mutating func backend(of exchange: Handle) -> Handle? {
    let backend = exchanges[exchange].attempt.backend
    return backend
  }

  /// The exchange that the connection serves now; nil if it serves none.
  @inline(__always)
  mutating func exchange(on connection: Handle) -> Handle? {
    let exchange = connections[connection].exchange
    return exchange
  }

  // MARK: Queues

  mutating func queueToDrive(_ connection: Handle) {
    if connections[connection].isQueued { return }
    connections[connection].isQueued = true
    toDrive.append(Token(.connection, connection))
  }

  /// In the next turn, behind all others.
  mutating func queueToDriveNext(_ connection: Handle) {
    if connections[connection].isQueued { return }
    connections[connection].isQueued = true
    toDriveNext.append(Token(.connection, connection))
  }

  /// For an exchange that waits in the queue of a pool; it may be gone by then.
  mutating func queueTurn(exchange handle: Handle) { toDrive.append(Token(.exchange, handle)) }

  /// Sends the replies of UDP sessions behind the events of this turn.
  mutating func queueReplies() { toDrive.append(Token(.session, .none)) }

  mutating func queueToFlush(_ connection: Handle) {
    if connections[connection].isQueuedToFlush { return }
    connections[connection].isQueuedToFlush = true
    toFlush.append(connection)
  }

  // MARK: Deadlines

  mutating func setDeadline(_ connection: Handle, _ instant: Instant) {
    connections[connection].deadline.set(
      instant, payload: Token(.connection, connection).packed, in: &timers)
  }

  mutating func setDeadline(exchange handle: Handle, _ instant: Instant) {
    let slot = Int(handle.index)
    while exchangeDeadlines.count <= slot { exchangeDeadlines.append(Deadline()) }
    exchangeDeadlines[slot].set(
      instant, payload: Token(.exchange, Handle(index: handle.index, generation: 0)).packed,
      in: &timers)
  }
}

/// The timers of a worker itself.
enum WorkerTimer: UInt32 {
  case resumeAccepting
  case endDrain
  case checkHealth

  var payload: UInt64 { Token(.worker, Handle(index: rawValue, generation: 1)).packed }
}
