// The life of an exchange: it begins with a head (or with one that can't be read), is routed, and
// is answered here or forwarded. At its end it is logged and the client's connection continues.
//
// Proxy.Exchange decides; `perform` carries its actions out, and `exchangeExpired` tells it of a
// deadline. Martlet's own answers are written in Worker+Answer.

import Balancing
import HTTP
import HTTP1
import Metrics
import Primitives
import Proxy
import Reactor

extension Worker where IO: ~Copyable {
  // MARK: Beginning

  /// A whole head is in the next head: answers it, or begins to forward it. With an `error`, the
  /// length of the body is unknown.
  mutating func beginExchange(
    on client: StreamID, body: BodyLength, persists: Bool, tolerated: ToleratedReasons,
    error: HTTP1Error?
  ) {
    metrics.add(.requests)
    let trace = identifyRequest()
    let isGRPC = client.stream != 0 && heads[nextHead].isGRPC
    let handle = insertExchange(
      client, startedAt: now, isComplete: error == nil && body.isEmpty,
      ActiveExchange.RequestFacts(
        hasHead: true, persists: persists, tolerated: tolerated,
        client: connections[client.connection].client.address, isTLS: false, trace: trace))
    if isGRPC { noteCall(handle) }
    if overload == .sheddingRequests {
      metrics.add(.requestsShed)
      return answer(handle, LocalAnswer(error: 503), failure: .overloaded)
    }
    if let error {
      countRefusal(error)
      return refuse(handle, .malformedHead, error.status, reason: error.name)
    }
    route(handle, body)
  }

  /// An exchange for the next head, which it keeps. Inlined, since it is built in place then.
  @inline(__always)
  mutating func insertExchange(
    _ client: StreamID, startedAt: Instant, isComplete: Bool,
    _ request: ActiveExchange.RequestFacts
  ) -> Handle {
    let generation = generations.count - 1
    generations[generation].exchangeCount += 1
    let head = takeHead()
    let isIdempotent = heads[head].method.isIdempotent
    metrics.add(.exchangesActive)
    let handle = exchanges.insert(
      ActiveExchange(
        Exchange(startedAt: startedAt, isIdempotent: isIdempotent, isComplete: isComplete),
        client: client, generation: generations[generation].id, head: head, request: request,
        stages: settings.stages))
    if client.stream != 0 { own(client, by: handle) }
    return handle
  }

  // MARK: Routing

  private mutating func route(_ handle: Handle, _ body: BodyLength) {
    // An extended CONNECT (RFC 8441) is a request for a protocol, as Upgrade is in HTTP/1.
    if heads[exchanges[handle].head].method == .connect
      && heads[exchanges[handle].head].connectProtocol.isEmpty
    {
      return refuse(handle, .notImplemented, 501, reason: "connect")
    }
    if heads[exchanges[handle].head].expect == .unknown {
      return refuse(handle, .malformedHead, 417, reason: "unknown-expectation")
    }
    if case .known(let count) = body, count > settings.bodyByteCountMax {
      return refuse(handle, .bodyTooLarge, 413)
    }
    let client = exchanges[handle].client.connection
    guard let listener = listeners[connections[client].client.listener].configured else {
      // No configuration has rules for it any more.
      return refuse(handle, .listenerRemoved, 421)
    }
    var rules = snapshot.listeners[listener].rules
    if let tlsRules = snapshot.listeners[listener].tlsRules, cameByTLS(handle) {
      rules = tlsRules
    }
    switch Self.route(&heads[exchanges[handle].head], rules, settings.paths, &scratch) {
    case .badPath: refuse(handle, .malformedHead, 400, reason: "bad-path")
    // A TCP listener now, for a client that connected before.
    case .none where snapshot.listeners[listener].tcp != nil:
      refuse(handle, .listenerRemoved, 421)
    case .none: refuse(handle, .noRoute, 404)
    case .route(let index): select(rules.routes[index], handle, body)
    }
  }

  private mutating func refuse(
    _ handle: Handle, _ failure: ExchangeFailure, _ status: UInt16, reason: StaticString? = nil
  ) {
    answer(handle, LocalAnswer(error: status), failure: failure, reason: reason)
  }

  private mutating func select(_ route: RouteSettings, _ handle: Handle, _ body: BodyLength) {
    if case .forward(let pool) = route.action {
      if heads[exchanges[handle].head].endsHere { return answerAsLast(handle, route) }
      exchanges[handle].forward(to: snapshot.pools[pool], index: pool)
    }
    exchanges[handle].select(route)
    exchanges[handle].body.length = body
    runStages(exchanges[handle].stages.request, of: handle)
  }

  /// Does what the route says, after its stages.
  mutating func followRoute(_ handle: Handle) {
    if exchanges[handle].target != nil { return forward(handle) }
    switch exchanges[handle].route?.action {
    case .redirect(let target, let status):
      let isTLS = cameByTLS(handle)
      guard let location = target.location(for: heads[exchanges[handle].head], isTLS: isTLS) else {
        return refuse(handle, .malformedHead, 400, reason: "missing-host")
      }
      answer(handle, LocalAnswer(redirect: status, to: location))
    case .respond(let answer, let draining):
      if heads[exchanges[handle].head].method == .connect {
        return refuse(handle, .notImplemented, 501, reason: "connect")
      }
      self.answer(handle, isLeaving ? draining : answer)
    case .forward, nil:
      preconditionFailure("without a pool")
    }
  }

  /// The answer to a TRACE or OPTIONS whose Max-Forwards is used up (RFC 9110 7.6.2). TRACE is
  /// refused: the fields that it returns may contain secrets of servers on the way.
  private mutating func answerAsLast(_ handle: Handle, _ route: RouteSettings) {
    if heads[exchanges[handle].head].method == .trace {
      return refuse(handle, .notImplemented, 501, reason: "trace")
    }
    exchanges[handle].select(route)
    answer(handle, LocalAnswer(status: 200, contentType: "", body: []))
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
  private mutating func cameByTLS(_ handle: Handle) -> Bool {
    let client = exchanges[handle].client.connection
    let isEncrypted = connections[client].transport.isEncrypted
    if settings.forwarding.trustedProxies.isEmpty { return isEncrypted }
    return RequestOrigin(
      peer: peer(of: client), fields: heads[exchanges[handle].head].fields,
      policy: settings.forwarding
    ).isTLS ?? isEncrypted
  }

  /// A Unix socket has no address; its peer is on this machine.
  mutating func peer(of client: Handle) -> IPAddress {
    connections[client].client.address ?? .loopbackV4
  }

  // MARK: Forwarding

  private mutating func forward(_ handle: Handle) {
    let client = exchanges[handle].client
    exchanges[handle].request.logsIn = heads[exchanges[handle].head].logsConnectionIn
    if heads[exchanges[handle].head].method == .connect
      && exchanges[handle].request.upgrade.isEmpty
    {
      return refuse(handle, .notImplemented, 501, reason: "connect")
    }
    if !logins.isEmpty {
      exchanges[handle].attempt.login = login(of: client.connection, for: handle)
    }
    if client.stream == 0 { own(client, by: handle) }
    if exchanges[handle].request.isGRPC && !beginCall(handle) { return }
    let collects = collectsBody(handle)
    perform(
      exchanges[handle].machine.handle(
        .routed(collectsUntil: collects ? now + settings.collectTime : nil), at: now), handle)
  }

  /// Whether to wait for the whole body before a backend is selected. A client that waits for 100
  /// (Continue) would wait for us, and one that uses gRPC may wait for a response between messages.
  private mutating func collectsBody(_ handle: Handle) -> Bool {
    let body = exchanges[handle].body.length
    if body.isEmpty || heads[exchanges[handle].head].expectsContinue { return false }
    let pool = exchanges[handle].pool
    // There is no gRPC over HTTP/1, whatever a client says.
    if exchanges[handle].request.isGRPC && pool.protocol != .http1 { return false }
    guard case .known(let count) = body else {
      return Self.chunkedCollectMax(settings, pool) > 0
    }
    // The collected body is in the replay buffer.
    return count <= min(settings.collectedByteCountMax, UInt64(pool.replayByteCount))
  }

  /// The most that is collected of a chunked body. Its length is known only at its end, so there
  /// must always be room for a piece beyond the limit, and for a trailer section.
  static func chunkedCollectMax(_ settings: Settings, _ pool: PoolSettings) -> UInt64 {
    min(settings.collectedByteCountMax, UInt64(max(0, pool.replayByteCount - trailerRoom)))
  }

  // MARK: Actions

  mutating func perform(_ action: Exchange.Action, _ handle: Handle) {
    switch action {
    case .wait: updateDeadline(handle)
    case .stage(let stage): runStages(exchanges[handle].stages.request.after(stage), of: handle)
    case .attempt: startAttempt(handle)
    case .redial: redial(handle)
    case .send: sendRequest(handle)
    case .forward: forwardHead(handle)
    case .forwardInterim: forwardInterim(handle)
    case .finish: finish(handle)
    case .answer(let status): answerInstead(handle, status)
    case .cut: cut(handle)
    case .closeRelay: closeRelay(handle)
    case .resetRelay: resetRelay(handle)
    }
  }

  // MARK: Ending

  /// The response can't be completed, and the client must see this.
  private mutating func cut(_ handle: Handle) {
    let client = exchanges[handle].client
    let failure = exchanges[handle].machine.failure
    let isGone = failure == .clientAborted || failure == .clientStalled
    if !isGone && exchanges[handle].request.isGRPC && endCall(handle) { return }
    endAttempt(handle, .broken)
    // In HTTP/1 the client has the whole response with the last byte of a stated length, and may
    // send its next request (RFC 9112 6.3). A backend's stream ends later than that, or breaks.
    if !isGone, case .http1Client = connections[client.connection].wire, isWhole(handle) {
      return finish(handle)
    }
    removeExchange(handle)
    cutStream(client, isGone: isGone)
  }

  /// Whether the client has all of the response, by what its head says.
  private mutating func isWhole(_ handle: Handle) -> Bool {
    let isWithoutBody = exchanges[handle].response.length == .none
    return isWithoutBody
      ? exchanges[handle].machine.hasAnswered
      : exchanges[handle].response.hasAll(byStream: false)
  }

  /// The client has disconnected.
  mutating func clientGone(_ handle: Handle) {
    // On a TCP connection, both may have finished: many clients don't wait for close_notify. If the
    // backend doesn't have everything, a FIN would make a part look like the whole.
    if exchanges[handle].response.backendHasFinished && exchanges[handle].body.clientHasFinished,
      let backend = backend(of: handle), connections[backend].transport.isFlushed
    {
      return perform(exchanges[handle].machine.handle(.relayEnded, at: now), handle)
    }
    perform(exchanges[handle].machine.handle(.clientGone, at: now), handle)
  }

  /// The whole response is written: logs the exchange and continues with the client's connection.
  mutating func finish(_ handle: Handle) {
    let client = exchanges[handle].client
    let persists = exchanges[handle].response.persists
    // A client that didn't expect an answer from us may send more, whatever it announced.
    let expectsMore =
      !exchanges[handle].body.clientHasFinished
      && (exchanges[handle].target == nil || exchanges[handle].request.persists
        || !exchanges[handle].machine.isRequestComplete)
    removeExchange(handle)
    endStream(client, persists: persists, clientMaySend: expectsMore)
  }

  private mutating func removeExchange(_ handle: Handle) {
    leaveOthers(handle)
    if !delayed.isEmpty { delayed.remove(handle) }
    if !transforms.isEmpty { dropTransforms(handle) }
    logExchange(handle)
    if exchanges[handle].body.kept.hasStorage {
      var kept = ByteBuffer()
      swap(&kept, &exchanges[handle].body.kept)
      buffers.give(kept)
    }
    if exchanges[handle].body.arrived.bytes.hasStorage {
      exchanges[handle].body.arrived.clear(&buffers)
    }
    if exchanges[handle].response.arrived.bytes.hasStorage {
      exchanges[handle].response.arrived.clear(&buffers)
    }
    giveHead(exchanges[handle].head)
    dropExchange(handle)
  }

  /// The exchange waits for nothing any more.
  @inline(__always)
  mutating func leaveOthers(_ handle: Handle) {
    precondition(exchanges[handle].attempt.backend == nil, "its lease has not ended")
    leaveLine(handle)
    if Int(handle.index) < exchangeDeadlines.count { setDeadline(exchange: handle, .never) }
  }

  @inline(__always)
  mutating func dropExchange(_ handle: Handle) {
    let generation = exchanges[handle].generation
    exchanges.drop(handle)
    metrics.subtract(.exchangesActive)
    exchangeEnded(inGeneration: generation)
  }

  // MARK: Deadlines

  mutating func updateDeadline(_ handle: Handle) {
    let limits = exchanges[handle].limits
    updatePace(handle, limits)
    let side = awaitedSide(handle)
    var deadline = exchanges[handle].machine.deadline(limits, awaiting: side)
    if exchanges[handle].request.isGRPC { deadline = min(deadline, callDeadline(handle)) }
    setDeadline(exchange: handle, deadline)
  }

  /// Passes on how much of the body has arrived, and whether it is the client that must send more.
  private mutating func updatePace(_ handle: Handle, _ limits: ExchangeLimits) {
    if exchanges[handle].machine.isRequestComplete || mayBeQuiet(handle) { return }
    var awaitsMore = false
    if let backend = backend(of: handle) {
      awaitsMore =
        !connections[backend].transport.isBlocked && !exchanges[handle].body.isBlocked
        && exchanges[handle].body.arrived.bytes.isEmpty
    }
    exchanges[handle].machine.bodyReceived(
      exchanges[handle].body.byteCount, awaitsMore: awaitsMore, limits, at: now)
  }

  mutating func exchangeExpired(_ handle: Handle) {
    let client = exchanges[handle].client.connection
    let limits = exchanges[handle].limits
    updatePace(handle, limits)
    noteTaking(handle)
    if callDeadline(handle) <= now {
      callExpired(handle)
      if connections.contains(client) { queueToFlush(client) }
      return
    }
    let side = awaitedSide(handle)
    switch exchanges[handle].machine.expiry(limits, awaiting: side, at: now) {
    case nil: updateDeadline(handle)
    case .stage: stageEnded(handle)
    case .collected: perform(exchanges[handle].machine.handle(.collectingEnded, at: now), handle)
    case .queue:
      leaveLine(handle)
      perform(exchanges[handle].machine.handle(.unavailable(.queueTimeout), at: now), handle)
    case .attempt where isHeadWaiting(handle):
      // The backend has answered. How slowly the client may take the rest is checked elsewhere.
      setDeadline(exchange: handle, min(now + Self.headPause, callDeadline(handle)))
    case .attempt(.responseTimeout) where hasPartialHead(handle):
      attemptExpired(handle, .responseStalled)
    case .attempt(.connectTimeout):
      let cause: FailureCause = isShakingHands(handle) ? .tlsTimeout : .connectTimeout
      leaveSlowDial(handle)
      attemptFailed(handle, cause)
    case .attempt(let cause): attemptExpired(handle, cause)
    case .client(let reason):
      metrics.add(reason == .clientStalled ? .slowResponses : .slowBodies)
      perform(exchanges[handle].machine.handle(.refused(reason), at: now), handle)
    case .relay where exchanges[handle].machine.isConnection: relayExpired(handle)
    case .relay: endRelay(handle)
    }
    if connections.contains(client) { queueToFlush(client) }
  }

  /// The backend took too long. The record names the timeout, if this ends the exchange.
  private mutating func attemptExpired(_ handle: Handle, _ cause: FailureCause) {
    if !exchanges[handle].machine.isRequestComplete || exchanges[handle].machine.hasAnswered {
      noteTimeout(handle, reason: "idle")
    } else if exchanges[handle].machine.hasUsedTotal(exchanges[handle].limits, at: now) {
      noteTimeout(handle, reason: "request")
    } else {
      noteTimeout(handle, reason: "response")
    }
    // A backend that has begun its response may have a reason not to take the rest of the request.
    let awaitsWindow = exchanges[handle].machine.hasAnswered && exchanges[handle].body.isBlocked
    attemptFailed(handle, cause, blamesBackend: !mayBeQuiet(handle) && !awaitsWindow)
    if exchanges.contains(handle) { exchanges[handle].malformation = nil }
  }

  private mutating func noteTimeout(_ handle: Handle, reason: StaticString) {
    exchanges[handle].malformation = reason
  }

  private static var headPause: TimeSpan { .seconds(1) }

  /// Whether bytes of the response have arrived, but wait until the client has taken more of other
  /// responses on its connection.
  private mutating func isHeadWaiting(_ handle: Handle) -> Bool {
    guard exchanges[handle].response.isBlocked, !exchanges[handle].machine.hasAnswered,
      let backend = backend(of: handle)
    else { return false }
    return exchanges[handle].attempt.stream != 0
      ? exchanges[handle].response.keptHead != .none
      : connections[backend].transport.mayHoldMore
  }

  /// The side that must act: the one that must take what waits for it, else the one that has more
  /// to send. What waits counts even if the socket has just become writable: when a deadline is
  /// due in the same turn, nothing was flushed yet.
  private mutating func awaitedSide(_ handle: Handle) -> Exchange.Side {
    if exchanges[handle].machine.hasAnswered {
      return awaitsClient(handle) && !mayBeQuiet(handle) ? .client : .backend
    }
    if mayBeQuiet(handle) { return .backend }
    guard let backend = backend(of: handle) else { return .client }
    if exchanges[handle].attempt.stream != 0 {
      return exchanges[handle].body.isBlocked ? .backend : .client
    }
    return connections[backend].transport.isFlushed ? .client : .backend
  }
}

private enum RouteMatchResult {
  case route(Int)
  case none
  /// The path policy refuses the path.
  case badPath

  init(_ route: Int?) { self = route.map { .route($0) } ?? .none }
}
