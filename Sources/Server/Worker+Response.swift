// Moving a backend's answer to the client: interim heads, the final head, the body by credit.
//
// Credit is the room in the client's transport. What finds none stays in the backend's transport,
// then in its socket, and so in the backend; a slow client costs two buffers and no more.

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
    let upstream = exchanges[handle].upstream
    let downstream = exchanges[handle].downstream
    var hasReceived = false
    while !exchanges[handle].machine.hasAnswered {
      if downstreams[downstream].transport.room < Self.headRoom {
        exchanges[handle].response.isBlocked = true
        return
      }
      do throws(HTTP1Error) {
        if !upstreams[upstream].transport.inbound.isEmpty,
          try upstreams[upstream].parseHead(into: &responseHead)
        {
          noteTolerated(handle, upstreams[upstream].toleratedInHead)
          guard try respond(handle) else { return }
          continue
        }
      } catch {
        let isBlamed =
          upstreams[upstream].isBlamed(forHead: error) || isFaultLasting(handle)
        responseRefused(handle, reason: error.name, blamesBackend: isBlamed)
        return
      }
      // One block of interim heads, and then whoever else is ready.
      if hasReceived && upstreams[upstream].transport.isReadable {
        queueToDrive(upstream: upstream)
        return
      }
      switch upstreams[upstream].transport.receive(&io, &buffers) {
      case .bytes: hasReceived = true
      case .nothing:
        upstreams[upstream].transport.settle(&buffers)
        return
      case .finished:
        attemptFailed(handle, hasPartialHead(handle) ? .truncatedResponse : .closedBeforeResponse)
        return
      case .failed:
        attemptFailed(handle, hasPartialHead(handle) ? .truncatedResponse : .resetBeforeResponse)
        return
      }
    }
    forwardBody(handle)
  }

  /// Has the backend begun its answer? Then it has carried the request out, at least in part, and
  /// nobody else should.
  mutating func hasPartialHead(_ handle: Handle) -> Bool {
    let upstream = exchanges[handle].upstream
    return upstream != .none && !upstreams[upstream].transport.inbound.isEmpty
  }

  /// What came can't be passed on. It was an answer, so that nobody else is asked.
  private mutating func responseRefused(
    _ handle: Handle, reason: StaticString, blamesBackend: Bool
  ) {
    exchanges[handle].malformation = reason
    attemptFailed(handle, .badResponse, blamesBackend: blamesBackend)
  }

  /// A client may have caused a fault in fields. So the backend is blamed only if all its responses
  /// have had such a fault for some time.
  private mutating func isFaultLasting(_ handle: Handle) -> Bool {
    exchanges[handle].pick?.record.isFaultLasting(at: now) ?? false
  }

  /// Counts what this response was forgiven, each fault once.
  private mutating func noteTolerated(_ handle: Handle, _ reasons: ToleratedReasons) {
    if reasons.isEmpty { return }
    countToleratedInResponse(reasons.subtracting(exchanges[handle].response.tolerated))
    exchanges[handle].response.tolerated.formUnion(reasons)
  }

  /// The client's transport has room again.
  mutating func resumeResponse(_ handle: Handle) {
    guard exchanges.contains(handle) else { return }
    let upstream = exchanges[handle].upstream
    guard exchanges[handle].response.isBlocked, upstream != .none else { return }
    exchanges[handle].response.isBlocked = false
    queueToDrive(upstream: upstream)
  }

  // MARK: Heads

  /// A response head stands in `responseHead`. False when the exchange has gone elsewhere.
  private mutating func respond(_ handle: Handle) throws(HTTP1Error) -> Bool {
    let upstream = exchanges[handle].upstream
    let status = responseHead.status
    if status == 101 { return switchProtocols(handle) }
    if status < 200 {
      forwardInterim(handle, status)
      return true
    }
    let framing = try responseHead.framing(answering: exchanges[handle].summary.method)
    let retries = retriesStatus(handle, status)
    let action = exchanges[handle].machine.headReceived(
      status: status, retries: retries, at: now)
    if action == .attempt {
      metrics.add(.retries)
      // What is owed by now is for the attempt to come.
      let owesBudget = exchanges[handle].owesBudget
      exchanges[handle].owesBudget = false
      endAttempt(handle, reusable: false)
      exchanges[handle].owesBudget = owesBudget
      perform(.attempt, handle)
      return false
    }
    exchanges[handle].response.upstreamPersists = responseHead.persists(framing: framing)
    upstreams[upstream].expectBody(framing)
    forwardHead(handle, framing)
    return true
  }

  /// Is this the answer of a backend in trouble, to be thrown away for another's? It is told to the
  /// backend's health either way.
  private mutating func retriesStatus(_ handle: Handle, _ status: UInt16) -> Bool {
    let pool = exchanges[handle].pool
    guard pool.retry.statuses.contains(status) else {
      observe(handle, failure: nil)
      return false
    }
    let failure = AttemptFailure(cause: .status(status), wasReused: false, sentByteCount: 1)
    observe(handle, failure: pool.retry.blamesBackend(failure) ? failure.cause : nil)
    guard exchanges[handle].machine.isRequestComplete, exchanges[handle].login == .none,
      verdict(handle, after: failure) == .retryElsewhere
    else { return false }
    repayRetry(handle)
    return chargeRetry(handle, after: .status(status))
  }

  private mutating func forwardInterim(_ handle: Handle, _ status: UInt16) {
    guard exchanges[handle].machine.interimReceived(status: status, at: now) == .forwardInterim,
      exchanges[handle].summary.version != .http10
    else { return }
    let downstream = exchanges[handle].downstream
    scratch.removeAll()
    prepareResponse(&responseHead, addsVia: snapshot(of: handle).settings.forwarding.addsVia)
    // What a route sets is for the final response; what it removes, no response may show.
    responseHead.fields.removeAll(editedBy: exchanges[handle].route.responseEdits)
    responseHead.encodeInterim(into: &scratch)
    downstreams[downstream].transport.write(scratch, &io, &buffers)
    queueToFlush(downstream: downstream)
    updateDeadline(handle)
  }

  private mutating func forwardHead(_ handle: Handle, _ framing: BodyFraming) {
    let downstream = exchanges[handle].downstream
    noteLogin(handle)
    let version = exchanges[handle].summary.version
    // An answer that comes before the request has ended closes the connection behind it: the client
    // may never send the rest, and then nobody knows where the next request starts.
    let persists =
      exchanges[handle].response.persists && exchanges[handle].machine.isRequestComplete
      && mayPersist(downstream)
    exchanges[handle].response.status = responseHead.status
    countResponse(status: responseHead.status)

    let keepsTrailers = prepareResponse(
      &responseHead, addsVia: snapshot(of: handle).settings.forwarding.addsVia)
    if !keepsTrailers { exchanges[handle].response.keepsTrailers = false }
    // RFC 9110 6.6.1: whoever passes an answer on dates it if nobody has.
    if !responseHead.fields.contains(.date) {
      responseHead.fields.append(.date, dates.date(at: SystemClock.wall()).span)
    }
    returnRequestID(of: handle)
    stick(handle)
    responseHead.fields.apply(exchanges[handle].route.responseEdits)
    scratch.removeAll()
    let outgoing = responseHead.encode(
      for: version, body: framing.bodyLength, connection: persists ? .keepAlive : .close,
      into: &scratch)
    exchanges[handle].response.framing = outgoing
    exchanges[handle].response.persists = persists && outgoing != .untilClose
    downstreams[downstream].transport.write(scratch, &io, &buffers)
    queueToFlush(downstream: downstream)
  }

  /// Makes the client stick to the backend that answers, unless it does already.
  private mutating func stick(_ handle: Handle) {
    guard let stickiness = exchanges[handle].pool.stickiness,
      let token = exchanges[handle].pick?.member.stickyToken, token != 0
    else { return }
    let asked = exchanges[handle].selection.stickyToken
    if token == asked { return metrics.add(.stickyKept) }
    metrics.add(asked == 0 ? .stickyNew : .stickyMoved)
    stickiness.set(token, isTLS: exchanges[handle].cameByTLS, in: &responseHead.fields)
  }

  /// May the client's connection serve another request after this one?
  mutating func mayPersist(_ downstream: Handle) -> Bool {
    if downstreams[downstream].requestCount >= settings.requestsPerConnectionMax {
      metrics.add(.connectionsUsedUp)
      return false
    }
    if overload != .normal {
      metrics.add(.connectionsEndedByOverload)
      return false
    }
    return stage == .serving && listeners[downstreams[downstream].listener].configured != nil
      && downstreams[downstream].tolerated.isEmpty && !downstreams[downstream].hasLostLogin
  }

  private mutating func switchProtocols(_ handle: Handle) -> Bool {
    let downstream = exchanges[handle].downstream
    let asked = exchanges[handle].text.array(exchanges[handle].summary.upgrade.range)
    if asked.isEmpty {
      responseRefused(handle, reason: "unasked-upgrade", blamesBackend: true)
      return false
    }
    guard acceptsUpgrade(responseHead, token: asked.span) else {
      responseRefused(handle, reason: "other-upgrade", blamesBackend: true)
      return false
    }
    // The body still belongs to HTTP (RFC 9110 7.8). When it ends is up to the client.
    guard exchanges[handle].machine.isRequestComplete, exchanges[handle].isTailGiven else {
      responseRefused(handle, reason: "early-upgrade", blamesBackend: false)
      return false
    }
    exchanges[handle].response.status = 101
    countResponse(status: 101)
    scratch.removeAll()
    prepareResponse(&responseHead, addsVia: snapshot(of: handle).settings.forwarding.addsVia)
    returnRequestID(of: handle)
    stick(handle)
    responseHead.fields.apply(exchanges[handle].route.responseEdits)
    responseHead.fields.append(.upgrade, asked.span)
    responseHead.encode(for: .http11, body: .none, connection: .upgrade, into: &scratch)
    downstreams[downstream].transport.write(scratch, &io, &buffers)
    queueToFlush(downstream: downstream)
    startRelay(handle)
    return false
  }

  // MARK: Body

  private mutating func forwardBody(_ handle: Handle) {
    let upstream = exchanges[handle].upstream
    let downstream = exchanges[handle].downstream
    var hasReceived = false
    var pieceCount = 0
    while true {
      let room = downstreams[downstream].transport.room - BodyEncoder.overheadByteCount
      // Less would not hold a trailer section whole, which is decoded in one piece.
      if room < Self.smallestRoom {
        exchanges[handle].response.isBlocked = true
        updateDeadline(handle)
        return
      }
      let step: BodyStep
      do throws(HTTP1Error) {
        step = try upstreams[upstream].nextBodyPiece(limit: room, trailers: &trailers)
      } catch {
        let isBlamed = upstreams[upstream].isBlamed(forBody: error)
        responseRefused(handle, reason: error.name, blamesBackend: isBlamed)
        return
      }
      switch step {
      case .piece(let skip, let count):
        writePiece(
          upstreams[upstream].transport.inbound, skip..<(skip + count),
          exchanges[handle].response.framing, to: &downstreams[downstream].transport,
          scratch: &scratch, &io, &buffers)
        upstreams[upstream].transport.inbound.consume(skip + count)
        exchanges[handle].response.byteCount += UInt64(count)
        exchanges[handle].machine.progressed(at: now)
        queueToFlush(downstream: downstream)
        pieceCount += 1
        if pieceCount == Self.piecesPerDrive {
          queueToDrive(upstream: upstream)
          updateDeadline(handle)
          return
        }
      case .end(let consumed):
        upstreams[upstream].transport.inbound.consume(consumed)
        endResponse(handle)
        return
      case .needsInput(let consumed):
        upstreams[upstream].transport.inbound.consume(consumed)
        // One block, and then whoever else is ready, however fast this backend and this client are.
        if hasReceived && upstreams[upstream].transport.mayHoldMore {
          queueToDrive(upstream: upstream)
          updateDeadline(handle)
          return
        }
        switch upstreams[upstream].transport.receive(&io, &buffers) {
        case .bytes: hasReceived = true
        case .nothing:
          upstreams[upstream].transport.settle(&buffers)
          updateDeadline(handle)
          return
        case .finished:
          endBodyWithConnection(handle)
          return
        case .failed:
          attemptFailed(handle, .truncatedResponse)
          return
        }
      }
    }
  }

  /// The backend closed: the proper end of a body without a length, a truncation of any other.
  private mutating func endBodyWithConnection(_ handle: Handle) {
    do throws(HTTP1Error) {
      try upstreams[exchanges[handle].upstream].finishBody()
      trailers.reset()
      endResponse(handle)
    } catch {
      attemptFailed(handle, .truncatedResponse)
    }
  }

  private mutating func endResponse(_ handle: Handle) {
    let upstream = exchanges[handle].upstream
    let downstream = exchanges[handle].downstream
    if exchanges[handle].response.framing == .chunked {
      scratch.removeAll()
      if !exchanges[handle].response.keepsTrailers { trailers.reset() }
      trailers.prepareTrailers(exchanges[handle].route.responseEdits)
      BodyEncoder(.chunked).end(trailers: trailers, into: &scratch)
      downstreams[downstream].transport.write(scratch, &io, &buffers)
    }
    _ = exchanges[handle].machine.responseEnded(at: now)
    noteTolerated(handle, upstreams[upstream].toleratedInBody)
    // A backend that was forgiven something may mean something else by what follows it.
    let isReusable =
      exchanges[handle].response.upstreamPersists && exchanges[handle].isTailGiven
      && exchanges[handle].response.tolerated.isEmpty
      && exchanges[handle].machine.isRequestComplete
      && upstreams[upstream].transport.isReusable
    if !isReusable && upstreams[upstream].login == .bound {
      exchanges[handle].response.persists = false
    }
    endAttempt(handle, reusable: isReusable)
    finish(handle)
  }
}

/// Writes a piece of a body, as a chunk of its own where the framing wants that.
func writePiece<IO: InputOutput & ~Copyable>(
  _ source: borrowing ByteBuffer, _ range: Range<Int>, _ framing: BodyFraming,
  to transport: inout Transport, scratch: inout ByteBuffer, _ io: inout IO,
  _ buffers: inout BufferPool
) {
  guard framing == .chunked else { return transport.write(source, range, &io, &buffers) }
  let encoder = BodyEncoder(framing)
  scratch.removeAll()
  encoder.beginPiece(count: range.count, into: &scratch)
  transport.write(scratch, &io, &buffers)
  transport.write(source, range, &io, &buffers)
  scratch.removeAll()
  encoder.endPiece(count: range.count, into: &scratch)
  transport.write(scratch, &io, &buffers)
}
