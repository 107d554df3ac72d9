// The TLS handshake of a client's connection, and what is sent to one that doesn't speak TLS.

import HTTP
import Metrics
import Primitives
import Proxy
import Reactor
import TLS

extension Worker where IO: ~Copyable {
  mutating func handshakeEnded() {
    handshakes.ended()
    metrics.subtract(.handshakesActive)
  }

  mutating func acceptHandshake(_ handle: Handle) {
    let arrival = receive(handle)
    if connections[handle].transport.isEstablished {
      countHandshake(of: handle)
      handshakeEnded()
      if connections[handle].client.protocols.tcp { return beginTCP(handle) }
      beginHTTP(handle)
      switch arrival {
      case .bytes: drive(handle)
      case .nothing:
        // The last flight may contain tickets only; a client that waits for nothing else would
        // hang if they were taken for a blocked connection, so they are flushed like a response.
        connections[handle].transport.settle(&buffers)
      case .finished, .failed: close(handle)
      }
      return
    }
    switch arrival {
    case .bytes, .nothing:
      break
    case .finished:
      countFailedHandshake(nil)
      close(handle)
    case .failed(let failure):
      countFailedHandshake(failure)
      if case .tls(let failure) = failure { noteFailedHandshake(handle, failure.kind) }
      // A page is no answer to a client that speaks another protocol by TCP.
      let speaksHTTP = !connections[handle].client.protocols.tcp
      if failure == .tls(.plaintextHTTP) && speaksHTTP {
        answerPlaintext(handle)
      } else {
        close(handle)
      }
    }
  }

  /// A connection of a TCP listener has no exchange before its handshake is done, and so no line in
  /// the access log.
  /// `kind` is nil if it took too long.
  mutating func noteFailedHandshake(_ handle: Handle, _ kind: TLSFailure.Kind?) {
    let client = connections[handle].client
    guard client.protocols.tcp else { return }
    events.handshakeFailed(
      kind, from: .ip(client.address ?? .loopbackV4, port: client.port),
      listener: listeners[client.listener].name, at: now)
  }

  /// The connection can carry requests now.
  private mutating func beginHTTP(_ handle: Handle) {
    let protocols = connections[handle].client.protocols
    let isHTTP2 = connections[handle].transport.isHTTP2 && protocols.http2
    isHTTP2 ? beginHTTP2(handle) : beginHTTP1(handle)
  }

  mutating func beginHTTP1(_ handle: Handle) {
    let codec = http1Clients.insert(
      HTTP1Client(limits: settings.headLimits, desync: connections[handle].client.desync))
    change(handle, to: .http1Client(codec: codec, exchange: nil))
    setDeadline(handle, now + settings.headTimeout)
  }

  /// A client sent plain HTTP to the TLS port: says so in a way that people can read.
  private mutating func answerPlaintext(_ handle: Handle) {
    handshakeEnded()
    beginHTTP1(handle)
    connections[handle].transport.abandonTLS(&buffers)
    refuseHead(
      handle, .plaintextOnTLSPort, failure: .malformedHead, reason: "plaintext-http")
  }

  /// The session failed, and the alert with the reason must still be sent (RFC 8446 6.2). So only
  /// the sending side ends, and for some time received bytes are discarded: closing a socket with
  /// unread bytes would reset the connection, and a reset discards the alert.
  mutating func sendAlert(_ handle: Handle) {
    if connections[handle].isAccepting { handshakeEnded() }
    connections[handle].transport.endSession(&buffers)
    change(handle, to: .ending(.flushing(thenLinger: true)))
    setDeadline(handle, now + lingerTime)
    queueToFlush(handle)
  }
}
