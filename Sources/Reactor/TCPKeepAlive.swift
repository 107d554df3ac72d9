// Probes by which the kernel finds out that a quiet peer is gone (RFC 9293 3.8.4), and by which
// whatever stands between keeps the connection in its tables.

import Glibc
public import Primitives

/// When the kernel asks a peer of whom nothing is heard. The peer's own kernel answers.
public struct TCPKeepAlive: Hashable, Sendable {
  /// Seconds of quiet before the first probe, and between two of them.
  let idle: Int32
  let interval: Int32
  /// Probes without an answer after which the connection has failed.
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

  /// Turns them on for a socket, or off with nil. A socket that isn't TCP stays as it is.
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
