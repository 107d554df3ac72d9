// Sends the lines of a log as syslog messages (RFC 5424), one datagram per line (RFC 5426 for UDP).
//
// A message is `<30>1 TIME HOST martlet PID MSGID - LINE`: facility daemon, MSGID `access` or
// `process`. A line that is too long for a datagram is truncated. Sending never waits: if there is
// no room for a line, the caller decides what happens to it.

import Primitives
import Reactor

struct SyslogWriter: ~Copyable, Sendable {
  /// The severities of RFC 5424 6.2.1 that are used.
  enum Severity: UInt64 {
    case error = 3
    case warning, notice, info, debug
  }

  /// Below the limit of UDP (65,507 bytes).
  static let messageMax = 65_000
  private static let daemon: UInt64 = 3

  let address: SocketAddress
  /// Nil before the first message, and after a failure.
  private var socket: DatagramSocket?
  /// ` HOST martlet PID MSGID - `
  private let origin: [UInt8]

  /// `id` is the MSGID. It connects with the first message, so that a receiver that is restarted
  /// at that moment stops no start and no reload.
  init(to address: SocketAddress, id: String) {
    self.address = address
    // RFC 5424 6: printable ASCII, at most 255 characters.
    let host = Array(MachineName.current.utf8.filter { $0 > 0x20 && $0 < 0x7F }.prefix(255))
    origin =
      [0x20] + (host.isEmpty ? [0x2D] : host)
      + Array(" martlet \(CurrentProcess.id) \(id) - ".utf8)
  }

  /// Sends a line without a line end; false if there is no room for it now. Connects first if it
  /// is not connected, and again to a receiver that was restarted.
  mutating func send(
    _ line: Span<UInt8>, _ severity: Severity = .info
  ) throws(SystemError) -> Bool {
    var message = ByteBuffer(capacity: origin.count + 64 + line.count)
    var clock = LogClock()
    message.append("<")
    message.append(decimal: Self.daemon * 8 + severity.rawValue)
    message.append(">1 ")
    clock.writeTime(SystemClock.wall(), to: &message)
    message.append(origin.span)
    message.append(line.extracting(first: min(line.count, Self.messageMax - message.count)))
    do throws(SystemError) {
      if let socket { return try socket.send(message.bytes) }
    } catch {
      // The receiver was restarted, perhaps.
      socket = nil
    }
    let fresh = try DatagramSocket(to: address)
    socket = fresh
    return try fresh.send(message.bytes)
  }
}
