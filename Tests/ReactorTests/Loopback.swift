// Shared by the tests of this target: an EpollIO with one listener on loopback, and blocking steps
// with a generous timeout, so that a missing event fails a test instead of hanging it.

import Glibc
import Primitives
import Reactor

let loopback = SocketAddress.ip(.loopbackV4, port: 0)

/// A class, because `#expect` can't split calls on a value that can't be copied.
final class Loopback {
  static let listenerToken: UInt64 = 1
  static let clientToken: UInt64 = 2
  static let serverToken: UInt64 = 3

  var io: EpollIO
  let listener: Socket
  let address: SocketAddress

  init() throws {
    io = try EpollIO(wakeUp: WakeUp())
    let listening = try ListeningSockets.open(on: loopback, count: 1)
    listener = listening.sockets[0]
    address = listening.address
    io.watch(listener: listener, token: Self.listenerToken)
  }

  deinit { _ = Glibc.close(listener.descriptor) }

  /// The next report about `token`, or nothing after 5 seconds.
  func next(_ token: UInt64) -> Readiness {
    let limit = SystemClock.monotonic() + .seconds(5)
    while SystemClock.monotonic() < limit {
      let count = io.wait(until: limit)
      for index in 0..<count where io.event(index).token == token {
        return io.event(index).readiness
      }
    }
    return []
  }

  /// The number of reports about `token` now.
  func reportCount(_ token: UInt64) -> Int {
    let count = io.wait(until: io.now)
    return (0..<count).count { io.event($0).token == token }
  }

  /// A connection with both its ends, and no pending reports.
  func pair() throws -> (client: Socket, server: Socket) {
    guard case .started(let client) = io.connect(to: address, token: Self.clientToken) else {
      throw Failure.noConnection
    }
    _ = next(Self.listenerToken)
    guard case .accepted(let server, _) = io.accept(from: listener) else {
      throw Failure.noConnection
    }
    io.register(server, token: Self.serverToken)
    _ = io.wait(until: io.now)
    return (client, server)
  }

  func send(_ text: String, to socket: Socket) -> SendResult {
    let bytes = Array(text.utf8)
    return io.send(to: socket, bytes.span, Span())
  }

  func receive(from socket: Socket, atMost room: Int = 1024) -> (ReceiveResult, String) {
    var bytes = [UInt8](repeating: 0, count: room)
    var result = ReceiveResult.wouldBlock
    let text = bytes.withUnsafeMutableBufferPointer { buffer in
      var output = OutputSpan(buffer: buffer, initializedCount: 0)
      result = io.receive(from: socket, into: &output)
      return String(decoding: output.span)
    }
    return (result, text)
  }

  func send(_ first: [UInt8], _ second: [UInt8], to socket: Socket) -> SendResult {
    io.send(to: socket, first.span, second.span)
  }

  var now: Instant { io.now }
  func wait(until deadline: Instant) -> Int { io.wait(until: deadline) }
  func isQuiet(_ socket: Socket) -> Bool { io.isQuiet(socket) }
  func connectionResult(of socket: Socket) -> SystemError? { io.connectionResult(of: socket) }

  enum Failure: Error { case noConnection }
}

func option(_ socket: Socket, _ level: Int32, _ name: Int32) -> Int32 {
  var value: Int32 = -1
  var length = socklen_t(MemoryLayout<Int32>.size)
  _ = getsockopt(socket.descriptor, level, name, &value, &length)
  return value
}
