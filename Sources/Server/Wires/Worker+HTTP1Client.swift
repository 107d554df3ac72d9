// Clients' HTTP/1 connections: reading heads, and what follows a response.

import HTTP
import HTTP1
import HTTP2
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
    if http1Clients[codec].requestCount == 0 {
      switch prefaceOfHTTP2(handle) {
      case .none where !connections[handle].client.protocols.http1:
        refuseHead(handle, .http2Only, failure: .malformedHead, reason: "only-http2")
        return false
      case .none: break
      case .partial: return receiveMore(handle, codec)
      case .complete:
        beginHTTP2(handle)
        queueToDrive(handle)
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
    return receiveMore(handle, codec)
  }

  /// A part of a head is there: from its first byte on, the whole head has limited time.
  private mutating func receiveMore(_ handle: Handle, _ codec: Handle) -> Bool {
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

  /// A whole head is in the next head.
  private mutating func beginExchange(_ handle: Handle, _ codec: Handle) {
    let tolerated = http1Clients[codec].tolerated
    countTolerated(tolerated)
    var body = BodyLength.none
    var error: HTTP1Error?
    do throws(HTTP1Error) {
      let framing = try heads[nextHead].framing()
      if framing != .none { http1Clients[codec].expectBody(framing, settings.bodyLimits) }
      body = framing.bodyLength
    } catch let malformation {
      error = malformation
    }
    beginExchange(
      on: StreamID(connection: handle, stream: 0), body: body, persists: heads[nextHead].persists,
      tolerated: tolerated, error: error)
  }

  /// The head can't be read, or didn't arrive in time. This is an exchange too, without a request.
  mutating func refuseHead(
    _ client: Handle, _ answer: LocalAnswer, failure: ExchangeFailure,
    reason: StaticString? = nil
  ) {
    heads[nextHead].reset()
    heads[nextHead].method = connections[client].likelyMethod
    let codec = http1Client(client)
    let handle = insertExchange(
      StreamID(connection: client, stream: 0), startedAt: http1Clients[codec].headBeganAt ?? now,
      isComplete: false,
      ActiveExchange.RequestFacts(
        hasHead: false, persists: false, tolerated: http1Clients[codec].tolerated,
        client: connections[client].client.address, isTLS: false, trace: nil))
    self.answer(handle, answer, failure: failure, reason: reason)
  }

  /// Whether the client begins with HTTP/2, where it may do so without ALPN (RFC 9113 3.3).
  private mutating func prefaceOfHTTP2(_ handle: Handle) -> HTTP2Preface {
    let protocols = connections[handle].client.protocols
    // Over TLS, the client has chosen by ALPN, if it could have HTTP/1.
    guard protocols.http2, !protocols.http1 || !connections[handle].transport.isEncrypted else {
      return .none
    }
    return HTTP2Preface(connections[handle].transport.inbound)
  }

  // MARK: Responses

  /// Appends the head of a final response, which is in `responseHead`, to `scratch`, and writes it.
  mutating func writeHTTP1Head(_ handle: Handle, to client: Handle, _ codec: Handle) {
    // A response that comes before the end of the request closes the connection: the client may
    // never send the rest, and then the start of the next request is unknown.
    let persists =
      exchanges[handle].response.persists && exchanges[handle].machine.isRequestComplete
      && mayPersist(client)
    let start = scratch.count
    let outgoing = responseHead.encode(
      for: heads[exchanges[handle].head].version, body: exchanges[handle].response.length,
      connection: persists ? .keepAlive : .close, into: &scratch)
    http1Clients[codec].beginBody(outgoing)
    exchanges[handle].response.persists = persists && outgoing != .untilClose
    connections[client].transport.write(scratch, start..<scratch.count, &io, &buffers)
    queueToFlush(client)
  }

  /// The response can't be completed: ends the connection, so that the client sees this. What there
  /// is of it is sent first, and what waits of earlier ones: a client that saw nothing may take the
  /// connection for a stale one, and repeat a request that was carried out.
  mutating func cutClient(_ client: Handle, isGone: Bool) {
    if !isGone && showsTruncation(client) {
      // No end of the body, and no close_notify.
      return sendRest(client, linger: true)
    }
    // The client doesn't read it, or only a reset shows that it isn't complete.
    connections[client].transport.flush(&io, &buffers)
    close(client, reset: true)
  }

  // MARK: Between requests

  /// The deadline between two requests, or of a head, is due.
  mutating func headExpired(_ handle: Handle, hasBegun: Bool) {
    if hasBegun && prefaceOfHTTP2(handle) == .partial {
      // The client would not understand an answer with HTTP/1.
      metrics.add(.slowHeads)
      close(handle)
    } else if hasBegun {
      metrics.add(.slowHeads)
      refuseHead(handle, LocalAnswer(error: 408), failure: .requestTimeout)
    } else if !connections[handle].transport.isFlushed {
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
    return lifecycle == .serving && listeners[connections[handle].client.listener].configured != nil
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
