// Carrying out an exchange: from a parsed head to the line in the log.
//
// What to do is decided by Proxy.Exchange; `perform` does it. The request's bytes are moved here,
// the response's in Worker+Upstream.swift.

import Balancing
import HTTP
import HTTP1
import Metrics
import Primitives
import Proxy
import Reactor

extension Worker where IO: ~Copyable {
  /// Below this much room a body waits: a trailer section of 8 KiB is decoded in one piece.
  static var smallestRoom: Int { 12 * 1024 }
  /// Pieces of a body that are moved before it is somebody else's turn: a block of chunks of one
  /// byte has ten thousand.
  static var piecesPerDrive: Int { 128 }

  // MARK: Beginning

  /// A whole head stands in `requestHead`: answer it, or begin to forward it.
  mutating func beginExchange(_ downstream: Handle) {
    metrics.add(.requests)
    countTolerated(downstreams[downstream].tolerated)
    if settings.setsRequestID { identifyRequest(&requestHead.fields, using: &generator) }
    requestTrace = traceRequest()
    if overload == .sheddingRequests { return shed(downstream) }
    switch plan(downstream) {
    case .refuse(let failure, let status, let reason):
      answerLocally(
        downstream, LocalAnswer(error: status), failure: failure, reason: reason, head: true)
    case .answer(let answer, let route):
      answerLocally(downstream, answer, route: route, failure: nil, head: true)
    case .forward(let route, let pool, let framing):
      forward(downstream, route, pool: pool, framing: framing)
    }
  }

  /// There is no memory for more; what is in progress is to be finished.
  private mutating func shed(_ downstream: Handle) {
    metrics.add(.requestsShed)
    answerLocally(downstream, LocalAnswer(error: 503), failure: .overloaded, head: true)
  }

  /// What is to be done with the request in `requestHead`.
  private mutating func plan(_ downstream: Handle) -> RequestPlan {
    let framing: BodyFraming
    do throws(HTTP1Error) {
      framing = try requestHead.framing()
    } catch {
      countRefusal(error)
      return .refuse(.malformedHead, status: error.status, reason: error.name)
    }
    if requestHead.method == .connect {
      return .refuse(.notImplemented, status: 501, reason: "connect")
    }
    if requestHead.expect == .unknown {
      return .refuse(.malformedHead, status: 417, reason: "unknown-expectation")
    }
    if case .length(let count) = framing, count > settings.bodyByteCountMax {
      return .refuse(.bodyTooLarge, status: 413, reason: nil)
    }
    guard let listener = listeners[downstreams[downstream].listener].configured else {
      // There is no configuration any more by which it could be served.
      return .refuse(.listenerRemoved, status: 421, reason: nil)
    }
    var rules = snapshot.listeners[listener].rules
    if let tlsRules = snapshot.listeners[listener].tlsRules, cameByTLS(downstream) {
      rules = tlsRules
    }
    switch Self.route(&requestHead, rules, settings.paths, &scratch) {
    case .badPath:
      return .refuse(.malformedHead, status: 400, reason: "bad-path")
    case .none:
      return .refuse(.noRoute, status: 404, reason: nil)
    case .route(let index):
      let route = rules.routes[index]
      switch route.action {
      case .forward(let pool):
        if requestHead.endsHere { return answerAsLast(route) }
        return .forward(route, pool: pool, framing: framing)
      case .redirect(let target, let status):
        guard let location = target.location(for: requestHead, isTLS: cameByTLS(downstream)) else {
          return .refuse(.malformedHead, status: 400, reason: "missing-host")
        }
        return .answer(LocalAnswer(redirect: status, to: location), route)
      case .respond(let answer, let draining):
        return .answer(isLeaving ? draining : answer, route)
      }
    }
  }

  /// The answer to a TRACE or OPTIONS whose Max-Forwards is used up (RFC 9110 7.6.2). We trace
  /// nothing: the fields that would be sent back may hold secrets of others on the way.
  private mutating func answerAsLast(_ route: RouteSettings) -> RequestPlan {
    requestHead.method == .trace
      ? .refuse(.notImplemented, status: 501, reason: "trace")
      : .answer(LocalAnswer(status: 200, contentType: "", body: []), route)
  }

  /// The route of a request. A path that is to be forwarded in its normal form is rewritten.
  private static func route(
    _ head: inout RequestHead, _ rules: RouteRules, _ paths: PathPolicy,
    _ scratch: inout ByteBuffer
  ) -> RouteMatchResult {
    if head.targetForm == .asterisk {
      return RouteMatchResult(
        rules.table.match(
          host: head.bytes(of: head.host), path: ("/" as StaticString).bytes))
    }
    switch normalise(head.bytes(of: head.path), policy: paths, into: &scratch) {
    case .refused:
      return .badPath
    case .normal:
      return RouteMatchResult(
        rules.table.match(host: head.bytes(of: head.host), path: head.bytes(of: head.path)))
    case .rewritten(let forward):
      if forward { head.path = head.fields.store(scratch.bytes) }
      return RouteMatchResult(
        rules.table.match(host: head.bytes(of: head.host), path: scratch.bytes))
    }
  }

  /// Whether the client came by TLS, here or to a trusted proxy.
  private mutating func cameByTLS(_ downstream: Handle) -> Bool {
    let isEncrypted = downstreams[downstream].transport.isEncrypted
    if settings.forwarding.trustedProxies.isEmpty { return isEncrypted }
    return RequestOrigin(
      peer: peer(of: downstream), fields: requestHead.fields, policy: settings.forwarding
    ).isTLS ?? isEncrypted
  }

  /// A Unix peer has no address; whoever sits there is this machine.
  private mutating func peer(of downstream: Handle) -> IPAddress {
    downstreams[downstream].peer.ip ?? .loopbackV4
  }

  // MARK: Forwarding

  private mutating func forward(
    _ downstream: Handle, _ route: RouteSettings, pool poolIndex: Int, framing: BodyFraming
  ) {
    let persists = requestHead.persists
    let isIdempotent = requestHead.method.isIdempotent
    let pool = snapshot.pools[poolIndex]
    let collects = collectsBody(framing, pool)
    let stickyToken = stickyToken(pool, poolIndex)
    let isEncrypted = downstreams[downstream].transport.isEncrypted
    let forwarded = prepareRequest(
      &requestHead, peer: peer(of: downstream), isTLS: isEncrypted, policy: settings.forwarding)
    // Backends refuse HTTP/1.1 without a host, and the pool's first is as good a name as any: which
    // one will answer isn't known yet (nginx sends the name of its group of servers).
    if requestHead.authority.isEmpty {
      let authority = pool.authority
      requestHead.fields.append(.host, authority.span)
    }
    requestHead.fields.apply(route.requestEdits)

    var text = buffers.takeSmall()
    let summary = RequestSummary(
      of: requestHead, client: forwarded.client, upgrade: forwarded.upgrade,
      hiding: log.settings.hidden, into: &text)
    let start = text.count
    requestHead.encode(
      body: framing.bodyLength, connection: forwarded.upgrade == nil ? .keepAlive : .upgrade,
      into: &text)
    let end = text.count

    let generation = generations.count - 1
    generations[generation].exchangeCount += 1
    let handle = exchanges.insert(
      ActiveExchange(
        machine: Exchange(startedAt: now, isIdempotent: isIdempotent), downstream: downstream,
        generation: generations[generation].id, pool: consume pool, poolIndex: poolIndex,
        route: route, trace: requestTrace, cameByTLS: forwarded.isTLS,
        selection: Selection(stickyToken: stickyToken), logsIn: requestHead.logsConnectionIn,
        keepsTrailers: forwarded.keepsTrailers,
        text: text, summary: summary,
        upstreamHead: start..<end, framing: framing, bodyLimits: settings.bodyLimits,
        persists: persists))
    exchanges[handle].login = login(of: downstream, for: handle)
    metrics.add(.exchangesActive)
    downstreams[downstream].phase = .exchanging(handle)
    setDeadline(downstream: downstream, .never)
    if framing == .none || framing == .length(0) {
      _ = exchanges[handle].machine.requestEnded(at: now)
    }
    perform(
      exchanges[handle].machine.begin(collectsUntil: collects ? now + settings.collectTime : nil),
      handle)
  }

  /// Of the cookies that a request brings for the pool, the one that leads to a living member, or
  /// else the first.
  private mutating func stickyToken(_ pool: PoolSettings, _ index: Int) -> UInt64 {
    guard let tokens = pool.stickiness?.tokens(in: requestHead.fields), tokens[0] != 0 else {
      return 0
    }
    return generations[generations.count - 1].pools[index].living(of: tokens, at: now) ?? tokens[0]
  }

  /// Is the whole body waited for before a backend is chosen? A client that waits for 100
  /// (Continue) would wait for us.
  private mutating func collectsBody(_ framing: BodyFraming, _ pool: PoolSettings) -> Bool {
    if requestHead.expectsContinue { return false }
    switch framing {
    case .none, .untilClose: return false
    case .length(let count):
      // What is collected stands where it is kept for another attempt.
      return count > 0 && count <= min(settings.collectedByteCountMax, UInt64(pool.replayByteCount))
    case .chunked: return Self.chunkedCollectMax(settings, pool) > 0
    }
  }

  /// The most that is collected of a chunked body. Its length shows at its end only, so there must
  /// always be room for a piece beyond the limit, and for a trailer section.
  private static func chunkedCollectMax(_ settings: Settings, _ pool: PoolSettings) -> UInt64 {
    min(settings.collectedByteCountMax, UInt64(max(0, pool.replayByteCount - smallestRoom)))
  }
}

private enum RequestPlan {
  case refuse(ExchangeFailure, status: UInt16, reason: StaticString?)
  case answer(LocalAnswer, RouteSettings)
  case forward(RouteSettings, pool: Int, framing: BodyFraming)
}

private enum RouteMatchResult {
  case route(Int)
  case none
  /// The path policy refuses the path.
  case badPath

  init(_ route: Int?) { self = route.map { .route($0) } ?? .none }
}

// MARK: The request's body

extension Worker where IO: ~Copyable {
  /// Moves what it can of the request; true when the client's connection has more to do at once.
  mutating func driveRequest(_ handle: Handle) -> Bool {
    let downstream = exchanges[handle].downstream
    if exchanges[handle].machine.isRequestComplete {
      giveTail(handle)
      return watchForAbort(handle, downstream)
    }
    giveKept(handle)
    var hasReceived = false
    var pieceCount = 0
    while !exchanges[handle].machine.isRequestComplete {
      let room = requestRoom(handle)
      if room < (exchanges[handle].isOpen ? Self.smallestRoom : 1) { break }
      let step: BodyStep
      do throws(HTTP1Error) {
        step = try exchanges[handle].requestBody.next(
          in: downstreams[downstream].transport.inbound, limit: room, trailers: &trailers)
      } catch {
        countRefusal(error)
        exchanges[handle].malformation = error.name
        perform(exchanges[handle].machine.refuse(.malformedBody, at: now), handle)
        return true
      }
      switch step {
      case .piece(let skip, let count):
        guard takePiece(handle, skip: skip, count: count) else { return true }
        pieceCount += 1
        if pieceCount == Self.piecesPerDrive {
          queueToDrive(downstream: downstream)
          updateDeadline(handle)
          return false
        }
      case .needsInput(let consumed):
        downstreams[downstream].transport.inbound.consume(consumed)
        // One block, and then whoever else is ready.
        if hasReceived && downstreams[downstream].transport.mayHoldMore {
          queueToDrive(downstream: downstream)
          updateDeadline(handle)
          return false
        }
        switch downstreams[downstream].transport.receive(&io, &buffers) {
        case .bytes: hasReceived = true
        case .nothing:
          downstreams[downstream].transport.settle(&buffers)
          updateDeadline(handle)
          return false
        case .finished, .failed:
          clientGone(handle)
          return true
        }
      case .end(let consumed):
        downstreams[downstream].transport.inbound.consume(consumed)
        return requestEnded(handle)
      }
    }
    // What wants room waits for the backend to take what it was given.
    updateDeadline(handle)
    return false
  }

  /// How many bytes of the body can be moved on now.
  private mutating func requestRoom(_ handle: Handle) -> Int {
    let upstream = exchanges[handle].upstream
    if exchanges[handle].isOpen {
      // What is kept goes first.
      if exchanges[handle].givenByteCount < exchanges[handle].bodyByteCount { return 0 }
      return upstreams[upstream].transport.room - BodyEncoder.overheadByteCount
    }
    return exchanges[handle].keepsBody
      ? exchanges[handle].pool.replayByteCount
        - exchanges[handle].kept.count
      : 0
  }

  /// Takes a decoded piece of the body from the client's buffer; false when the exchange is over,
  /// or has begun an attempt.
  private mutating func takePiece(_ handle: Handle, skip: Int, count: Int) -> Bool {
    let downstream = exchanges[handle].downstream
    exchanges[handle].bodyByteCount += UInt64(count)
    if exchanges[handle].bodyByteCount > snapshot(of: handle).settings.bodyByteCountMax {
      perform(exchanges[handle].machine.refuse(.bodyTooLarge, at: now), handle)
      return false
    }
    let range = skip..<(skip + count)
    if exchanges[handle].isOpen {
      let upstream = exchanges[handle].upstream
      writePiece(
        downstreams[downstream].transport.inbound, range, exchanges[handle].upstreamFraming,
        to: &upstreams[upstream].transport, scratch: &scratch, &io,
        &buffers)
      exchanges[handle].givenByteCount += UInt64(count)
      queueToFlush(upstream: upstream)
      // A request that may not be sent twice is needed no longer once the socket took some of it.
      if !exchanges[handle].machine.isIdempotent && upstreams[upstream].takenByteCount > 0 {
        dropKept(handle)
      }
    }
    keep(handle, range)
    downstreams[downstream].transport.inbound.consume(skip + count)
    exchanges[handle].machine.progressed(at: now)
    if isTooLongToCollect(handle) {
      perform(exchanges[handle].machine.collectingEnded(), handle)
      return false
    }
    return true
  }

  /// Has more come of a chunked body that is being collected than is collected?
  private mutating func isTooLongToCollect(_ handle: Handle) -> Bool {
    guard case .collecting = exchanges[handle].machine.phase,
      exchanges[handle].upstreamFraming == .chunked
    else { return false }
    let max = Self.chunkedCollectMax(snapshot(of: handle).settings, exchanges[handle].pool)
    return exchanges[handle].bodyByteCount > max
  }

  /// Keeps a piece for another attempt while all of the body so far fits.
  private mutating func keep(_ handle: Handle, _ range: Range<Int>) {
    guard exchanges[handle].keepsBody else { return }
    let limit = exchanges[handle].pool.replayByteCount
    if exchanges[handle].kept.count + range.count > limit {
      dropKept(handle)
      return
    }
    if !exchanges[handle].kept.hasStorage {
      exchanges[handle].kept = buffers.takeSmall()
    }
    if exchanges[handle].kept.count + range.count > exchanges[handle].kept.capacity {
      buffers.enlarge(&exchanges[handle].kept)
    }
    exchanges[handle].kept.append(
      downstreams[exchanges[handle].downstream].transport.inbound, range)
  }

  /// Gives up on sending the body again.
  private mutating func dropKept(_ handle: Handle) {
    exchanges[handle].keepsBody = false
    // What the attempt hasn't been given yet is still needed.
    if exchanges[handle].givenByteCount < exchanges[handle].bodyByteCount { return }
    exchanges[handle].kept.removeAll()
    buffers.settle(&exchanges[handle].kept)
  }

  /// Gives the attempt what was kept from before it was open.
  private mutating func giveKept(_ handle: Handle) {
    guard exchanges[handle].isOpen else { return }
    let upstream = exchanges[handle].upstream
    let given = Int(exchanges[handle].givenByteCount)
    // Nothing is kept, or all of it was given and later pieces went straight on.
    if given >= exchanges[handle].kept.count { return }
    let room = upstreams[upstream].transport.room - BodyEncoder.overheadByteCount
    let count = min(room, exchanges[handle].kept.count - given)
    if count <= 0 { return }
    writePiece(
      exchanges[handle].kept, given..<(given + count), exchanges[handle].upstreamFraming,
      to: &upstreams[upstream].transport, scratch: &scratch, &io,
      &buffers)
    exchanges[handle].givenByteCount += UInt64(count)
    queueToFlush(upstream: upstream)
  }

  private mutating func requestEnded(_ handle: Handle) -> Bool {
    if !exchanges[handle].keepsTrailers { trailers.reset() }
    stateLength(handle)
    if exchanges[handle].upstreamFraming == .chunked {
      if !exchanges[handle].tail.hasStorage { exchanges[handle].tail = buffers.takeSmall() }
      trailers.prepareTrailers(exchanges[handle].route.requestEdits)
      BodyEncoder(.chunked).end(trailers: trailers, into: &exchanges[handle].tail)
    }
    let action = exchanges[handle].machine.requestEnded(at: now)
    if action == .attempt {
      perform(action, handle)
    } else {
      giveTail(handle)
      updateDeadline(handle)
    }
    return true
  }

  /// Gives a chunked body that was collected whole a length instead: many servers, those for WSGI
  /// among them, read no chunks. Trailers would be lost by that, so a body with any stays chunked.
  private mutating func stateLength(_ handle: Handle) {
    guard exchanges[handle].upstreamFraming == .chunked,
      case .collecting = exchanges[handle].machine.phase, trailers.count == 0
    else { return }
    let head = exchanges[handle].upstreamHead
    guard requestHead.parseAgain(exchanges[handle].text, head) else { return }
    let start = exchanges[handle].text.count
    let length = exchanges[handle].bodyByteCount
    let isUpgrade = !exchanges[handle].summary.upgrade.isEmpty
    requestHead.encode(
      body: .known(length), connection: isUpgrade ? .upgrade : .keepAlive,
      into: &exchanges[handle].text)
    exchanges[handle].replaceUpstreamHead(
      start..<exchanges[handle].text.count, framing: .length(length))
  }

  /// Ends the request upstream once all of its body was given.
  mutating func giveTail(_ handle: Handle) {
    guard exchanges[handle].isOpen, !exchanges[handle].isTailGiven,
      exchanges[handle].machine.isRequestComplete
    else { return }
    giveKept(handle)
    guard exchanges[handle].givenByteCount == exchanges[handle].bodyByteCount else { return }
    exchanges[handle].isTailGiven = true
    if exchanges[handle].tail.isEmpty { return }
    let upstream = exchanges[handle].upstream
    upstreams[upstream].transport.write(exchanges[handle].tail, &io, &buffers)
    queueToFlush(upstream: upstream)
  }

  /// Does a client that has finished sending get its answer (docs/decisions/0006)?
  private mutating func answersHalfClosed(_ downstream: Handle) -> Bool {
    guard let listener = listeners[downstreams[downstream].listener].configured else {
      return false
    }
    return snapshot.listeners[listener].answersHalfClosed
  }

  /// The request is complete; the client may still go away, or send the next one already.
  private mutating func watchForAbort(_ handle: Handle, _ downstream: Handle) -> Bool {
    // Only an end is looked for: bytes stay where they are until it is their turn.
    guard
      downstreams[downstream].transport.peerFinished
        || downstreams[downstream].transport.isBroken,
      downstreams[downstream].transport.inbound.isEmpty
    else { return false }
    switch downstreams[downstream].transport.receive(&io, &buffers) {
    case .bytes, .nothing: return false
    case .finished where answersHalfClosed(downstream):
      exchanges[handle].clientHasFinished = true
      exchanges[handle].response.persists = false
      return false
    case .finished, .failed:
      clientGone(handle)
      return downstreams.contains(downstream)
    }
  }
}
