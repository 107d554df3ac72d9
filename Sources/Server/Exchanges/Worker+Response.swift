// The response of a backend, on its way to the client: interim heads, the final head, the body.
//
// `driveResponse` is for HTTP/1 backends. With HTTP/2, a head enters at `takeFinalHead`
// (Worker+HTTP2Backend).

import Balancing
import HTTP
import HTTP1
import Metrics
import Primitives
import Proxy
import Reactor

extension Worker where IO: ~Copyable {
  /// Moves what it can of the response.
  mutating func driveResponse(_ handle: Handle) {
    let client = exchanges[handle].client.connection
    guard let backend = backend(of: handle) else { return }
    var hasReceived = false
    while !exchanges[handle].machine.hasAnswered {
      if connections[client].transport.room < Self.headRoom {
        awaitRoomForHead(handle)
        return
      }
      do throws(HTTP1Error) {
        if !connections[backend].transport.inbound.isEmpty, try parseResponseHead(backend) {
          noteTolerated(handle, http1Backends[http1Backend(backend)].toleratedInHead)
          guard try respond(handle, backend) else { return }
          continue
        }
      } catch {
        let codec = http1Backend(backend)
        let isBlamed =
          http1Backends[codec].isBlamed(forHead: error) || isFaultLasting(handle)
        responseRefused(handle, reason: error.name, blamesBackend: isBlamed)
        return
      }
      // One block of interim heads, then the other connections.
      if hasReceived && connections[backend].transport.isReadable {
        queueToDrive(backend)
        return
      }
      switch receive(backend) {
      case .bytes: hasReceived = true
      case .nothing:
        connections[backend].transport.settle(&buffers)
        return
      case .finished:
        attemptFailed(handle, hasPartialHead(handle) ? .truncatedResponse : .closedBeforeResponse)
        return
      case .failed:
        attemptFailed(handle, hasPartialHead(handle) ? .truncatedResponse : death(of: backend))
        return
      }
    }
    forwardBody(handle, from: backend)
  }

  /// Whether the backend has begun its response. Then it has processed the request at least in
  /// part, and no other backend should.
  mutating func hasPartialHead(_ handle: Handle) -> Bool {
    guard let backend = backend(of: handle) else { return false }
    return !connections[backend].transport.inbound.isEmpty
  }

  /// The response can't be forwarded. It was a response, so no other backend is asked.
  mutating func responseRefused(
    _ handle: Handle, reason: StaticString, blamesBackend: Bool
  ) {
    exchanges[handle].malformation = reason
    attemptFailed(handle, .badResponse, blamesBackend: blamesBackend)
  }

  /// A client may have caused a fault in fields. So the backend is blamed only if all its responses
  /// have had such a fault for some time.
  mutating func isFaultLasting(_ handle: Handle) -> Bool {
    exchanges[handle].attempt.pick?.record.isFaultLasting(at: now) ?? false
  }

  /// Counts the tolerated errors of this response, each of them once.
  private mutating func noteTolerated(_ handle: Handle, _ reasons: ToleratedReasons) {
    if reasons.isEmpty { return }
    countToleratedInResponse(reasons.subtracting(exchanges[handle].response.tolerated))
    exchanges[handle].response.tolerated.formUnion(reasons)
  }

  /// The client's transport has room again.
  mutating func resumeResponse(_ handle: Handle) {
    guard exchanges[handle].response.isBlocked else { return }
    exchanges[handle].response.isBlocked = false
    queueSource(handle, .response)
  }

  // MARK: Heads

  /// A response head is in `responseHead`. False when the exchange has gone elsewhere.
  private mutating func respond(_ handle: Handle, _ backend: Handle) throws(HTTP1Error) -> Bool {
    let status = responseHead.status
    if status == 101 { return switchProtocols(handle) }
    if status >= 200 && status < 300 && heads[exchanges[handle].head].method == .connect {
      // The client would take it for a tunnel (RFC 8441 5), and the backend has not switched.
      responseRefused(handle, reason: "other-upgrade", blamesBackend: false)
      return false
    }
    if status < 200 {
      perform(exchanges[handle].machine.handle(.interim(status: status), at: now), handle)
      return true
    }
    let framing = try responseHead.framing(answering: heads[exchanges[handle].head].method)
    http1Backends[http1Backend(backend)].expectBody(framing)
    return takeFinalHead(
      handle, length: framing.bodyLength, persists: responseHead.persists(framing: framing))
  }

  /// The final head is in `responseHead`. False when the exchange has gone elsewhere. `persists`:
  /// the backend allows another request on its connection.
  mutating func takeFinalHead(_ handle: Handle, length: BodyLength, persists: Bool) -> Bool {
    let status = responseHead.status
    let retry =
      exchanges[handle].request.isGRPC
      ? retryOfCall(handle, length) : retryOfStatus(handle, status)
    let action = exchanges[handle].machine.handle(.head(status: status, retry: retry), at: now)
    if let retry {
      metrics.add(.retries)
      countFailure(retry, of: handle)
      // What is owed by now is for the next attempt.
      let owesBudget = exchanges[handle].attempt.owesBudget
      exchanges[handle].attempt.owesBudget = false
      endAttempt(handle, .broken)
      exchanges[handle].attempt.owesBudget = owesBudget
    } else {
      exchanges[handle].response.backendPersists = persists
      exchanges[handle].response.length = length
    }
    perform(action, handle)
    return retry == nil && exchanges.contains(handle) && exchanges[handle].attempt.backend != nil
  }

  /// Why this response is discarded and another backend is asked: because of its status; nil if it
  /// is forwarded. The backend's health gets the result in both cases.
  mutating func retryOfStatus(_ handle: Handle, _ status: UInt16) -> FailureCause? {
    let pool = exchanges[handle].pool
    guard pool.retry.statuses.contains(status) else {
      observe(handle, failure: nil)
      return nil
    }
    let failure = AttemptFailure(cause: .status(status), wasReused: false, sentByteCount: 1)
    observe(handle, failure: pool.retry.blamesBackend(failure) ? failure.cause : nil)
    return exchanges[handle].machine.isRequestComplete ? retry(handle, after: failure) : nil
  }

  /// The cause, if the rules and the budget allow another attempt after this response.
  mutating func retry(_ handle: Handle, after failure: AttemptFailure) -> FailureCause? {
    guard exchanges[handle].attempt.login == .none,
      verdict(handle, after: failure) == .retryElsewhere
    else { return nil }
    repayRetry(handle)
    return chargeRetry(handle, after: failure.cause) ? failure.cause : nil
  }

  /// The interim response is in `responseHead`.
  mutating func forwardInterim(_ handle: Handle) {
    if heads[exchanges[handle].head].version == .http10 { return updateDeadline(handle) }
    // A client that doesn't read gets none but 100: HTTP/2 can't let a backend wait with its heads.
    let client = exchanges[handle].client.connection
    if responseHead.status != 100 && connections[client].transport.room < Self.headRoom {
      return updateDeadline(handle)
    }
    edit(exchanges[handle].stages.interim, of: handle)
    writeInterimHead(to: exchanges[handle].client)
    updateDeadline(handle)
  }

  /// The response is in `responseHead`.
  mutating func forwardHead(_ handle: Handle) {
    noteLogin(handle)
    // There is no other attempt from now on.
    if exchanges[handle].body.kept.hasStorage { dropKept(handle) }
    exchanges[handle].response.status = responseHead.status
    countResponse(status: responseHead.status)
    edit(exchanges[handle].stages.final, of: handle)
    if exchanges[handle].request.isGRPC {
      exchanges[handle].response.grpcStatus = responseHead.fields.grpcStatus
      allowStalls(handle)
    }
    scratch.removeAll()
    if let reason = writeHead(handle) {
      responseRefused(handle, reason: reason, blamesBackend: false)
    }
  }

  private mutating func switchProtocols(_ handle: Handle) -> Bool {
    let asked = heads[exchanges[handle].head].fields.array(exchanges[handle].request.upgrade)
    if asked.isEmpty {
      responseRefused(handle, reason: "unasked-upgrade", blamesBackend: true)
      return false
    }
    guard acceptsUpgrade(responseHead, token: asked.span) else {
      responseRefused(handle, reason: "other-upgrade", blamesBackend: true)
      return false
    }
    // The body still belongs to HTTP (RFC 9110 7.8). When it ends is up to the client.
    guard exchanges[handle].machine.isRequestComplete, exchanges[handle].body.isEndGiven else {
      responseRefused(handle, reason: "early-upgrade", blamesBackend: false)
      return false
    }
    edit(exchanges[handle].stages.switching, of: handle)
    switchClient(handle, to: asked.span)
    return false
  }

  // MARK: Body

  mutating func forwardBody(_ handle: Handle, from backend: Handle) {
    switch pump(handle, .response, from: backend) {
    case .paused, .interrupted:
      break
    case .ended:
      endResponse(handle, backend)
    case .finished:
      endBodyWithConnection(handle, backend)
    case .failed:
      attemptFailed(handle, .truncatedResponse)
    case .malformed(let error):
      let isBlamed = http1Backends[http1Backend(backend)].isBlamed(forBody: error)
      responseRefused(handle, reason: error.name, blamesBackend: isBlamed)
    }
  }

  /// Takes a piece of the body from the backend's transport.
  mutating func takeResponsePiece(
    _ handle: Handle, from backend: Handle, _ range: Range<Int>
  ) -> Bool {
    exchanges[handle].response.byteCount += UInt64(range.count)
    let byStream = exchanges[handle].attempt.stream != 0
    let ends = exchanges[handle].response.hasAll(byStream: byStream)
    let bytes = lend(handle, .response, from: backend)
    write(bytes, range, to: exchanges[handle].client, ends: ends)
    giveBack(bytes, handle, .response, to: backend, consumed: range.upperBound)
    exchanges[handle].machine.progressed(at: now)
    return true
  }

  /// The backend has closed: the proper end of a body without a length, a truncation of any other.
  private mutating func endBodyWithConnection(_ handle: Handle, _ backend: Handle) {
    do throws(HTTP1Error) {
      try http1Backends[http1Backend(backend)].finishBody()
      guard connections[backend].transport.isEndAuthentic else { throw .truncatedBody }
      trailers.reset()
      endResponse(handle, backend)
    } catch {
      attemptFailed(handle, .truncatedResponse)
    }
  }

  /// Decides which of the response's trailers, in `trailers`, the client gets.
  mutating func settleTrailers(_ handle: Handle) {
    if !exchanges[handle].response.keepsTrailers { return trailers.reset() }
    if exchanges[handle].request.isGRPC, let status = trailers.grpcStatus {
      exchanges[handle].response.grpcStatus = status
    }
    editResponseTrailers(of: handle)
  }

  private mutating func endResponse(_ handle: Handle, _ backend: Handle) {
    let client = exchanges[handle].client
    if trailers.count > 0 { settleTrailers(handle) }
    writeEndWithTrailers(to: client)
    guard case .http1Backend(let codec, _) = connections[backend].wire else {
      endAttempt(handle, .reusable)
      return perform(exchanges[handle].machine.handle(.responseEnded, at: now), handle)
    }
    noteTolerated(handle, http1Backends[codec].toleratedInBody)
    // New keys may have come with the end of the response, and the answer to them waits.
    if connections[backend].transport.isEncrypted {
      connections[backend].transport.flush(&io, &buffers)
    }
    // After a tolerated error, what follows on the connection may have another meaning for the
    // backend.
    let isReusable =
      exchanges[handle].response.backendPersists && exchanges[handle].body.isEndGiven
      && exchanges[handle].response.tolerated.isEmpty
      && exchanges[handle].machine.isRequestComplete
      && connections[backend].transport.isReusable
    if !isReusable && http1Backends[codec].login == .bound {
      exchanges[handle].response.persists = false
    }
    endAttempt(handle, isReusable ? .reusable : .broken)
    perform(exchanges[handle].machine.handle(.responseEnded, at: now), handle)
  }
}
