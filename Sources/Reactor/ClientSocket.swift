// A connection of a command to a running process. It blocks, so it is for commands alone.

import CLinux
import Glibc
public import Primitives

public final class ClientSocket: Sendable {
  private let descriptor: Int32

  /// Throws ENOENT or ECONNREFUSED when nobody listens there, EACCES and the like.
  public init(to address: SocketAddress) throws(SystemError) {
    let target = try KernelAddress(address)
    descriptor = socket(target.family, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    if descriptor < 0 { throw .last }
    if unsafe target.withPointer({ unsafe connect(descriptor, $0, $1) }) < 0 {
      let error = SystemError.last
      _ = Glibc.close(descriptor)
      throw error
    }
  }

  deinit { _ = Glibc.close(descriptor) }

  public func send(_ bytes: [UInt8]) throws(SystemError) {
    var sent = 0
    while sent < bytes.count {
      let count = unsafe bytes.withUnsafeBytes { buffer in
        unsafe Glibc.send(
          descriptor, buffer.baseAddress?.advanced(by: sent), buffer.count - sent,
          Int32(MSG_NOSIGNAL))
      }
      if count < 0 {
        if errno == EINTR { continue }
        throw .last
      }
      sent += count
    }
  }

  /// What comes next; empty at the end.
  public func receive() throws(SystemError) -> [UInt8] {
    var chunk = [UInt8](repeating: 0, count: 64 * 1024)
    while true {
      let count = unsafe chunk.withUnsafeMutableBytes {
        unsafe recv(descriptor, $0.baseAddress, $0.count, 0)
      }
      if count >= 0 { return Array(chunk[..<count]) }
      if errno != EINTR { throw .last }
    }
  }
}
