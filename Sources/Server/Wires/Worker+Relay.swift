// Bytes both ways after a 101 (RFC 9110 15.2.2): both connections have the raw wire. A side with
// HTTP/2 keeps its wire: the bytes are DATA of its stream (RFC 8441 5).
//
// When the client has finished and everything it sent was forwarded, the backend's connection is
// half-closed, and the backend may continue to send. When the backend has finished, the relay ends.
// It also ends when nothing has moved either way for the relay's idle timeout, which is the
// deadline of the exchange.

import Balancing
import Metrics
import Primitives
import Proxy
import Reactor

extension Worker where IO: ~Copyable {
  /// The 101 or 200 was written to the client: from here on both sides relay.
  mutating func startRelay(_ handle: Handle) {
    let client = exchanges[handle].client
    guard let backend = backend(of: handle) else { return }
    if client.stream == 0 { change(client.connection, to: .raw(exchange: handle)) }
    if exchanges[handle].attempt.stream == 0 { change(backend, to: .raw(exchange: handle)) }
    perform(exchanges[handle].machine.handle(.relayStarted, at: now), handle)
    allowStalls(handle)
    queueSource(handle, .request)
    queueSource(handle, .response)
    // A client that has finished already is passed on as such when the backend is flushed.
    if exchanges[handle].body.clientHasFinished { finishSending(handle) }
  }

  /// The client sends no more.
  private mutating func finishSending(_ handle: Handle) {
    guard let backend = backend(of: handle) else { return }
    let stream = exchanges[handle].attempt.stream
    if stream != 0 { return writeEnd(to: StreamID(connection: backend, stream: stream)) }
    connections[backend].transport.writeCloseNotify(&buffers)
    queueToFlush(backend)
  }

  mutating func driveRelay(_ handle: Handle, from source: Handle) {
    if exchanges[handle].machine.isConnection {
      driveTCP(handle, from: source)
    } else if connections[source].isClient {
      relayRequest(handle, from: source)
    } else {
      relayResponse(handle, from: source)
    }
  }

  mutating func relayRequest(_ handle: Handle, from client: Handle) {
    if exchanges[handle].body.clientHasFinished { return updateDeadline(handle) }
    switch pump(handle, .request, from: client) {
    case .paused:
      break
    case .finished, .ended:
      exchanges[handle].body.clientHasFinished = true
      // The backend's connection is half-closed once it has taken everything.
      finishSending(handle)
      updateDeadline(handle)
    case .failed, .malformed, .interrupted:
      endRelay(handle)
    }
  }

  mutating func relayResponse(_ handle: Handle, from backend: Handle) {
    switch pump(handle, .response, from: backend) {
    case .paused:
      break
    // The client of HTTP/2 must not see an orderly end (RFC 8441 5). One of HTTP/1 gets what has
    // come, and its connection ends in any case.
    case .failed where exchanges[handle].client.stream != 0: attemptFailed(handle, .relayReset)
    case .finished, .failed, .ended, .malformed, .interrupted:
      // Clients don't expect a half-closed connection, with or without TLS.
      endRelay(handle)
    }
  }

  /// Ends both sides; what was received from the backend is still flushed to the client.
  mutating func endRelay(_ handle: Handle) {
    let client = exchanges[handle].client
    exchanges[handle].response.persists = false
    writeEnd(to: client)
    endAttempt(handle, .broken)
    perform(exchanges[handle].machine.handle(.responseEnded, at: now), handle)
    if client.stream == 0 { connections[client.connection].transport.inbound.removeAll() }
  }
}
