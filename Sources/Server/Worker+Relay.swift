// Bytes both ways after a 101 (RFC 9110 15.2.2): no HTTP any more, only two ends and their buffers.
//
// When the client has finished and all it said was passed on, the backend is told, and may go on
// sending. When the backend has finished, the relay ends. It ends too when nothing has moved either
// way for the relay's idle time, which is the exchange's deadline.

import HTTP
import HTTP1
import Metrics
import Primitives
import Proxy
import Reactor

extension Worker where IO: ~Copyable {
  /// The 101 was written downstream: from here on both connections relay.
  mutating func startRelay(_ handle: Handle) {
    let downstream = exchanges[handle].downstream
    let upstream = exchanges[handle].upstream
    downstreams[downstream].phase = .relaying(handle)
    upstreams[upstream].phase = .relaying(exchange: handle)
    exchanges[handle].machine.relayStarted(at: now)
    updateDeadline(handle)
    queueToDrive(downstream: downstream)
    queueToDrive(upstream: upstream)
    // A client that has finished already is passed on as such: flushUpstream.
    if exchanges[handle].clientHasFinished { queueToFlush(upstream: upstream) }
  }

  /// Client to backend; true when the client's connection has more to do at once.
  mutating func relayRequest(_ handle: Handle) -> Bool {
    let downstream = exchanges[handle].downstream
    let upstream = exchanges[handle].upstream
    var hasReceived = false
    while !exchanges[handle].clientHasFinished {
      let room = upstreams[upstream].transport.room
      let count = min(room, downstreams[downstream].transport.inbound.count)
      if count > 0 {
        upstreams[upstream].transport.write(
          downstreams[downstream].transport.inbound, 0..<count, &io, &buffers)
        downstreams[downstream].transport.inbound.consume(count)
        exchanges[handle].machine.progressed(at: now)
        exchanges[handle].bodyByteCount += UInt64(count)
        queueToFlush(upstream: upstream)
        continue
      }
      if room == 0 { break }
      // One block, and then whoever else is ready.
      if hasReceived && downstreams[downstream].transport.mayHoldMore {
        queueToDrive(downstream: downstream)
        break
      }
      switch downstreams[downstream].transport.receive(&io, &buffers) {
      case .bytes: hasReceived = true
      case .nothing:
        downstreams[downstream].transport.settle(&buffers)
        updateDeadline(handle)
        return false
      case .finished:
        exchanges[handle].clientHasFinished = true
        // The backend is told once it has taken everything: flushUpstream.
        queueToFlush(upstream: upstream)
        updateDeadline(handle)
        return false
      case .failed:
        endRelay(handle)
        return false
      }
    }
    updateDeadline(handle)
    return false
  }

  /// Backend to client.
  mutating func relayResponse(_ handle: Handle) {
    let downstream = exchanges[handle].downstream
    let upstream = exchanges[handle].upstream
    var hasReceived = false
    while true {
      let room = downstreams[downstream].transport.room
      let count = min(room, upstreams[upstream].transport.inbound.count)
      if count > 0 {
        downstreams[downstream].transport.write(
          upstreams[upstream].transport.inbound, 0..<count, &io, &buffers)
        upstreams[upstream].transport.inbound.consume(count)
        exchanges[handle].machine.progressed(at: now)
        exchanges[handle].response.byteCount += UInt64(count)
        queueToFlush(downstream: downstream)
        continue
      }
      if room == 0 {
        exchanges[handle].response.isBlocked = true
        break
      }
      if hasReceived && upstreams[upstream].transport.mayHoldMore {
        queueToDrive(upstream: upstream)
        break
      }
      switch upstreams[upstream].transport.receive(&io, &buffers) {
      case .bytes: hasReceived = true
      case .nothing:
        upstreams[upstream].transport.settle(&buffers)
        updateDeadline(handle)
        return
      case .finished:
        // TLS has no half-close that clients cope with; nearly none of them do without TLS either.
        endRelay(handle)
        return
      case .failed:
        endRelay(handle)
        return
      }
    }
    updateDeadline(handle)
  }

  /// Ends both sides; what was received from the backend is still flushed to the client.
  mutating func endRelay(_ handle: Handle) {
    let downstream = exchanges[handle].downstream
    exchanges[handle].response.persists = false
    _ = exchanges[handle].machine.responseEnded(at: now)
    endAttempt(handle, reusable: false)
    finish(handle)
    downstreams[downstream].transport.inbound.removeAll()
  }
}
