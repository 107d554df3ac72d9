// One exchange of a worker: the decisions (Proxy.Exchange), the request as it was read, what an
// attempt holds, and how far the bodies have come. Connections are named by handle.

import Balancing
import HTTP
import HTTP1
import Primitives
import Proxy

/// Why a retry was not made that the rules for the failure allow.
enum MissedRetry {
  /// The retry budget of the pool was used up.
  case budgetSpent
  /// The body was too long to be kept for it (`retry.replay-size`).
  case bodyNotKept

  /// As the access log spells it.
  var name: StaticString {
    switch self {
    case .budgetSpent: "budget-spent"
    case .bodyNotKept: "body-not-kept"
    }
  }
}

struct ActiveExchange: ~Copyable {
  /// Decides what happens next.
  var machine: Exchange
  /// The client's stream, on which the response goes out.
  let client: StreamID
  /// The configuration under which it began, and ends.
  let generation: Int
  /// The head of the request, in the worker's pool. A codec filled it, it is edited before the
  /// first attempt, and each attempt encodes it for its wire. If no head could be read, it has a
  /// method only. Of a TCP connection it has at most the name that the client's TLS asks for, and
  /// is `.none` without one.
  let head: Handle
  var request: RequestFacts
  /// Nil if no route was selected.
  private(set) var route: RouteSettings?
  /// What sees its messages: the route's stages, or those of requests without one.
  private(set) var stages: StagePlan
  /// Nil if no backend is asked.
  private(set) var target: Target?
  /// The members that were tried.
  var selection = Selection()
  var attempt = AttemptProgress()
  var queue = QueueProgress()
  var body = RequestBody()
  var response: ResponseProgress
  /// What was wrong with a message, or which limit of time was over, if that ended the exchange.
  var malformation: StaticString?

  @inline(__always)
  init(
    _ machine: consuming Exchange, client: StreamID, generation: Int,
    head: Handle, request: RequestFacts, stages: StagePlan
  ) {
    self.machine = machine
    self.client = client
    self.generation = generation
    self.head = head
    self.request = request
    self.stages = stages
    response = ResponseProgress(persists: request.persists)
  }

  /// The pool that is asked, and its place in the configuration.
  struct Target {
    let pool: PoolSettings
    let index: Int
  }

  /// The timeouts of the pool that is asked. Before that, only a stage of the request waits, and
  /// has its own.
  var limits: ExchangeLimits {
    @inline(__always) get { target?.pool.limits ?? .unlimited }
  }

  /// The pool that is asked; the exchange must be forwarded.
  var pool: PoolSettings {
    @inline(__always) get {
      guard let target else { preconditionFailure("not forwarded") }
      return target.pool
    }
  }

  var poolIndex: Int {
    @inline(__always) get {
      guard let target else { preconditionFailure("not forwarded") }
      return target.index
    }
  }

  mutating func select(_ route: RouteSettings) {
    self.route = route
    stages = route.stages
  }

  mutating func forward(to pool: PoolSettings, index: Int) {
    target = Target(pool: pool, index: index)
  }

  /// Whether there is a connection to write the request to.
  var isOpen: Bool { @inline(__always) get { machine.isConnected && attempt.backend != nil } }

  // MARK: Parts

  /// What is known about the request besides its head.
  struct RequestFacts {
    /// Whether a head could be read.
    let hasHead: Bool
    /// Whether the client means to use its connection again.
    let persists: Bool
    /// Which errors a strict listener would have refused.
    let tolerated: ToleratedReasons
    /// The client behind trusted proxies; nil for a Unix socket.
    var client: IPAddress?
    /// Whether the client uses TLS, to us or to a trusted proxy.
    var isTLS: Bool
    /// Nil if it isn't traced.
    var trace: TraceContext?
    /// The protocol that the client asks to switch to, in the head; empty for none.
    var upgrade = Slice.empty
    /// Whether it is a call of gRPC.
    var isGRPC = false
    /// The form, if the client uses gRPC-Web and the call is translated.
    var grpcWeb: GRPCWeb?
    /// Whether it has credentials that a backend binds to its connection.
    var logsIn = false
    /// Whether its trailers may be forwarded.
    var keepsTrailers = true
    /// Whether the client accepts trailers in the response (TE).
    var acceptsTrailers = false
  }

  /// The current attempt.
  struct AttemptProgress: ~Copyable {
    /// The selected member, with one of its slots.
    var pick: Pick?
    private var lease: Lease?
    /// The connection of the lease, beside it since a look into a value that can't be copied costs
    /// a call.
    private(set) var backend: Handle?
    /// Its stream there: 0 in HTTP/1, and before the stream begins.
    private(set) var stream: UInt32 = 0
    /// The upstream connection over which the client is logged in at this pool, and which alone may
    /// be used; `.none` for nearly all.
    var login = Handle.none
    /// Whether the current attempt was charged to the retry budget.
    var owesBudget = false
    /// How often a backend said that it has not begun the request (RFC 9113 8.7).
    var unprocessedCount = 0
    /// Why a retry was not made; nil if none was missed.
    var missedRetry: MissedRetry?

    /// The attempt must have no lease yet.
    mutating func begin(_ lease: consuming Lease) {
      precondition(backend == nil)
      backend = lease.connection
      self.lease = consume lease
    }

    /// Takes the lease, to end it.
    mutating func takeLease() -> Lease? {
      backend = nil
      stream = 0
      return lease.take()
    }

    /// The stream begins; the connection will have sent `count` bytes before it.
    mutating func open(_ stream: UInt32, sentBefore count: UInt64) {
      self.stream = stream
      lease?.open(stream, sentBefore: count)
    }

    /// What the connection has sent so far was its TLS handshake.
    mutating func noteHandshake(sent count: UInt64) { lease?.sentBefore = count }

    /// Bytes that the connection had sent when the lease began; nil without a lease.
    var sentBefore: UInt64? {
      switch lease {
      case .some(let lease): lease.sentBefore
      case .none: nil
      }
    }
  }

  /// Waiting in the queue of the pool.
  struct QueueProgress {
    /// Nil while it doesn't wait.
    var since: Instant?
    /// In total, so far.
    var time = TimeSpan.zero
  }

  /// What HTTP/2 has received of a body, and the pump has not taken yet. The stream's window limits
  /// it. In HTTP/1, such bytes are in the transport.
  struct Arrived: ~Copyable {
    var bytes = ByteBuffer()
    /// Whether the message ends after these bytes.
    var hasEnded = false

    mutating func append(
      _ source: borrowing ByteBuffer, _ range: Range<Int>, _ buffers: inout BufferPool
    ) {
      let count = bytes.count + range.count
      if !bytes.hasStorage {
        bytes = count <= BufferPool.smallByteCount ? buffers.takeSmall() : buffers.takeLarge()
      } else if count > bytes.capacity {
        buffers.enlarge(&bytes)
      }
      bytes.append(source, range)
    }

    mutating func clear(_ buffers: inout BufferPool) {
      hasEnded = false
      bytes.removeAll()
      buffers.settle(&bytes)
    }

    /// The next piece, of at most `limit` bytes.
    func nextPiece(limit: Int) -> BodyStep {
      if !bytes.isEmpty && limit > 0 { return .piece(skip: 0, count: min(limit, bytes.count)) }
      return hasEnded && bytes.isEmpty ? .end(consumed: 0) : .needsInput(consumed: 0)
    }
  }

  /// The body of the request.
  struct RequestBody: ~Copyable {
    var arrived = Arrived()
    /// `.none` if it goes on as it is.
    var transform = Handle.none
    /// Whether it is in the list of its client's connection, to be driven.
    var isQueued = false
    /// In HTTP/2: whether it waits for the backend's window, or for its turn.
    var isBlocked = false
    /// As it is announced to a backend.
    var length = BodyLength.none
    /// Decoded bytes so far.
    var byteCount: UInt64 = 0
    /// How many of them the current attempt has been given.
    var givenByteCount: UInt64 = 0
    /// Whether the current attempt has been given the end, too.
    var isEndGiven = false
    /// Decoded bytes that another attempt would need, from the first one on.
    var kept = ByteBuffer()
    /// Whether `kept` has everything that arrived.
    var keepsAll = true
    /// Nil for none.
    var trailers: FieldBlock?
    var hasNoTrailers: Bool {
      switch trailers {
      case .some: false
      case .none: true
      }
    }
    /// Whether the attempt's request ends with what it was given. In HTTP/2, trailers may follow a
    /// body of a stated length, so only the end of the client's stream says so.
    func hasGivenAll(byStream: Bool) -> Bool {
      guard length == .known(givenByteCount) else { return false }
      return !byStream || arrived.hasEnded && hasNoTrailers
    }
    /// Whether the client has finished sending, and waits for the response or the rest of a relay.
    var clientHasFinished = false
  }

  /// The response, on its way to the client.
  struct ResponseProgress: ~Copyable {
    var arrived = Arrived()
    /// `.none` if it goes on as it is.
    var transform = Handle.none
    /// Whether it is in the list of its backend's connection, to be driven.
    var isQueued = false
    /// The head, if it came by HTTP/2 and waits for room at the client.
    var keptHead = Handle.none
    /// Those that came with the end in HTTP/2.
    var trailers: KeptTrailers?
    var hasNoTrailers: Bool {
      switch trailers {
      case .some: false
      case .none: true
      }
    }
    /// 0 before its head.
    var status: UInt16 = 0
    /// The result of a gRPC call.
    var grpcStatus: UInt8?
    /// Of its body.
    var length = BodyLength.none
    var byteCount: UInt64 = 0
    /// Whether the body ends with what has been taken. In HTTP/2, trailers may follow a body of a
    /// stated length, so only the end of the stream says so.
    func hasAll(byStream: Bool) -> Bool {
      guard length == .known(byteCount) else { return false }
      return !byStream || arrived.hasEnded && hasNoTrailers
    }
    /// Whether the client's connection will be used again.
    var persists: Bool
    /// Which errors of the backend were tolerated.
    var tolerated = ToleratedReasons()
    /// Whether its trailers may be sent to the client.
    var keepsTrailers = true
    /// Whether the backend allows another request on its connection.
    var backendPersists = false
    /// The last call stopped because the client's stream had no room.
    var isBlocked = false
    /// On a TCP connection: whether the backend has finished sending.
    var backendHasFinished = false
    /// The backend has reset a TCP connection, and the client may still take what came before.
    var backendHasReset = false
    /// In HTTP/2: how much of the body had been sent when the client's pace was checked last.
    var checkedByteCount: UInt64?

    init(persists: Bool) { self.persists = persists }
  }
}
