// Notifies systemd, or another process that set NOTIFY_SOCKET, of the state of this process:
// sd_notify(3) in a few lines, without a library for one datagram.
//
// The variable stays in the environment: a process that takes over notifies the same socket.

import Glibc
import Primitives

public struct ServiceNotifier: Sendable {
  public enum State: Sendable {
    /// The process serves, for the first time or again.
    case ready
    /// The process reloads its configuration.
    case reloading
    /// The process is shutting down.
    case stopping
    /// Another process has taken over.
    case replaced(by: Int32)

    func text(at now: Instant) -> String {
      switch self {
      case .ready: "READY=1"
      case .reloading: "RELOADING=1\nMONOTONIC_USEC=\(now.nanoseconds / 1000)"
      case .stopping: "STOPPING=1"
      case .replaced(let process): "MAINPID=\(process)\nREADY=1"
      }
    }
  }

  private let path: [UInt8]

  /// Nil when NOTIFY_SOCKET isn't set.
  public init?() {
    guard let name = Environment["NOTIFY_SOCKET"] else { return nil }
    path = Array(name.utf8)
    guard path.first == UInt8(ascii: "/") || path.first == UInt8(ascii: "@") else { return nil }
  }

  /// Sends the notification. Throws when no process listens there.
  public func notify(_ state: State) throws(SystemError) {
    let descriptor = socket(
      AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    if descriptor < 0 { throw .last }
    defer { _ = close(descriptor) }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let room = MemoryLayout.size(ofValue: address.sun_path)
    if path.count >= room { throw .nameTooLong }
    unsafe withUnsafeMutableBytes(of: &address.sun_path) { bytes in
      unsafe bytes.copyBytes(from: path)
      // "@" stands for the leading NUL of an abstract socket name.
      if path.first == UInt8(ascii: "@") { unsafe bytes[0] = 0 }
    }
    let length = socklen_t(MemoryLayout<sockaddr_un>.size - room + path.count)
    let message = Array(state.text(at: SystemClock.monotonic()).utf8)
    let sent = unsafe withUnsafePointer(to: &address) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
        unsafe sendto(
          descriptor, message, message.count, Int32(MSG_NOSIGNAL), pointer, length)
      }
    }
    if sent < 0 { throw .last }
  }
}
