// Clients' HTTP/1 connections: reading heads, and what follows a response.

import HTTP
import HTTP1
import Metrics
import Primitives
import Proxy
import Reactor

extension Worker where IO: ~Copyable {
  /// Room that the head of a response may need; below it the next request waits until the client
  /// reads.
  static var headRoom: Int { 40 * 1024 }

  mutating func driveHTTP1Client(_ handle: Handle) {
    while connections.contains(handle),
      case .http1Client(let codec, let exchange) = connections[handle].wire
    {
      let hasMore: Bool
      if let exchange {
        hasMore = driveRequest(exchange)
      } else if http1Clients[codec].headTurn == turnNumber {
        // A request that is answered at once, such as by a redirect, may have another one behind
        // it, which may be expensive: first it is the turn of all others.
        if connections[handle].transport.mayHoldMore { queueToDriveNext(handle) }
        hasMore = false
      } else {
        hasMore = receiveHead(handle, codec)
      }
      if !hasMore { break }
    }
  }

  /// True when there is more to do at once.
  private mutating func receiveHead(_ handle: Handle, _ codec: Handle) -> Bool {
    // While the client doesn't take its last response, its next request waits.
    if connections[handle].transport.room < Self.headRoom
      || connections[handle].transport.isBlocked
    {
      return false
    }
    if connections[handle].transport.inbound.isEmpty {
      switch receive(handle) {
      case .bytes: break
      case .nothing:
        // Idle between requests: it holds no buffer.
        connections[handle].transport.settle(&buffers)
        return false
      case .finished, .failed:
        close(handle)
        return false
      }
    }
    do throws(HTTP1Error) {
      if try http1Clients[codec].parseHead(
        from: &connections[handle].transport.inbound, into: &heads[nextHead], turn: turnNumber)
      {
        beginExchange(handle, codec)
        return true
      }
    } catch {
      countRefusal(error)
      // The start of the next request is unknown.
      refuseHead(
        handle, LocalAnswer(error: error.status), failure: .malformedHead, reason: error.name)
      return false
    }
    // A part of a head: from its first byte on, the whole head has limited time.
    switch receive(handle) {
    case .bytes:
      return true
    case .nothing:
      if http1Clients[codec].headBeganAt == nil {
        http1Clients[codec].headBeganAt = now
        setDeadline(handle, now + settings.headTimeout)
      }
      connections[handle].transport.settle(&buffers)
      return false
    case .finished, .failed:
      close(handle)
      return false
    }
  }

  /// The deadline between two requests, or of a head, is due.
  mutating func headExpired(_ handle: Handle, hasBegun: Bool) {
    if hasBegun {
      metrics.add(.slowHeads)
      refuseHead(handle, LocalAnswer(error: 408), failure: .requestTimeout)
    } else if connections[handle].transport.isBlocked {
      // It still takes its last response, and may have sent another request in the meantime.
      finishWriting(handle, linger: true)
    } else {
      connections[handle].transport.writeCloseNotify(&buffers)
      connections[handle].transport.flush(&io, &buffers)
      close(handle)
    }
  }

  /// Whether the connection may serve another request after this one.
  mutating func mayPersist(_ handle: Handle) -> Bool {
    let codec = http1Client(handle)
    if http1Clients[codec].requestCount >= settings.requestsPerConnectionMax {
      metrics.add(.connectionsUsedUp)
      return false
    }
    if overload != .normal {
      metrics.add(.connectionsEndedByOverload)
      return false
    }
    return stage == .serving && listeners[connections[handle].client.listener].configured != nil
      && http1Clients[codec].tolerated.isEmpty && !logins.hasLost(handle)
  }

  /// After a response: the next request, or the end of the connection. `clientMaySend`: the client
  /// did not expect the end, so more of this request, or another one, may be on its way.
  mutating func continueClient(_ handle: Handle, persists: Bool, clientMaySend: Bool) {
    guard persists && !logins.hasLost(handle),
      case .http1Client(let codec, _) = connections[handle].wire
    else { return finishWriting(handle, linger: clientMaySend) }
    http1Clients[codec].beginBody(.none)
    connections[handle].wire = .http1Client(codec: codec, exchange: nil)
    setDeadline(handle, now + idleTime)
    queueToFlush(handle)
    if connections[handle].transport.mayHoldMore {
      // What is there already won't be reported again.
      queueToDrive(handle)
    } else {
      // Idle between requests: it holds no buffer.
      connections[handle].transport.settle(&buffers)
    }
  }
}
