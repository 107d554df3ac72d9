// The interface between a worker and the outside world.
//
// All system calls of a worker go through here: the simulation can't test what this protocol leaves
// out. There are two implementations: EpollIO (this target), and the simulated network
// (Tests/ServerTests), which runs the same Server code on virtual time.
//
// Readiness is edge-triggered for connections: a token is reported when something has changed.
// After `wouldBlock` or a short count, wait for the next report. A listener is reported as long as
// a connection waits, so a worker may leave some for its next iteration.

public import Primitives

/// A descriptor. Its owner closes it explicitly (`close`), exactly once.
public struct Socket: Hashable, Sendable {
  public let descriptor: Int32
  public init(descriptor: Int32) { self.descriptor = descriptor }
}

/// What changed about a socket.
public struct Readiness: OptionSet, Sendable {
  public let rawValue: UInt8
  public init(rawValue: UInt8) { self.rawValue = rawValue }

  public static let readable = Readiness(rawValue: 1)
  public static let writable = Readiness(rawValue: 2)
  /// The peer has finished sending, possibly after bytes that are still to be read. Read until
  /// `finished`, also after a short count.
  public static let peerFinished = Readiness(rawValue: 4)
  /// The connection or the connect failed; the next receive or `connectionResult` returns the
  /// error.
  public static let failed = Readiness(rawValue: 8)
}

public struct ReadinessEvent: Sendable {
  /// The token with which the socket was registered.
  public let token: UInt64
  public let readiness: Readiness
  public init(token: UInt64, readiness: Readiness) {
    self.token = token
    self.readiness = readiness
  }
}

public enum AcceptResult: Sendable {
  case accepted(Socket, peer: SocketAddress)
  case wouldBlock
  /// No descriptor or memory is left: the connection still waits. Pause the listener.
  case exhausted
  /// This connection failed (it was reset while it waited, for example); try the next.
  case failed(SystemError)
}

public enum ConnectResult: Sendable {
  /// In progress, or already connected: `writable` is reported in both cases.
  case started(Socket)
  case failed(SystemError)
}

public enum ReceiveResult: Equatable, Sendable {
  /// This number of bytes was appended, at least one.
  case received(Int)
  case wouldBlock
  /// The peer has finished sending.
  case finished
  case failed(SystemError)
}

public enum SendResult: Equatable, Sendable {
  /// This number of bytes was accepted, at least one. Fewer than offered means that the socket is
  /// full.
  case sent(Int)
  case wouldBlock
  case failed(SystemError)
}

extension InputOutput where Self: ~Copyable {
  /// For implementations in which time only changes between turns.
  public var exactNow: Instant { now }
  /// For implementations whose sockets have no addresses.
  public func localAddress(of socket: Socket) -> SocketAddress? { nil }
  /// For implementations whose sockets have no addresses.
  public mutating func connect(
    to address: SocketAddress, from source: IPAddress?, token: UInt64
  ) -> ConnectResult {
    connect(to: address, token: token)
  }
  public mutating func connectDatagrams(
    to address: SocketAddress, from source: IPAddress?, token: UInt64
  ) -> ConnectResult {
    connectDatagrams(to: address, token: token)
  }
  // For implementations without datagrams.
  public mutating func connectDatagrams(
    to address: SocketAddress, token: UInt64
  ) -> ConnectResult { .failed(.familyNotSupported) }
  public mutating func adopt(datagrams socket: Socket, token: UInt64) -> SystemError? {
    .familyNotSupported
  }
  public mutating func release(datagrams socket: Socket) {}
  public mutating func joinDatagrams(_ socket: Socket) {}
  public mutating func receiveDatagrams(
    from socket: Socket, into batch: inout DatagramBatch
  ) -> ReceiveResult { .wouldBlock }
  public mutating func sendDatagrams(
    to socket: Socket, _ batch: borrowing DatagramBatch, _ range: Range<Int>
  ) -> SendResult { .wouldBlock }
  /// A date that depends on `now` only.
  public var wallTime: UInt64 { 1_767_225_600_000_000_000 + UInt64(max(0, now.nanoseconds)) }
}

/// What a worker needs of the outside world.
public protocol InputOutput: ~Copyable {
  /// The time when `wait` last returned; it doesn't change within a loop iteration.
  var now: Instant { get }
  /// The current time, which costs up to one system call. It is for durations that begin and end
  /// within one turn.
  var exactNow: Instant { get }
  /// The wall clock in nanoseconds since 1970, for dates in messages.
  var wallTime: UInt64 { get }

  /// Blocks until a socket is ready, the deadline has passed or another thread wakes the worker,
  /// and returns the number of events. A deadline in the past polls.
  mutating func wait(until deadline: Instant?) -> Int
  /// One of the events of the last `wait`.
  func event(_ index: Int) -> ReadinessEvent

  /// Registers a listening socket.
  mutating func watch(listener: Socket, token: UInt64)
  /// Stops reports about a listener until it is watched again.
  mutating func unwatch(listener: Socket)

  /// Accepts the next waiting connection: non-blocking and not yet registered.
  mutating func accept(from listener: Socket) -> AcceptResult
  /// Registers an accepted connection for every kind of readiness.
  mutating func register(_ socket: Socket, token: UInt64)
  /// Connects, and registers the socket for every kind of readiness.
  mutating func connect(to address: SocketAddress, token: UInt64) -> ConnectResult
  /// The same from an address of another machine, of the same family (TransparentSocket); nil for
  /// an own address.
  mutating func connect(
    to address: SocketAddress, from source: IPAddress?, token: UInt64
  ) -> ConnectResult
  /// Enables TCP keep-alive probes, so that the kernel detects a dead peer.
  mutating func keepAlive(_ socket: Socket, _ probes: TCPKeepAlive)
  /// Changes the token of a connection.
  mutating func reregister(_ socket: Socket, token: UInt64)
  /// The result of a connect, after the first report: nil when it is connected.
  mutating func connectionResult(of socket: Socket) -> SystemError?

  /// The address of our end of a connection; nil if it can't be told.
  func localAddress(of socket: Socket) -> SocketAddress?

  /// Appends received bytes to `output`, as many as fit; `output` must have room.
  mutating func receive(from socket: Socket, into output: inout OutputSpan<UInt8>)
    -> ReceiveResult
  /// Whether an idle connection is still open with nothing to read, without consuming bytes.
  mutating func isQuiet(_ socket: Socket) -> Bool
  /// Sends `first` and then `second` in one call; one of them may be empty.
  mutating func send(to socket: Socket, _ first: Span<UInt8>, _ second: Span<UInt8>) -> SendResult
  /// How many of the sent bytes the peer's kernel has not acknowledged.
  mutating func unacknowledgedByteCount(of socket: Socket) -> Int
  /// Ends the sending direction; earlier bytes are still delivered.
  mutating func shutdownSending(_ socket: Socket)
  // Datagrams. Their sockets are reported as long as a datagram or an error waits. In the results,
  // an entry of a batch counts as one.

  /// A UDP socket for the datagrams of this address alone, which is reported when one arrives, or
  /// when the address refuses (ICMP).
  mutating func connectDatagrams(to address: SocketAddress, token: UInt64) -> ConnectResult
  /// The same from an address of another machine, as for `connect`.
  mutating func connectDatagrams(
    to address: SocketAddress, from source: IPAddress?, token: UInt64
  ) -> ConnectResult
  /// Reports such a socket, which another process has opened.
  mutating func adopt(datagrams socket: Socket, token: UInt64) -> SystemError?
  /// Ends the reports about such a socket or a listener, which stays open for another process.
  mutating func release(datagrams socket: Socket)
  /// Lets the kernel join datagrams of one sender into one entry, where it can.
  mutating func joinDatagrams(_ socket: Socket)
  /// Adds what has arrived to the batch, which must have room.
  mutating func receiveDatagrams(
    from socket: Socket, into batch: inout DatagramBatch
  ) -> ReceiveResult
  /// Sends these entries of the batch, in order, up to the first that can't be sent. An error says
  /// why the first entry of the range was not sent; a refusal (ICMP) is about an earlier one.
  mutating func sendDatagrams(
    to socket: Socket, _ batch: borrowing DatagramBatch, _ range: Range<Int>
  ) -> SendResult

  /// Closes the socket. With `reset`, the peer gets a reset and not a clean end.
  mutating func close(_ socket: Socket, reset: Bool)
}
