// The seam between a worker and the outside world.
//
// Everything a worker asks of the kernel is here, and it asks nothing elsewhere: what this protocol
// leaves out, the simulation can't test. Two things stand behind it: EpollIO (this target) and the
// simulated network (Tests/ServerTests), under which the same Server code runs on virtual time.
//
// Readiness is edge-triggered for connections: a token is reported when something changed, and
// whoever got `wouldBlock` or a short count waits for the next report. Listeners are reported as
// long as a connection waits, so that a worker may leave some for its next turn.

public import Primitives

/// A descriptor as its owner knows it. Closing is explicit (`close`), exactly once, by the owner.
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
  /// The peer has finished sending, perhaps behind bytes that are still to be read. Whoever sees
  /// it reads until `finished`, also after a short count.
  public static let peerFinished = Readiness(rawValue: 4)
  /// The connection broke, or the dial failed; the next receive or `connectionResult` says how.
  public static let failed = Readiness(rawValue: 8)
}

public struct ReadinessEvent: Sendable {
  /// What the socket was registered with.
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
  /// No descriptor or no memory is left: the connection still waits. Pause the listener.
  case exhausted
  /// This one connection failed (it was reset while it waited, for example); try the next.
  case failed(SystemError)
}

public enum ConnectResult: Sendable {
  /// Under way, or already there: `writable` is reported either way.
  case started(Socket)
  case failed(SystemError)
}

public enum ReceiveResult: Equatable, Sendable {
  /// So many bytes were appended, at least one.
  case received(Int)
  case wouldBlock
  /// The peer has finished sending.
  case finished
  case failed(SystemError)
}

public enum SendResult: Equatable, Sendable {
  /// So many bytes were taken, at least one; fewer than offered means that the socket is full.
  case sent(Int)
  case wouldBlock
  case failed(SystemError)
}

extension InputOutput where Self: ~Copyable {
  /// Where time only passes between turns.
  public var exactNow: Instant { now }
}

/// What a worker needs of the outside world.
public protocol InputOutput: ~Copyable {
  /// The time sampled when `wait` last returned; it doesn't move within a loop turn.
  var now: Instant { get }
  /// The time at this very moment, which costs a system call or nearly one: for what begins and
  /// ends within one turn.
  var exactNow: Instant { get }

  /// Blocks until something is ready, the deadline is reached or another thread wakes the worker,
  /// and returns how many events there are. A deadline in the past polls.
  mutating func wait(until deadline: Instant?) -> Int
  /// One of the events of the last `wait`.
  func event(_ index: Int) -> ReadinessEvent

  /// Registers a listening socket.
  mutating func watch(listener: Socket, token: UInt64)
  /// Stops reports about a listener, until it is watched again.
  mutating func unwatch(listener: Socket)

  /// Takes the next waiting connection: non-blocking and not yet registered.
  mutating func accept(from listener: Socket) -> AcceptResult
  /// Registers an accepted connection for every kind of readiness.
  mutating func register(_ socket: Socket, token: UInt64)
  /// Dials, and registers the socket for every kind of readiness.
  mutating func connect(to address: SocketAddress, token: UInt64) -> ConnectResult
  /// Has the kernel find out by probes whether a quiet peer is still there.
  mutating func keepAlive(_ socket: Socket, _ probes: TCPKeepAlive)
  /// Changes the token under which a connection is reported.
  mutating func reregister(_ socket: Socket, token: UInt64)
  /// How a dial ended, asked after the first report: nil when it is connected.
  mutating func connectionResult(of socket: Socket) -> SystemError?

  /// Appends what has arrived to `output`, as far as it fits; `output` must have room.
  mutating func receive(from socket: Socket, into output: inout OutputSpan<UInt8>)
    -> ReceiveResult
  /// Whether an idle connection is still open with nothing to read, asked without taking bytes.
  mutating func isQuiet(_ socket: Socket) -> Bool
  /// Offers `first` and then `second` in one call; either may be empty, not both.
  mutating func send(to socket: Socket, _ first: Span<UInt8>, _ second: Span<UInt8>) -> SendResult
  /// How many bytes of those that `send` took the peer's kernel has not acknowledged.
  mutating func unacknowledgedByteCount(of socket: Socket) -> Int
  /// Ends the sending direction; what was taken before is still delivered.
  mutating func shutdownSending(_ socket: Socket)
  /// Closes and forgets the socket. With `reset`, the peer sees a reset instead of an orderly end.
  mutating func close(_ socket: Socket, reset: Bool)
}
