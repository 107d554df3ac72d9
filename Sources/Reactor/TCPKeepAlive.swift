// TCP keep-alive: the kernel probes idle peers to detect dead ones (RFC 9293 3.8.4). It also keeps
// the connection in the tables of firewalls and NAT devices.

import Glibc
public import Primitives

/// When the kernel probes an idle peer. The peer's kernel answers.
public struct TCPKeepAlive: Hashable, Sendable {
  /// Idle seconds before the first probe, and seconds between two probes.
  let idle: Int32
  let interval: Int32
  /// The connection fails after this number of probes without an answer.
  let count: Int32

  /// Times are rounded up to seconds.
  public init(idle: TimeSpan, interval: TimeSpan, count: Int) {
    self.idle = Self.seconds(idle)
    self.interval = Self.seconds(interval)
    self.count = Int32(clamping: max(1, count))
  }

  private static func seconds(_ span: TimeSpan) -> Int32 {
    Int32(clamping: max(1, (span.milliseconds + 999) / 1000))
  }

  /// Enables it for a socket, or disables it with nil. Does nothing if the socket isn't TCP.
  static func set(_ probes: TCPKeepAlive?, on descriptor: Int32) {
    guard setOption(descriptor, SOL_SOCKET, SO_KEEPALIVE, probes == nil ? 0 : 1) == 0,
      let probes
    else { return }
    let level = Int32(IPPROTO_TCP)
    _ = setOption(descriptor, level, TCP_KEEPIDLE, probes.idle)
    _ = setOption(descriptor, level, TCP_KEEPINTVL, probes.interval)
    _ = setOption(descriptor, level, TCP_KEEPCNT, probes.count)
  }
}
