// How a client's connection ends: the rest is flushed, and a client that may still be sending is
// given time to read its response (lingering).

import Metrics
import Primitives
import Proxy
import Reactor

extension Worker where IO: ~Copyable {
  /// A client that still sends after its last response is checked once in this time.
  private static var lingerPause: TimeSpan { .seconds(5) }

  /// Short while connections are needed for others, or while the worker drains.
  var lingerTime: TimeSpan { isCalm ? settings.lingerTime : .seconds(1) }
  private var isCalm: Bool { lifecycle == .serving && overload == .normal }

  /// The response is written and the connection ends after it. `linger`: the client may still be
  /// sending.
  mutating func finishWriting(_ handle: Handle, linger: Bool) {
    // close_notify is written before the last flush, so that both are one send.
    connections[handle].transport.writeCloseNotify(&buffers)
    sendRest(handle, linger: linger)
  }

  /// What is written is sent, and the connection ends after it.
  mutating func sendRest(_ handle: Handle, linger: Bool) {
    let lingers = linger || connections[handle].transport.hasAlert
    change(handle, to: .ending(.flushing(thenLinger: lingers)))
    var time = settings.bodyIdleTimeout
    if let rate = settings.minimumRate {
      time = time + rate.time(for: UInt64(connections[handle].transport.heldByteCount))
    }
    setDeadline(handle, now + time)
    queueToFlush(handle)
  }

  mutating func beginLingering(_ handle: Handle) {
    io.shutdownSending(connections[handle].transport.socket)
    connections[handle].transport.inbound.removeAll()
    setLingering(handle, Connection.Lingering(endsAt: now + lingerTime))
    queueToDrive(handle)
  }

  private mutating func setLingering(_ handle: Handle, _ lingering: Connection.Lingering) {
    connections[handle].wire = .ending(.lingering(lingering))
    setDeadline(handle, min(lingering.endsAt, now + Self.lingerPause))
  }

  /// Discards a block of what the client sends after its last response. Many clients write
  /// everything before they read. Closing would reset the connection, and the client would lose the
  /// response that says why (RFC 9112 9.6).
  mutating func linger(_ handle: Handle, _ lingering: Connection.Lingering) {
    switch connections[handle].transport.discard(&io, &buffers) {
    case .received(let count):
      var lingering = lingering
      lingering.discardedByteCount += UInt64(count)
      connections[handle].wire = .ending(.lingering(lingering))
      // One block, then the other connections.
      if connections[handle].transport.isReadable { queueToDrive(handle) }
    case .wouldBlock:
      break
    case .finished, .failed:
      close(handle)
    }
  }

  /// The time of a client that lingers is up, or it is checked: it may continue if it has sent
  /// steadily.
  mutating func lingeringExpired(_ handle: Handle, _ lingering: Connection.Lingering) {
    let rate = UInt64(max(0, settings.minimumRate?.bytesPerSecond ?? 0))
    let least = max(1, rate * UInt64(Self.lingerPause.milliseconds) / 1000)
    if now >= lingering.endsAt || lingering.discardedByteCount < least || !isCalm {
      // Without a reset, so that what the kernel still has to send reaches a slow client. If the
      // client still sends, the kernel resets the connection by itself.
      return close(handle)
    }
    setLingering(handle, Connection.Lingering(endsAt: lingering.endsAt))
  }
}
