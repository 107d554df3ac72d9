// A connected datagram socket: to a syslog receiver on this machine (Unix) or on another one (UDP).
//
// A send never waits. A Unix socket may have no room at the moment. A UDP receiver sends no reply,
// but its machine reports if no process listens on the port.

import Glibc
public import Primitives

public final class DatagramSocket: Sendable {
  private let descriptor: Int32

  /// Throws ENOENT or ECONNREFUSED if no process receives on a Unix path, EACCES and similar
  /// errors.
  public init(to address: SocketAddress) throws(SystemError) {
    let target = try KernelAddress(address)
    let kind = SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue
    descriptor = socket(target.family, Int32(kind), 0)
    if descriptor < 0 { throw .last }
    if unsafe target.withPointer({ unsafe connect(descriptor, $0, $1) }) != 0 { throw .last }
  }

  deinit { if descriptor >= 0 { _ = close(descriptor) } }

  /// Sends one datagram; false when the receiver has no room for it now.
  public func send(_ bytes: Span<UInt8>) throws(SystemError) -> Bool {
    while true {
      let count = unsafe bytes.withUnsafeBufferPointer { buffer in
        unsafe Glibc.send(descriptor, buffer.baseAddress, buffer.count, Int32(MSG_NOSIGNAL))
      }
      if count >= 0 { return true }
      let error = SystemError.last
      switch error.code {
      case EINTR: continue
      case EAGAIN, ENOBUFS: return false
      default: throw error
      }
    }
  }
}

/// The host name of this machine; `-` if it has none.
public enum MachineName {
  public static var current: String {
    var name = [CChar](repeating: 0, count: 256)
    guard unsafe gethostname(&name, name.count - 1) == 0 else { return "-" }
    let bytes = name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
    return bytes.isEmpty ? "-" : String(decoding: bytes, as: UTF8.self)
  }
}
