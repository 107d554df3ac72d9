// A blocking connection to one server, for commands and for threads that do nothing else.

import CLinux
import Glibc
public import Primitives

public final class ClientSocket: Sendable {
  private let descriptor: Int32
  private let limit: TimeSpan?

  /// Throws ENOENT or ECONNREFUSED when no process listens there, EACCES and the like. It and every
  /// later call throw ETIMEDOUT when the server makes no progress for longer than `limit`.
  public init(to address: SocketAddress, atMost limit: TimeSpan? = nil) throws(SystemError) {
    let target = try KernelAddress(address)
    let kind = SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue
    descriptor = socket(target.family, Int32(kind), 0)
    self.limit = limit
    if descriptor < 0 { throw .last }
    if unsafe target.withPointer({ unsafe connect(descriptor, $0, $1) }) == 0 { return }
    guard errno == EINPROGRESS else { throw .last }
    try wait(for: POLLOUT)
    var code: Int32 = 0
    var size = socklen_t(MemoryLayout<Int32>.size)
    _ = unsafe getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &size)
    if code != 0 { throw SystemError(code: code) }
  }

  deinit { if descriptor >= 0 { _ = Glibc.close(descriptor) } }

  public func send(_ bytes: [UInt8]) throws(SystemError) {
    var sent = 0
    while sent < bytes.count {
      let count = unsafe bytes.withUnsafeBytes { buffer in
        unsafe Glibc.send(
          descriptor, buffer.baseAddress?.advanced(by: sent), buffer.count - sent,
          Int32(MSG_NOSIGNAL))
      }
      if count < 0 { try retry(after: POLLOUT) } else { sent += count }
    }
  }

  /// The next bytes; empty at the end.
  public func receive() throws(SystemError) -> [UInt8] {
    var chunk = [UInt8](repeating: 0, count: 64 * 1024)
    while true {
      let count = unsafe chunk.withUnsafeMutableBytes {
        unsafe recv(descriptor, $0.baseAddress, $0.count, 0)
      }
      if count >= 0 { return Array(chunk[..<count]) }
      try retry(after: POLLIN)
    }
  }

  /// Returns when the call that has just failed can be repeated.
  private func retry(after event: Int32) throws(SystemError) {
    switch errno {
    case EINTR: break
    case EAGAIN: try wait(for: event)
    default: throw .last
    }
  }

  private func wait(for event: Int32) throws(SystemError) {
    var request = pollfd(fd: descriptor, events: Int16(event), revents: 0)
    let time = limit.map { Int32(clamping: $0.milliseconds) } ?? -1
    let count = unsafe poll(&request, 1, time)
    if count == 0 { throw .timedOut }
    if count < 0 && errno != EINTR { throw .last }
  }
}
