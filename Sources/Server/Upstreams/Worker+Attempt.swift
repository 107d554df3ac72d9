// Attempts: selecting a member, leasing a connection to it, and what follows when an attempt fails
// or ends, with the exceptions to RetryPolicy. Also how backends are forgotten. Connections are
// found and dialled in Worker+Upstream.

import Balancing
import HTTP
import HTTP1
import Metrics
import Primitives
import Proxy
import Reactor

extension Worker where IO: ~Copyable {
  // MARK: Starting

  mutating func startAttempt(_ handle: Handle) {
    if mustQueue(handle) { return standInLine(handle) }
    do throws(Unavailability) {
      begin(handle, with: try select(handle))
    } catch {
      if error == .allFull { return standInLine(handle) }
      perform(exchanges[handle].machine.handle(.unavailable(error), at: now), handle)
    }
  }

  /// The next member for this exchange, with one of its slots reserved.
  mutating func select(_ handle: Handle) throws(Unavailability) -> Pick {
    let generation = generationIndex(of: handle)
    let pool = exchanges[handle].poolIndex
    if let record = backendOfLogin(handle) {
      return try exchanges[handle].selection.bound(
        to: record, in: &generations[generation].pools[pool], at: now)
    }
    return try exchanges[handle].selection.next(
      in: &generations[generation].pools[pool],
      client: exchanges[handle].request.client, at: now, generator: &generator)
  }

  mutating func begin(_ handle: Handle, with pick: consuming Pick) {
    let pick = calmer(handle, than: pick)
    if pick.isFailOpen { metrics.add(.attemptsFailOpen) }
    exchanges[handle].attempt.pick = consume pick
    connect(handle, mayReuse: true)
  }

  /// The pooled connection was closed under our request: the same member, on a new connection. Its
  /// slot is still reserved. In HTTP/2, several that were sent back share the new one.
  mutating func redial(_ handle: Handle) {
    connect(handle, mayReuse: exchanges[handle].attempt.unprocessedCount > 0)
  }

  /// A slot of the selected member is reserved: gets a connection to it.
  private mutating func connect(_ handle: Handle, mayReuse: Bool) {
    exchanges[handle].body.givenByteCount = 0
    exchanges[handle].body.isEndGiven = false
    metrics.add(.attempts)
    guard let backend = exchanges[handle].attempt.pick?.record.id else { return }
    countAttempt(backend, of: handle)
    let isFailOpen = exchanges[handle].attempt.pick?.isFailOpen ?? false
    if exchanges[handle].attempt.login != .none { return continueWithLogin(handle, backend) }
    if mayReuse && exchanges[handle].pool.protocol != .http1
      && shareConnection(handle, backend, isFailOpen: isFailOpen)
    {
      return
    }
    if mayReuse,
      let connection = takeIdle(backend, for: handle) ?? takeOwn(backend, for: handle)
    {
      metrics.add(.upstreamConnectionsReused)
      lease(connection, for: handle)
      let start = Exchange.Event.attemptStarted(
        backend: backend, isReused: true, isFailOpen: isFailOpen)
      return perform(exchanges[handle].machine.handle(start, at: now), handle)
    }
    let start = Exchange.Event.attemptStarted(
      backend: backend, isReused: false, isFailOpen: isFailOpen)
    perform(exchanges[handle].machine.handle(start, at: now), handle)
    dial(handle)
  }

  private mutating func countAttempt(_ backend: Int, of handle: Handle) {
    if !backends.contains(backend) {
      guard let record = exchanges[handle].attempt.pick?.record else { return }
      enter(record)
    }
    backends.traffic[backend]?.add(.attempts)
  }

  mutating func countAttempt(_ record: BackendRecord) {
    if !backends.contains(record.id) { enter(record) }
    backends.traffic[record.id]?.add(.attempts)
  }

  private mutating func enter(_ record: BackendRecord) {
    let subject = MetricsSubject.backend(
      pool: record.identity.pool, address: record.identity.address)
    backends.insert(record, traffic.blocks(for: subject)[index])
  }

  /// Closes the idle connections to these backends. Then frees what is known about backends that
  /// have no connection and that no active exchange has tried, these and all others: what was in
  /// use at an earlier call may not be in use now.
  mutating func forget(_ records: [BackendRecord]) {
    for record in records {
      stock.forget(record.id)
      for connection in stock.connections(to: record.id) { close(connection) }
      for connection in stock.shared(by: record.id) { retire(connection) }
    }
    var tried: Set<Int> = []
    for slot in 0..<exchanges.slotCount {
      guard let handle = exchanges.handle(at: slot) else { continue }
      for index in 0..<exchanges[handle].machine.attempts.count {
        tried.insert(exchanges[handle].machine.attempts[index].backend)
      }
    }
    for slot in 0..<udp.sessions.slotCount {
      guard let session = udp.sessions.handle(at: slot) else { continue }
      for index in 0..<udp.sessions[session].attempts.count {
        tried.insert(udp.sessions[session].attempts[index].backend)
      }
    }
    for id in backends.removeUnused(except: tried) { stock.forget(id) }
  }

  /// The request goes over this connection from here on.
  mutating func lease(_ connection: Handle, for handle: Handle) {
    if case .http1Backend(let codec, _) = connections[connection].wire {
      connections[connection].wire = .http1Backend(codec: codec, .leased(exchange: handle))
      http1Backends[codec].use(exchanges[handle].pool.responses)
    }
    exchanges[handle].attempt.begin(
      Lease(
        StreamID(connection: connection, stream: 0),
        sentBefore: connections[connection].transport.sentByteCount))
  }

  /// How many bytes of this attempt the connection's socket has taken.
  mutating func takenByteCount(_ handle: Handle) -> UInt64 {
    guard let backend = backend(of: handle),
      let before = exchanges[handle].attempt.sentBefore
    else { return 0 }
    let sent = connections[backend].transport.sentByteCount
    return sent - min(sent, before)
  }

  /// The attempt has its connection: writes the head, and what there is of the body.
  mutating func sendRequest(_ handle: Handle) {
    guard let backend = backend(of: handle) else { return }
    if exchanges[handle].request.logsIn, case .http1Backend = connections[backend].wire {
      let codec = http1Backend(backend)
      if http1Backends[codec].login == .none { http1Backends[codec].login = .attempted }
    }
    if exchanges[handle].request.isGRPC { restateCallDeadline(handle) }
    guard writeRequestHead(handle, to: backend) else { return }
    // A flush of a connection with streams isn't one of this exchange.
    if exchanges[handle].attempt.stream != 0 { updateDeadline(handle) }
    // In HTTP/1, the deadline is set when that is flushed.
    queueToFlush(backend)
    if exchanges[handle].machine.isRequestComplete {
      giveEnd(handle)
    } else {
      queueSource(handle, .request)
    }
  }

  // MARK: Ending

  /// The attempt failed: ends its connection, and finds out what follows. The backend is not blamed
  /// for our own lack of resources. `isOfStream`: its connection lives on.
  mutating func attemptFailed(
    _ handle: Handle, _ cause: FailureCause, blamesBackend: Bool = true, isOfStream: Bool = false
  ) {
    let isUnprocessed = cause == .notProcessed
    let sent = isUnprocessed ? 0 : takenByteCount(handle)
    endLease(handle, .broken)
    let policy = exchanges[handle].pool.retry
    let failure = AttemptFailure(
      cause: cause,
      wasReused: !isOfStream && exchanges[handle].machine.attempts.last?.isReused ?? false,
      sentByteCount: Int(clamping: sent))
    countFailure(cause, of: handle)
    if blamesBackend && policy.blamesBackend(failure) { observe(handle, failure: cause) }
    var verdict = verdict(handle, after: failure)
    if isUnprocessed && verdict == .retrySameFresh {
      exchanges[handle].attempt.unprocessedCount += 1
    }
    // On another connection the client would be another user.
    if exchanges[handle].attempt.login != .none { verdict = .giveUp }
    // A redial keeps its slot of the member; everything else releases it.
    if verdict != .retrySameFresh { releasePick(handle) }
    if verdict == .retryElsewhere && !chargeRetry(handle, after: cause) { verdict = .giveUp }
    if verdict != .giveUp { metrics.add(.retries) }
    // An attempt to connect that fails at once began in this turn.
    let began = exchanges[handle].machine.attempts.last?.startedAt
    perform(
      exchanges[handle].machine.handle(
        .attemptFailed(cause, verdict), at: began == now ? io.exactNow : now), handle)
  }

  /// Whether the attempt's backend should not get the request again at once.
  private mutating func asksForCalm(_ handle: Handle) -> Bool {
    guard let backend = exchanges[handle].attempt.pick?.record.id else { return false }
    return stock.isCalm(backend, at: now)
  }

  /// What follows a failed attempt, before the retry budget is asked. A backend that took too long,
  /// or that answered with a status which is retried, gets no other attempt of this exchange.
  mutating func verdict(_ handle: Handle, after failure: AttemptFailure) -> RetryVerdict {
    var hasOther = true
    if failure.cause.spendsBackend, let backend = exchanges[handle].attempt.pick?.record.id {
      let generation = generationIndex(of: handle)
      hasOther = exchanges[handle].selection.hasOther(
        than: backend, in: &generations[generation].pools[exchanges[handle].poolIndex], at: now)
    }
    let verdict = exchanges[handle].machine.verdict(
      after: failure, canReplay: true, hasOther: hasOther,
      unprocessedCount: failure.cause == .notProcessed && asksForCalm(handle)
        ? RetryPolicy.unprocessedMax : exchanges[handle].attempt.unprocessedCount,
      policy: exchanges[handle].pool.retry, limits: exchanges[handle].pool.limits, at: now)
    if verdict != .giveUp && !exchanges[handle].body.keepsAll {
      // The log says that only this was missing.
      if exchanges[handle].attempt.login == .none {
        exchanges[handle].attempt.missedRetry = .bodyNotKept
      }
      return .giveUp
    }
    if verdict == .retryElsewhere, failure.cause.spendsBackend,
      let backend = exchanges[handle].attempt.pick?.record.id
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
      exchanges[handle].attempt.owesBudget = true
      metrics.add(.retriesCharged)
      return true
    case .refused:
      exchanges[handle].attempt.missedRetry = .budgetSpent
      metrics.add(.retriesRefused)
      return false
    }
  }

  /// Ends the attempt after a response, or because the client doesn't wait for one any more.
  mutating func endAttempt(_ handle: Handle, _ ending: Lease.Ending) {
    endLease(handle, ending)
    releasePick(handle)
  }

  /// Ends the lease, if there is one. The connection is kept if it can be used again.
  private mutating func endLease(_ handle: Handle, _ ending: Lease.Ending) {
    guard let lease = exchanges[handle].attempt.takeLease() else { return }
    let stream = lease.end()
    let connection = stream.connection
    // The connection on which several waited has failed, and was closed for the first of them.
    guard connections.contains(connection) else { return }
    switch connections[connection].wire {
    case .http2Backend(let codec): return endBackendStream(handle, stream, codec)
    case .opening(.dialling(let dialler)) where stock.waiterCount(connection) > 0:
      return leaveDial(handle, connection, dialler)
    default: break
    }
    guard ending == .reusable, !isOutdated(handle),
      case .http1Backend(let codec, _) = connections[connection].wire
    else { return close(connection, reset: ending == .reset) }
    switch http1Backends[codec].login {
    case .none: makeIdle(connection, codec)
    case .proxied: keepOwn(connection, codec)
    case .attempted: close(connection)
    case .bound: keepLogin(connection, codec, for: handle)
    }
  }

  /// Refunds what the current attempt was charged, if it was.
  mutating func repayRetry(_ handle: Handle) {
    guard exchanges[handle].attempt.owesBudget else { return }
    exchanges[handle].attempt.owesBudget = false
    metrics.subtract(.retriesCharged)
    exchanges[handle].pool.pool.refundRetry()
  }

  private mutating func releasePick(_ handle: Handle) {
    repayRetry(handle)
    guard let pick = exchanges[handle].attempt.pick.take() else { return }
    pick.release()
    passTurn(in: exchanges[handle].pool.pool.record)
  }

  /// Passes the result of the attempt to the backend's health: `failure` is nil if it succeeded.
  mutating func observe(_ handle: Handle, failure: FailureCause?) {
    guard var pick = exchanges[handle].attempt.pick.take() else { return }
    let pool = exchanges[handle].pool.pool
    if let flip = pool.observeExchange(&pick, succeeded: failure == nil, at: now) {
      flipped(pick.record, flip, in: pool, reason: failure?.reason)
    }
    if pool.strategy == .leastTime { observeTime(handle, pick.record, failure: failure) }
    exchanges[handle].attempt.pick = consume pick
  }

  /// Passes the time of the attempt to the strategy: from the end of the request, which is the
  /// client's matter, to the head of the response. A response with status 500 and above counts as a
  /// failure: a backend that is broken often responds fast.
  private mutating func observeTime(
    _ handle: Handle, _ record: BackendRecord, failure: FailureCause?
  ) {
    let failed = failure != nil || responseHead.status >= 500
    let since = exchanges[handle].machine.responseAwaitedSince
    if since == nil && !failed { return }
    exchanges[handle].pool.pool.observeTime(
      now - (since ?? now), of: record, failed: failed, at: now)
  }
}
