// One session of a UDP listener: a client's address and port, and the member that gets its
// datagrams by a socket of their own. So what arrives on the socket is from this member, and for
// this client.

import Balancing
import Primitives
import Proxy
import Reactor

/// What a session is found by.
struct SessionKey: Hashable {
  /// The worker's listener.
  var listener: Int32
  /// The member, if each datagram selects one; -1 otherwise.
  var backend: Int32 = -1
  /// Who has sent the datagrams.
  var peerPort: UInt16
  var peer: IPAddress
  /// Which address of the listener they were sent to, if it has several.
  var local: IPAddress?
  /// The client, if a header of the PROXY protocol in each datagram names it.
  var proxied: ProxiedEnds?

  /// The ends of the datagrams at the proxy.
  struct ProxiedEnds: Hashable {
    var client: IPAddress
    var clientPort: UInt16
    var destination: IPAddress
    var destinationPort: UInt16
  }

  var peerAddress: SocketAddress { .ip(peer, port: peerPort) }
  var client: SocketAddress {
    proxied.map { .ip($0.client, port: $0.clientPort) } ?? peerAddress
  }
}

struct Session: ~Copyable {
  let key: SessionKey
  let rules: SessionRules
  /// Of the member.
  var pool: PoolSettings
  /// What the client is counted as; nil if it isn't counted by address.
  let block: IPAddress?
  let startedAt: Instant

  /// The member in use; nil after a failure, until the next datagram.
  var pick: Pick?
  /// Of `pick`, at hand.
  var record: BackendRecord?
  /// Of `pick`.
  var socket: Socket?
  var pickedAt: Instant
  /// Since when the member is to be left, if it is.
  var retriedAt = Instant.origin
  var attempts = AttemptList()
  /// How many attempts are kept for the log: while all members refuse, each datagram makes some.
  static let attemptMax = 16
  /// The backend that has failed last; -1 if none has since it was replaced.
  var failedBackend = -1
  /// Whether the member has replied.
  var hasReply = false
  /// Whether the kernel joins datagrams from the member.
  var joins = false
  /// What begins each datagram to the member.
  var header: [UInt8] = []

  var received = Traffic()
  var sent = Traffic()
  /// Replies that are still to come before the session ends, if replies end it.
  var awaitedCount = 0
  var failure: ExchangeFailure?
  var deadline = Deadline()
  /// The places among the sessions of the listener, and of the client.
  var order = SessionLinks()
  var orderOfClient = SessionLinks()
  /// In the table of clients.
  var clientEntry = Handle.none

  struct Traffic: Equatable {
    var datagramCount: UInt64 = 0
    var byteCount: UInt64 = 0

    mutating func add(_ datagrams: Int, _ bytes: Int) {
      datagramCount += UInt64(datagrams)
      byteCount += UInt64(bytes)
    }
  }

  init(
    _ key: SessionKey, _ rules: SessionRules, _ pool: PoolSettings, block: IPAddress?,
    at now: Instant
  ) {
    self.key = key
    self.rules = rules
    self.pool = pool
    self.block = block
    startedAt = now
    pickedAt = now
  }

  var listener: Int { Int(key.listener) }
}
