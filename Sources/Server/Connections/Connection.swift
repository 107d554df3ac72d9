// One connection, accepted or dialled: its transport, its peer, its deadline, and what is spoken on
// it (the wire).
//
// It moves bytes and reads messages, and decides nothing. What is done about a message is in the
// extensions of Worker.

import HTTP
import Primitives
import ProxyProtocol
import TLS

/// Identifies one stream: a request with its response on one connection.
struct StreamID: Equatable {
  let connection: Handle
  /// The identifier in HTTP/2. Always 0 in HTTP/1, which has one stream at a time.
  let stream: UInt32
}

struct Connection: ~Copyable {
  var transport: Transport
  var peer: Peer
  var wire: Wire
  var deadline = Deadline()
  /// How much of what was sent the client's kernel had acknowledged at the last check; nil before
  /// that, and while nothing waits for the client.
  var acknowledgedByteCount: UInt64?
  /// Whether it is in the worker's queue of connections to drive, to flush.
  var isQueued = false
  var isQueuedToFlush = false

  init(_ transport: consuming Transport, peer: Peer, wire: Wire) {
    self.transport = transport
    self.peer = peer
    self.wire = wire
  }

  /// Who is at the other end. It changes once, if the connection begins with a header of the PROXY
  /// protocol.
  enum Peer {
    case client(Client)
    case backend(Backend)
  }

  struct Client {
    /// Nil for a Unix socket.
    let address: IPAddress?
    let port: UInt16
    /// Whether a header of the PROXY protocol has named the address. Then the worker's
    /// `proxiedClients` has an entry.
    var isProxied = false
    /// What it was admitted as; nil if its connections aren't counted by address.
    let block: IPAddress?
    /// The worker's listener that accepted it.
    let listener: Int
    let protocols: ListenerProtocols
    let desync: DesyncMode
  }

  struct Backend {
    /// Of its record.
    let id: Int
    let keepAlive: KeepAlive
    /// From when on it takes no more requests, because of its age.
    let retiresAt: Instant
  }

  /// What is spoken on the connection. The codec of a wire is in a slab of its own, since a payload
  /// of an enum can't be changed in place.
  enum Wire {
    case opening(Opening)
    /// HTTP/1 with a client. `exchange` is nil between requests.
    case http1Client(codec: Handle, exchange: Handle?)
    /// HTTP/2 with a client. The codec knows the exchange of each stream.
    case http2Client(codec: Handle)
    case http1Backend(codec: Handle, Use)
    /// HTTP/2 with a backend. The codec knows the exchange of each stream.
    case http2Backend(codec: Handle)
    /// Bytes without messages, both ways, for one exchange: after a 101, or of a TCP connection.
    case raw(exchange: Handle)
    case ending(Ending)
  }

  /// What an HTTP/1 connection to a backend is used for.
  enum Use {
    case leased(exchange: Handle)
    /// In the worker's stock of idle connections, since an instant.
    case idle(since: Instant)
    /// Waits for the next request of the one client to which it belongs.
    case reserved
  }

  /// Before the first byte of a message.
  enum Opening {
    /// A client's, which begins with a header of the PROXY protocol. The peer is the proxy so far.
    case proxyHeader(ProxyHeaderParser, since: Instant)
    /// The TLS handshake with a client.
    case accepting(since: Instant)
    /// A client of a TCP listener: its pool is not known yet.
    case unrouted(HelloScan)
    /// The connect to a backend, and then the TLS handshake if there is one, for one exchange.
    case dialling(exchange: Handle)
  }

  /// After the last message. Only clients' connections have this phase.
  enum Ending {
    /// Closes once everything is sent, at once or after lingering.
    case flushing(thenLinger: Bool)
    /// Sending is shut down. What the client still sends is discarded, so that it can read its
    /// response before it sees a reset (RFC 9112 9.6).
    case lingering(Lingering)
    /// Resets the connection once the client's kernel has everything, or at this time.
    case resetting(until: Instant)
  }

  struct Lingering {
    let endsAt: Instant
    /// Since the last check.
    var discardedByteCount: UInt64 = 0
  }

  // Inlined, since a call borrows the connection from its slab by a coroutine.

  var isClient: Bool {
    @inline(__always) get { if case .client = peer { true } else { false } }
  }

  /// Must be called on a client's connection.
  var client: Client {
    @inline(__always) get {
      guard case .client(let client) = peer else { preconditionFailure("not a client") }
      return client
    }
  }

  /// Must be called on a connection to a backend.
  var backend: Backend {
    @inline(__always) get {
      guard case .backend(let backend) = peer else { preconditionFailure("not a backend") }
      return backend
    }
  }

  /// The exchange that it serves now; nil if it serves none, or several (HTTP/2).
  var exchange: Handle? {
    @inline(__always) get {
      switch wire {
      case .opening(.dialling(let exchange)), .raw(let exchange),
        .http1Backend(_, .leased(let exchange)):
        exchange
      case .http1Client(_, let exchange): exchange
      case .opening(.proxyHeader), .opening(.accepting), .opening(.unrouted), .http2Client,
        .http1Backend, .http2Backend, .ending:
        nil
      }
    }
  }

  /// Whether it waits for the next request of its client.
  var awaitsHead: Bool {
    if case .http1Client(_, exchange: nil) = wire { true } else { false }
  }

  /// Since when it has been idle; nil unless it is in the stock of idle upstream connections.
  var idleSince: Instant? {
    @inline(__always) get {
      if case .http1Backend(_, .idle(let since)) = wire { since } else { nil }
    }
  }

  var isAccepting: Bool {
    @inline(__always) get { if case .opening(.accepting) = wire { true } else { false } }
  }

  var awaitsProxyHeader: Bool {
    if case .opening(.proxyHeader) = wire { true } else { false }
  }

  /// Whether a step of it may be a step of a TLS handshake, with a client or with a backend.
  var isShakingHands: Bool {
    @inline(__always) get {
      switch wire {
      case .opening(.accepting): true
      case .opening(.dialling): transport.isOpening
      case .opening(.proxyHeader), .opening(.unrouted), .http1Client, .http2Client, .http1Backend,
        .http2Backend, .raw, .ending:
        false
      }
    }
  }

  /// Whether the last message was written.
  var isEnding: Bool {
    if case .ending = wire { true } else { false }
  }

  /// The method of a head that can't be read: a response to HEAD must have no body even then.
  var likelyMethod: Method {
    let start: StaticString = "HEAD "
    var bytes = transport.inbound.bytes
    // Empty lines before a request are ignored (RFC 9112 2.2).
    while bytes.count > 0 && (bytes[0] == 0x0D || bytes[0] == 0x0A) {
      bytes = bytes.extracting(1...)
    }
    if bytes.count < start.bytes.count { return .get }
    return bytes.extracting(first: start.bytes.count).equals(start.bytes) ? .head : .get
  }
}
