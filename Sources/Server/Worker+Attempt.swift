// Attempts: choosing a member, leasing or dialling a connection to it, and what follows when an
// attempt or the whole exchange ends.

import Balancing
import HTTP
import HTTP1
import Metrics
import Primitives
import Proxy
import Reactor

extension Worker where IO: ~Copyable {
  mutating func perform(_ action: Exchange.Action, _ handle: Handle) {
    switch action {
    case .wait: updateDeadline(handle)
    case .attempt: startAttempt(handle)
    case .redial: redial(handle)
    case .answer(let status): answerInstead(handle, status)
    case .cut: cut(handle)
    case .forward, .forwardInterim, .finish: break
    }
  }

  mutating func updateDeadline(_ handle: Handle) {
    let limits = exchanges[handle].pool.limits
    updatePace(handle, limits)
    let side = awaitedSide(handle)
    setDeadline(exchange: handle, exchanges[handle].machine.deadline(limits, awaiting: side))
  }

  /// Tells how much of the body has come, and whether it is up to the client that more does.
  private mutating func updatePace(_ handle: Handle, _ limits: ExchangeLimits) {
    if exchanges[handle].machine.isRequestComplete { return }
    let upstream = exchanges[handle].upstream
    let isFree = upstream != .none && !upstreams[upstream].transport.isBlocked
    exchanges[handle].machine.bodyReceived(
      exchanges[handle].bodyByteCount, awaitsMore: isFree, limits, at: now)
  }

  // MARK: Starting

  private mutating func startAttempt(_ handle: Handle) {
    if mustQueue(handle) { return standInLine(handle) }
    do throws(Unavailability) {
      begin(handle, with: try select(handle))
    } catch {
      if error == .allFull { return standInLine(handle) }
      perform(exchanges[handle].machine.nothingAvailable(error), handle)
    }
  }

  /// The next member for this exchange, with a place taken there.
  mutating func select(_ handle: Handle) throws(Unavailability) -> Pick {
    let generation = generationIndex(of: handle)
    if let record = backendOfLogin(handle) {
      return try exchanges[handle].selection.bound(
        to: record, in: &generations[generation].pools[exchanges[handle].poolIndex], at: now)
    }
    return try exchanges[handle].selection.next(
      in: &generations[generation].pools[exchanges[handle].poolIndex],
      client: exchanges[handle].summary.client, at: now, generator: &generator)
  }

  mutating func begin(_ handle: Handle, with pick: consuming Pick) {
    if pick.isFailOpen { metrics.add(.attemptsFailOpen) }
    exchanges[handle].pick = consume pick
    connect(handle, mayReuse: true)
  }

  /// The pooled connection was closed under our request: the same member, on a new one. Its place
  /// there is still taken.
  private mutating func redial(_ handle: Handle) { connect(handle, mayReuse: false) }

  /// A place at the picked member is taken; get a connection to it.
  private mutating func connect(_ handle: Handle, mayReuse: Bool) {
    exchanges[handle].givenByteCount = 0
    exchanges[handle].isTailGiven = false
    metrics.add(.attempts)
    guard let backend = exchanges[handle].pick?.record.id else { return }
    countAttempt(backend, of: handle)
    let isFailOpen = exchanges[handle].pick?.isFailOpen ?? false
    if exchanges[handle].login != .none { return goOnWithLogin(handle, backend) }
    if mayReuse, let upstream = takeIdle(backend, for: handle) {
      metrics.add(.upstreamConnectionsReused)
      exchanges[handle].upstream = upstream
      exchanges[handle].machine.attemptStarted(
        backend: backend, isReused: true, isFailOpen: isFailOpen, at: now)
      sendRequest(handle)
      return
    }
    exchanges[handle].machine.attemptStarted(
      backend: backend, isReused: false, isFailOpen: isFailOpen, at: now)
    dial(handle)
  }

  private mutating func dial(_ handle: Handle) {
    guard let member = exchanges[handle].pick?.member else { return }
    let upstream = upstreams.nextHandle
    switch io.connect(to: member.address, token: Token(.upstream, upstream).packed) {
    case .started(let socket):
      if let probes = exchanges[handle].pool.tcpKeepAlive, member.address.ip != nil {
        io.keepAlive(socket, probes)
      }
      let inserted = upstreams.insert(
        UpstreamConnection(
          Transport(socket, isWritable: false), backend: member.record,
          keepAlive: exchanges[handle].pool.keepAlive, for: handle,
          rules: exchanges[handle].pool.responses))
      precondition(inserted == upstream)
      metrics.add(.upstreamConnectionsOpened)
      backendTraffic[member.record.id]?.add(.connectionsOpened)
      exchanges[handle].upstream = upstream
      updateDeadline(handle)
    case .failed(let error):
      attemptFailed(handle, FailureCause(connecting: error), blamesBackend: !error.isShortage)
    }
  }

  private mutating func countAttempt(_ backend: Int, of handle: Handle) {
    if backend >= backendNames.count || backendNames[backend].bytes.isEmpty {
      guard let record = exchanges[handle].pick?.record else { return }
      remember(record)
    }
    backendTraffic[backend]?.add(.attempts)
  }

  /// Keeps by a backend's id its name, for the log, and its counters.
  private mutating func remember(_ record: BackendRecord) {
    while backendNames.count <= record.id {
      backendNames.append(.empty)
      backendTraffic.append(nil)
    }
    let identity = record.identity
    backendNames[record.id] = LogName(identity.address)
    let subject = MetricsSubject.backend(pool: identity.pool, address: identity.address)
    backendTraffic[record.id] = traffic.blocks(for: subject)[index]
  }

  /// An active exchange may have tried one of them: it is logged without its name.
  mutating func forget(_ backends: [Int]) {
    for backend in backends where backend < backendNames.count {
      backendNames[backend] = .empty
      backendTraffic[backend] = nil
    }
  }

  /// The most recently used idle connection that is still open. A request that can't be sent twice
  /// only takes one that was used within the last second and is seen to be quiet.
  private mutating func takeIdle(_ backend: Int, for handle: Handle) -> Handle? {
    let isIdempotent = exchanges[handle].machine.isIdempotent
    while let upstream = popIdle(backend) {
      guard case .idle(let since) = upstreams[upstream].phase else { continue }
      if !isIdempotent && now - since >= .seconds(1) {
        // It is good enough for the next idempotent request; all others are older still.
        pushIdle(upstream, backend)
        return nil
      }
      let isDoubtful = upstreams[upstream].transport.isReadable || !isIdempotent
      if isDoubtful && !io.isQuiet(upstreams[upstream].transport.socket) {
        close(upstream: upstream)
        continue
      }
      upstreams[upstream].lease(to: handle, rules: exchanges[handle].pool.responses)
      setDeadline(upstream: upstream, .never)
      return upstream
    }
    return nil
  }

  /// The attempt's connection is there: write the head and what there is of the body.
  mutating func sendRequest(_ handle: Handle) {
    let upstream = exchanges[handle].upstream
    let head = exchanges[handle].upstreamHead
    if exchanges[handle].logsIn, upstreams[upstream].login == .none {
      upstreams[upstream].login = .attempted
    }
    upstreams[upstream].transport.write(
      exchanges[handle].text, head, &io, &buffers)
    // Its deadline is set when that is flushed.
    queueToFlush(upstream: upstream)
    if exchanges[handle].machine.isRequestComplete {
      giveTail(handle)
    } else {
      queueToDrive(downstream: exchanges[handle].downstream)
    }
  }

  // MARK: Ending

  /// The attempt came to nothing: end its connection, and see what follows. A shortage of ours is
  /// not blamed on the backend.
  mutating func attemptFailed(
    _ handle: Handle, _ cause: FailureCause, blamesBackend: Bool = true
  ) {
    let upstream = exchanges[handle].upstream
    var sent: UInt64 = 0
    if upstream != .none {
      sent = upstreams[upstream].takenByteCount
      exchanges[handle].upstream = .none
      close(upstream: upstream)
    }
    let policy = exchanges[handle].pool.retry
    let failure = AttemptFailure(
      cause: cause, wasReused: exchanges[handle].machine.attempts.last?.isReused ?? false,
      sentByteCount: Int(clamping: sent))
    countFailure(cause, of: handle)
    if blamesBackend && policy.blamesBackend(failure) { observe(handle, failure: cause) }
    var verdict = verdict(handle, after: failure)
    // Anywhere else the client would be somebody else.
    if exchanges[handle].login != .none { verdict = .giveUp }
    // A redial keeps its place at the member; everything else gives it back.
    if verdict != .retrySameFresh { releasePick(handle) }
    if verdict == .retryElsewhere && !chargeRetry(handle, after: cause) { verdict = .giveUp }
    if verdict != .giveUp { metrics.add(.retries) }
    // An attempt to connect that fails at once began in this turn.
    let began = exchanges[handle].machine.attempts.last?.startedAt
    perform(
      exchanges[handle].machine.attemptFailed(
        cause, verdict: verdict, at: began == now ? io.exactNow : now), handle)
  }

  /// What follows a failed attempt, before the retry budget is asked. A backend that took too long,
  /// or that answered with a status which is retried, gets no other attempt of this exchange.
  mutating func verdict(_ handle: Handle, after failure: AttemptFailure) -> RetryVerdict {
    var hasOther = true
    if failure.cause.spendsBackend, let backend = exchanges[handle].pick?.record.id {
      let generation = generationIndex(of: handle)
      hasOther = exchanges[handle].selection.hasOther(
        than: backend, in: &generations[generation].pools[exchanges[handle].poolIndex], at: now)
    }
    let verdict = exchanges[handle].machine.verdict(
      after: failure, canReplay: exchanges[handle].keepsBody, hasOther: hasOther,
      policy: exchanges[handle].pool.retry, limits: exchanges[handle].pool.limits, at: now)
    if verdict == .retryElsewhere, failure.cause.spendsBackend,
      let backend = exchanges[handle].pick?.record.id
    {
      exchanges[handle].selection.spend(backend)
    }
    return verdict
  }

  /// Asks the retry budget; true when the retry may be made.
  mutating func chargeRetry(_ handle: Handle, after cause: FailureCause) -> Bool {
    let view = generations[generationIndex(of: handle)].pools[exchanges[handle].poolIndex]
    switch view.chargeRetry(after: cause) {
    case .exempt: return true
    case .charged:
      exchanges[handle].owesBudget = true
      metrics.add(.retriesCharged)
      return true
    case .refused:
      exchanges[handle].wasBudgetSpent = true
      metrics.add(.retriesRefused)
      return false
    }
  }

  /// Ends the attempt after an answer, or because nobody waits for one any more; its connection is
  /// kept if it can be used again.
  mutating func endAttempt(_ handle: Handle, reusable: Bool) {
    let upstream = exchanges[handle].upstream
    if upstream != .none {
      exchanges[handle].upstream = .none
      switch upstreams[upstream].login {
      case _ where !reusable: close(upstream: upstream)
      case .none: makeIdle(upstream)
      case .attempted: close(upstream: upstream)
      case .bound: keepLogin(upstream, for: exchanges[handle].downstream)
      }
    }
    releasePick(handle)
  }

  /// Gives back what the current attempt was charged, if it was.
  mutating func repayRetry(_ handle: Handle) {
    guard exchanges[handle].owesBudget else { return }
    exchanges[handle].owesBudget = false
    metrics.subtract(.retriesCharged)
    exchanges[handle].pool.pool.refundRetry()
  }

  private mutating func releasePick(_ handle: Handle) {
    repayRetry(handle)
    guard let pick = exchanges[handle].pick.take() else { return }
    pick.release()
    passTurn(in: exchanges[handle].pool.pool.record)
  }

  /// Tells the backend's health how the attempt went: `failure` is nil if it succeeded.
  mutating func observe(_ handle: Handle, failure: FailureCause?) {
    guard var pick = exchanges[handle].pick.take() else { return }
    let pool = exchanges[handle].pool.pool
    if let flip = pool.observeExchange(&pick, succeeded: failure == nil, at: now) {
      flipped(pick.record, flip, in: pool, reason: failure?.reason)
    }
    exchanges[handle].pick = consume pick
  }

  /// No backend will answer: we do.
  private mutating func answerInstead(_ handle: Handle, _ status: UInt16) {
    let downstream = exchanges[handle].downstream
    endAttempt(handle, reusable: false)
    let isWhole = exchanges[handle].machine.isRequestComplete
    // Whoever is logged in at the backend had better begin anew.
    exchanges[handle].response.persists =
      exchanges[handle].response.persists && isWhole && exchanges[handle].login == .none
      && mayPersist(downstream)
    exchanges[handle].response.status = status
    exchanges[handle].response.byteCount = writeAnswer(
      downstream, LocalAnswer(error: status), to: .exchange(handle),
      persists: exchanges[handle].response.persists)
    finish(handle)
  }

  /// The answer can't be completed: end the client's connection so that this is plain to see. What
  /// there is of it goes first, and what waits of earlier ones: a client that saw nothing may take
  /// the connection for a stale one and ask again what was carried out already.
  private mutating func cut(_ handle: Handle) {
    let downstream = exchanges[handle].downstream
    let framing = exchanges[handle].response.framing
    let failure = exchanges[handle].machine.failure
    endAttempt(handle, reusable: false)
    removeExchange(handle)
    switch (framing, failure) {
    case (_, .clientAborted), (_, .clientStalled), (.none, _), (.untilClose, _):
      // Nobody takes it, or nothing but a reset says that it isn't whole.
      downstreams[downstream].transport.flush(&io, &buffers)
      close(downstream: downstream, reset: true)
    case (.length, _), (.chunked, _):
      // No end of the body, and no close_notify.
      sendRest(downstream: downstream, linger: true)
    }
  }

  /// The client went away.
  mutating func clientGone(_ handle: Handle) {
    perform(exchanges[handle].machine.clientGone(at: now), handle)
  }

  /// The answer is written as a whole: log it and go on with the client's connection.
  mutating func finish(_ handle: Handle) {
    let downstream = exchanges[handle].downstream
    let persists = exchanges[handle].response.persists
    let expectsMore =
      !exchanges[handle].clientHasFinished
      && (exchanges[handle].requestPersists || !exchanges[handle].machine.isRequestComplete)
    removeExchange(handle)
    continueDownstream(downstream, persists: persists, clientMaySend: expectsMore)
  }

  /// After an answer: the next request, or the end of the connection. `clientMaySend`: it is we who
  /// end it, so that more of this request, or another one, may be on its way.
  mutating func continueDownstream(_ downstream: Handle, persists: Bool, clientMaySend: Bool) {
    if persists && !downstreams[downstream].hasLostLogin {
      downstreams[downstream].phase = .awaitingHead
      setDeadline(downstream: downstream, now + idleTime)
      queueToFlush(downstream: downstream)
      if downstreams[downstream].transport.mayHoldMore {
        // What is there already won't be reported again.
        queueToDrive(downstream: downstream)
      } else {
        // Idle between requests: it holds no buffer.
        downstreams[downstream].transport.settle(&buffers)
      }
    } else {
      finishWriting(downstream: downstream, linger: clientMaySend)
    }
  }

  private mutating func removeExchange(_ handle: Handle) {
    leaveLine(handle)
    setDeadline(exchange: handle, .never)
    logExchange(handle)
    buffers.give(take(&exchanges[handle].text))
    buffers.give(take(&exchanges[handle].kept))
    buffers.give(take(&exchanges[handle].tail))
    let generation = exchanges[handle].generation
    exchanges.drop(handle)
    metrics.subtract(.exchangesActive)
    exchangeEnded(inGeneration: generation)
  }

  // MARK: Time

  mutating func exchangeExpired(_ handle: Handle) {
    let downstream = exchanges[handle].downstream
    let limits = exchanges[handle].pool.limits
    updatePace(handle, limits)
    let side = awaitedSide(handle)
    switch exchanges[handle].machine.expiry(limits, awaiting: side, at: now) {
    case nil: updateDeadline(handle)
    case .collected: perform(exchanges[handle].machine.collectingEnded(), handle)
    case .queue:
      leaveLine(handle)
      perform(exchanges[handle].machine.nothingAvailable(.queueTimeout), handle)
    case .attempt(.responseTimeout) where hasPartialHead(handle):
      attemptFailed(handle, .responseStalled)
    case .attempt(let cause): attemptFailed(handle, cause)
    case .client(let reason):
      metrics.add(reason == .clientStalled ? .slowResponses : .slowBodies)
      perform(exchanges[handle].machine.refuse(reason, at: now), handle)
    case .relay: endRelay(handle)
    }
    if downstreams.contains(downstream) { queueToFlush(downstream: downstream) }
  }

  /// Whose turn it is: whoever has to take what waits for it, else whoever has more to send.
  private mutating func awaitedSide(_ handle: Handle) -> Exchange.Side {
    let downstream = exchanges[handle].downstream
    let upstream = exchanges[handle].upstream
    if exchanges[handle].machine.hasAnswered {
      return downstreams[downstream].transport.isBlocked ? .client : .backend
    }
    return upstream != .none && upstreams[upstream].transport.isBlocked ? .backend : .client
  }
}

/// Leaves an empty buffer in the place of the one taken.
private func take(_ buffer: inout ByteBuffer) -> ByteBuffer {
  var taken = ByteBuffer()
  swap(&taken, &buffer)
  return taken
}
