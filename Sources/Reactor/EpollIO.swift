// The kernel from the worker's point of view: sockets and epoll.
//
// A connection is registered once, for all events and edge-triggered, so in steady state a request
// needs only recv, send and epoll_wait. Listeners are level-triggered. Every call is non-blocking;
// an interrupted one is repeated. An errno that outside events can cause is returned as a value;
// one that only a bug of ours can cause ends the process.
//
// It keeps no table of sockets: the code that registers a socket owns it and closes it.

import CLinux
import Glibc
public import Primitives

/// `InputOutput` on the sockets of this machine. Use it from one thread only.
@safe public struct EpollIO: InputOutput, ~Copyable {
  public private(set) var now: Instant
  public var exactNow: Instant { SystemClock.monotonic() }
  public var wallTime: UInt64 { SystemClock.wall() }

  private let epoll: Int32
  private let wakeUp: WakeUp
  private let events: UnsafeMutablePointer<epoll_event>
  private var eventCount = 0
  /// Whether the kernel splits an entry of several datagrams; false once it could not.
  var splitsDatagrams = true

  /// `wakeUp` ends a `wait` from another thread. Throws EMFILE, ENFILE, ENOMEM or ENOSPC.
  public init(wakeUp: WakeUp) throws(SystemError) {
    let epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
    if epoll < 0 { throw .last }
    // Edge-triggered, so that each signal is reported once without a read of the counter.
    let interest = EPOLLIN.rawValue | EPOLLET.rawValue
    if let error = control(epoll, EPOLL_CTL_ADD, wakeUp.descriptor, interest, Self.wakeUpToken) {
      _ = Glibc.close(epoll)
      throw error
    }
    self.epoll = epoll
    self.wakeUp = wakeUp
    unsafe events = .allocate(capacity: Self.eventMax)
    now = SystemClock.monotonic()
  }

  deinit {
    unsafe events.deallocate()
    _ = Glibc.close(epoll)
  }

  /// Reserved for the wake-up; it is never reported.
  public static let wakeUpToken = UInt64.max

  /// The maximum of events that one `wait` returns; the rest follow with the next.
  private static let eventMax = 256
  private static let everything =
    EPOLLIN.rawValue | EPOLLOUT.rawValue | EPOLLRDHUP.rawValue | EPOLLET.rawValue

  // MARK: Waiting

  /// The timeout starts at `now`, the beginning of this loop iteration, and is rounded up to a
  /// millisecond. So a deadline is late by the duration of the iteration, and never early.
  public mutating func wait(until deadline: Instant?) -> Int {
    let span = deadline.flatMap { $0 == .never ? nil : $0 - now }
    let count = unsafe epoll_wait(epoll, events, Int32(Self.eventMax), pollMilliseconds(span))
    now = SystemClock.monotonic()
    eventCount = Int(count)
    if count < 0 {
      let error = SystemError.last
      // Interrupted by a signal or a debugger: the loop just continues.
      if error.code != EINTR { fatalError("epoll_wait failed: \(error)") }
      eventCount = 0
    }
    for index in 0..<eventCount {
      if unsafe events[index].data.u64 != Self.wakeUpToken { continue }
      // Replaced by the last event: ready sockets have no order.
      eventCount -= 1
      unsafe events[index] = events[eventCount]
      break
    }
    return eventCount
  }

  public func event(_ index: Int) -> ReadinessEvent {
    precondition(index >= 0 && index < eventCount)
    let event = unsafe events[index]
    let reported = unsafe event.events
    var readiness = Readiness()
    if reported & EPOLLIN.rawValue != 0 { readiness.insert(.readable) }
    if reported & EPOLLOUT.rawValue != 0 { readiness.insert(.writable) }
    // A hang-up only means that both directions have ended, cleanly or not.
    if reported & (EPOLLRDHUP.rawValue | EPOLLHUP.rawValue) != 0 { readiness.insert(.peerFinished) }
    if reported & EPOLLERR.rawValue != 0 { readiness.insert(.failed) }
    return unsafe ReadinessEvent(token: event.data.u64, readiness: readiness)
  }

  // MARK: Registration

  public mutating func watch(listener: Socket, token: UInt64) {
    let interest = EPOLLIN.rawValue
    var error = control(epoll, EPOLL_CTL_ADD, listener.descriptor, interest, token)
    if error?.code == EEXIST {
      error = control(epoll, EPOLL_CTL_MOD, listener.descriptor, interest, token)
    }
    if let error { fatalError("a listener can't be watched: \(error)") }
  }

  /// The listener stays registered with no events, so that watching it again needs no memory: it is
  /// unwatched when resources are short.
  public mutating func unwatch(listener: Socket) {
    if let error = control(epoll, EPOLL_CTL_MOD, listener.descriptor, 0, 0) {
      fatalError("a listener can't be unwatched: \(error)")
    }
  }

  /// If the kernel has no memory for the registration, the socket is shut down. Then the next
  /// receive returns `finished`, or at the latest the connection's timeout closes it.
  public mutating func register(_ socket: Socket, token: UInt64) {
    if control(epoll, EPOLL_CTL_ADD, socket.descriptor, Self.everything, token) != nil {
      _ = shutdown(socket.descriptor, Int32(SHUT_RDWR))
    }
  }

  /// Events that are pending now are reported again, under the new token.
  public mutating func reregister(_ socket: Socket, token: UInt64) {
    if let error = control(epoll, EPOLL_CTL_MOD, socket.descriptor, Self.everything, token) {
      fatalError("a connection can't be registered anew: \(error)")
    }
  }

  /// Level-triggered, for datagrams that arrive and for errors.
  func watchDatagrams(_ descriptor: Int32, _ token: UInt64) -> SystemError? {
    control(epoll, EPOLL_CTL_ADD, descriptor, EPOLLIN.rawValue, token)
  }

  func forget(_ descriptor: Int32) { _ = control(epoll, EPOLL_CTL_DEL, descriptor, 0, 0) }

  // MARK: Connections

  public mutating func accept(from listener: Socket) -> AcceptResult {
    var peer = KernelAddress()
    while true {
      let descriptor = unsafe peer.withMutablePointer { address, length in
        unsafe clinux_accept4(listener.descriptor, address, length, socketFlags)
      }
      if descriptor >= 0 {
        return .accepted(Socket(descriptor: descriptor), peer: peer.socketAddress)
      }
      let error = SystemError.last
      switch error.code {
      case EAGAIN: return .wouldBlock
      case EINTR: continue
      case EMFILE, ENFILE, ENOBUFS, ENOMEM: return .exhausted
      default:
        error.trapIfOurs(in: "accept4")
        return .failed(error)
      }
    }
  }

  /// On a Unix socket whose queue is full, connect fails with EAGAIN: the kernel offers nothing to
  /// wait for.
  public mutating func connect(to address: SocketAddress, token: UInt64) -> ConnectResult {
    connect(to: address, from: nil, token: token)
  }

  public mutating func connect(
    to address: SocketAddress, from source: IPAddress?, token: UInt64
  ) -> ConnectResult {
    let target: KernelAddress
    do { target = try KernelAddress(address) } catch { return .failed(error) }

    let descriptor = openSocket(family: target.family)
    if descriptor < 0 { return .failed(.last) }
    if address.ip != nil { _ = setOption(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, 1) }
    if let source, let error = TransparentSocket.bind(descriptor, to: source) {
      _ = Glibc.close(descriptor)
      return .failed(error)
    }
    let result = unsafe target.withPointer { unsafe Glibc.connect(descriptor, $0, $1) }
    // An interrupted connect continues by itself, as every non-blocking one does.
    if result < 0, case let error = SystemError.last, error.code != EINPROGRESS, error.code != EINTR
    {
      _ = Glibc.close(descriptor)
      return .failed(error)
    }
    // Not earlier: before connect, epoll would report a hang-up.
    if let error = control(epoll, EPOLL_CTL_ADD, descriptor, Self.everything, token) {
      _ = Glibc.close(descriptor)
      return .failed(error)
    }
    return .started(Socket(descriptor: descriptor))
  }

  public mutating func keepAlive(_ socket: Socket, _ probes: TCPKeepAlive) {
    TCPKeepAlive.set(probes, on: socket.descriptor)
  }

  public mutating func connectionResult(of socket: Socket) -> SystemError? {
    var code: Int32 = 0
    var length = socklen_t(MemoryLayout<Int32>.size)
    if unsafe getsockopt(socket.descriptor, SOL_SOCKET, SO_ERROR, &code, &length) < 0 {
      SystemError.last.trapIfOurs(in: "getsockopt")
      return .last
    }
    return code == 0 ? nil : SystemError(code: code)
  }

  public func localAddress(of socket: Socket) -> SocketAddress? {
    var address = KernelAddress()
    let result = unsafe address.withMutablePointer { address, length in
      unsafe getsockname(socket.descriptor, address, length)
    }
    return result < 0 ? nil : address.socketAddress
  }

  public mutating func shutdownSending(_ socket: Socket) {
    // It fails when the connection is already gone, which the next receive reports.
    if shutdown(socket.descriptor, Int32(SHUT_WR)) < 0 {
      SystemError.last.trapIfOurs(in: "shutdown")
    }
  }

  public mutating func close(_ socket: Socket, reset: Bool) {
    if reset {
      var linger = linger(l_onoff: 1, l_linger: 0)
      _ = unsafe setsockopt(
        socket.descriptor, SOL_SOCKET, SO_LINGER, &linger,
        socklen_t(MemoryLayout<Glibc.linger>.size))
    }
    // Even if close returns an error, the descriptor is free afterwards.
    if Glibc.close(socket.descriptor) < 0 { SystemError.last.trapIfOurs(in: "close") }
  }

  // MARK: Bytes

  public mutating func receive(
    from socket: Socket, into output: inout OutputSpan<UInt8>
  ) -> ReceiveResult {
    precondition(output.freeCapacity > 0, "no room: end of stream couldn't be told from it")
    return unsafe output.withUnsafeMutableBufferPointer { buffer, count in
      let start = unsafe buffer.baseAddress.unsafelyUnwrapped + count
      while true {
        let received = unsafe recv(socket.descriptor, start, buffer.count - count, 0)
        if received > 0 {
          count += received
          return .received(received)
        }
        if received == 0 { return .finished }
        let error = SystemError.last
        switch error.code {
        case EAGAIN: return .wouldBlock
        case EINTR: continue
        default:
          error.trapIfOurs(in: "recv")
          return .failed(error)
        }
      }
    }
  }

  public mutating func isQuiet(_ socket: Socket) -> Bool {
    var byte: UInt8 = 0
    while true {
      let peeked = unsafe recv(socket.descriptor, &byte, 1, peekFlags)
      if peeked >= 0 { return false }
      let error = SystemError.last
      if error.code == EINTR { continue }
      error.trapIfOurs(in: "recv")
      return error.code == EAGAIN
    }
  }

  public mutating func send(
    to socket: Socket, _ first: Span<UInt8>, _ second: Span<UInt8>
  ) -> SendResult {
    precondition(first.count + second.count > 0, "nothing to send")
    while true {
      let sent =
        if second.isEmpty {
          sendOne(socket, first)
        } else if first.isEmpty {
          sendOne(socket, second)
        } else {
          sendBoth(socket, first, second)
        }
      if sent >= 0 { return .sent(sent) }
      let error = SystemError.last
      switch error.code {
      case EAGAIN: return .wouldBlock
      case EINTR: continue
      default:
        error.trapIfOurs(in: "send")
        return .failed(error)
      }
    }
  }

  /// 0 when the kernel doesn't know: then everything counts as received, in the client's favour.
  public mutating func unacknowledgedByteCount(of socket: Socket) -> Int {
    var count: Int32 = 0
    // SIOCOUTQ, which has the number of TIOCOUTQ.
    let result = unsafe ioctl(socket.descriptor, UInt(TIOCOUTQ), &count)
    return result < 0 ? 0 : Int(count)
  }

  private func sendOne(_ socket: Socket, _ bytes: Span<UInt8>) -> Int {
    unsafe bytes.withUnsafeBufferPointer { buffer in
      unsafe Glibc.send(socket.descriptor, buffer.baseAddress, buffer.count, sendFlags)
    }
  }

  private func sendBoth(_ socket: Socket, _ first: Span<UInt8>, _ second: Span<UInt8>) -> Int {
    unsafe first.withUnsafeBufferPointer { first in
      unsafe second.withUnsafeBufferPointer { second in
        // The kernel only reads through these pointers, although iovec declares them mutable.
        let parts = unsafe (
          iovec(
            iov_base: UnsafeMutableRawPointer(mutating: first.baseAddress), iov_len: first.count),
          iovec(
            iov_base: UnsafeMutableRawPointer(mutating: second.baseAddress), iov_len: second.count)
        )
        return unsafe withUnsafeBytes(of: parts) { parts in
          var message = unsafe msghdr()
          unsafe message.msg_iov = UnsafeMutablePointer(
            mutating: parts.baseAddress?.assumingMemoryBound(to: iovec.self))
          unsafe message.msg_iovlen = 2
          return unsafe sendmsg(socket.descriptor, &message, sendFlags)
        }
      }
    }
  }
}

/// One epoll_ctl call; nil is success.
private func control(
  _ epoll: Int32, _ operation: Int32, _ descriptor: Int32, _ interest: UInt32, _ token: UInt64
) -> SystemError? {
  var event = unsafe epoll_event(events: interest, data: epoll_data_t(u64: token))
  if unsafe epoll_ctl(epoll, operation, descriptor, &event) == 0 { return nil }
  let error = SystemError.last
  error.trapIfOurs(in: "epoll_ctl")
  return error
}

private let socketFlags = Int32(SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
private let sendFlags = Int32(MSG_NOSIGNAL)
private let peekFlags = Int32(MSG_PEEK | MSG_DONTWAIT)

/// A new stream socket: non-blocking, and close-on-exec. Negative on failure.
func openSocket(family: Int32) -> Int32 {
  socket(family, Int32(SOCK_STREAM.rawValue) | socketFlags, 0)
}

func setOption(_ descriptor: Int32, _ level: Int32, _ option: Int32, _ value: Int32) -> Int32 {
  var value = value
  return unsafe setsockopt(
    descriptor, level, option, &value, socklen_t(MemoryLayout<Int32>.size))
}
