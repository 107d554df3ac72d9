// Sessions: how one begins, which member it gets, and how it ends.
//
// A session keeps its member. It gets another one with its next datagram, if the member has refused
// one (ICMP), is down or is ejected.

import Balancing
import Metrics
import Primitives
import Proxy
import Reactor

extension Worker where IO: ~Copyable {
  /// How often a session with a member that is not available looks for another one.
  private static var retryPause: TimeSpan { .seconds(1) }

  // MARK: Beginning

  /// The session of these datagrams, which begins if there is none; nil if they are dropped.
  mutating func session(
    for key: SessionKey, _ rules: SessionRules, dropping count: Int
  ) -> Handle? {
    if let session = udp.sessions.find(key) {
      udp.sessions.touch(session)
      return session
    }
    return begin(key, rules, dropping: count)
  }

  /// The session of one datagram that selects a member for itself.
  mutating func session(forDatagramOf key: SessionKey, _ rules: SessionRules) -> Handle? {
    let pool = snapshot.pools[rules.pool]
    do throws(Unavailability) {
      let pick = try select(for: key, rules, besides: -1)
      var key = key
      key.backend = Int32(clamping: pick.record.id)
      if let session = udp.sessions.find(key) {
        // A trial is that of a session of its own; and after a failure, a session has another
        // member than the one that it is found by.
        if !pick.isTrial && backend(ofSession: session) == pick.record.id {
          pick.release()
          udp.sessions.touch(session)
          return session
        }
        end(session: session)
      }
      guard let session = begin(key, rules, dropping: 1) else {
        pick.release()
        return nil
      }
      if use(pick, for: session) { return session }
      drop(.sessionLimit, 1, key, pool)
      remove(session)
      return nil
    } catch {
      drop(.noBackend, 1, key, pool)
      return nil
    }
  }

  private mutating func begin(
    _ key: SessionKey, _ rules: SessionRules, dropping count: Int
  ) -> Handle? {
    let pool = snapshot.pools[rules.pool]
    if overload == .sheddingRequests || lifecycle != .serving {
      drop(.noNewSessions, count, key, pool)
      return nil
    }
    let block = countedBlock(of: key.client)
    guard makeRoom(for: key, block, rules) else {
      drop(.sessionLimit, count, key, pool)
      return nil
    }
    metrics.add(.udpSessionsActive)
    let session = udp.sessions.insert(Session(key, rules, pool, block: block, at: now))
    setDeadline(session: session)
    return session
  }

  /// Enters the session. At a limit, the session ends that was not used for the longest time, if
  /// this worker has one.
  private mutating func makeRoom(
    for key: SessionKey, _ block: IPAddress?, _ rules: SessionRules
  ) -> Bool {
    let listener = Int(key.listener)
    for _ in 0..<2 {
      let verdict = rules.admission.enter(
        block, max: rules.sessionMax, maxPerAddress: rules.sessionsPerClientMax)
      let victim: Handle?
      switch verdict {
      case .admitted: return true
      // A client that has all that it may have takes the place of no other.
      case .full where !rules.admission.isFull(block, maxPerAddress: rules.sessionsPerClientMax):
        victim = udp.sessions.oldest(ofListener: listener)
      case .full, .addressFull:
        victim = udp.sessions.oldest(ofListener: listener, client: block)
      }
      guard let victim else { return false }
      end(session: victim, .sessionEvicted)
    }
    return false
  }

  // MARK: Members

  /// Makes sure that the session has a member that can be used; else why its datagrams are dropped.
  mutating func prepare(_ session: Handle) -> DropCause? {
    let hasMember = udp.sessions[session].socket != nil
    if hasMember && (isUsable(session) || now < udp.sessions[session].retriedAt) { return nil }
    udp.sessions[session].retriedAt = now + Self.retryPause
    let key = udp.sessions[session].key
    // After a reload, a session that moves does so by the new rules.
    let configured = listeners[Int(key.listener)].configured
    guard let rules = configured.flatMap({ snapshot.listeners[$0].udp }) else { return .noBackend }
    let failed = udp.sessions[session].failedBackend
    let pick: Pick
    do throws(Unavailability) {
      pick = try select(for: key, rules, besides: failed)
    } catch {
      udp.sessions[session].failure = .unavailable(error)
      return hasMember ? nil : .noBackend
    }
    if hasMember {
      // No other is available.
      if pick.record.id == (backend(ofSession: session) ?? -1) {
        pick.release()
        return nil
      }
      leaveMember(session, .abandoned)
    }
    udp.sessions[session].pool = snapshot.pools[rules.pool]
    return use(pick, for: session) ? nil : .sessionLimit
  }

  /// The next member, with one of its slots reserved: another one than `failed`, if there is one.
  private mutating func select(
    for key: SessionKey, _ rules: SessionRules, besides failed: Int
  ) throws(Unavailability) -> Pick {
    let pool = rules.pool
    let affinity = affinity(of: key, pool)
    let generation = generations.count - 1
    let client = key.client.ip
    if failed >= 0 {
      var selection = Selection(affinity: affinity)
      selection.spend(failed)
      let pick = try? selection.next(
        in: &generations[generation].pools[pool], client: client, at: now, generator: &generator)
      if let pick { return noted(pick) }
    }
    var selection = Selection(affinity: affinity)
    return noted(
      try selection.next(
        in: &generations[generation].pools[pool], client: client, at: now, generator: &generator))
  }

  private mutating func noted(_ pick: consuming Pick) -> Pick {
    if pick.isFailOpen { metrics.add(.attemptsFailOpen) }
    return pick
  }

  /// The hash of a tuple, if that is the key of the strategy. Without it, the source is the key.
  private mutating func affinity(of key: SessionKey, _ pool: Int) -> UInt64 {
    let affinityKey = snapshot.pools[pool].pool.affinityKey
    switch affinityKey {
    case .twoTuple, .threeTuple, .fiveTuple: break
    case .source, .header, .cookie, .query: return 0
    }
    guard case .ip(let source, let sourcePort) = key.client,
      case .ip(let destination, let port)? = destination(of: key)
    else { return 0 }
    return affinityKey.hash(
      of: Flow(
        source: source, sourcePort: sourcePort, destination: destination, destinationPort: port,
        protocolNumber: Flow.udp))
  }

  /// Where the client has sent its datagrams.
  mutating func destination(of key: SessionKey) -> SocketAddress? {
    if let proxied = key.proxied {
      return .ip(proxied.destination, port: proxied.destinationPort)
    }
    guard case .ip(let address, let port)? = listeners[Int(key.listener)].address else {
      return nil
    }
    return .ip(key.local ?? address, port: port)
  }

  private mutating func isUsable(_ session: Handle) -> Bool {
    guard let record = udp.sessions[session].record else { return false }
    switch record.standing(at: now) {
    case .available, .onTrial, .beingTried: return true
    case .down, .ejected: return false
    }
  }

  mutating func backend(ofSession session: Handle) -> Int? { udp.sessions[session].record?.id }

  /// Opens the session's socket to the picked member. If descriptors or ports are short, another
  /// session ends for it; false if there is none.
  private mutating func use(_ pick: consuming Pick, for session: Handle) -> Bool {
    let token = Token(.session, session).packed
    let target = pick.member.address
    let client = udp.sessions[session].key.client.ip
    let source = udp.sessions[session].pool.source(for: client, to: target)
    var result = io.connectDatagrams(to: target, from: source, token: token)
    if case .failed(let error) = result, error.isShortage,
      let victim = udp.sessions.oldest(ofListener: udp.sessions[session].listener),
      victim != session
    {
      end(session: victim, .sessionEvicted)
      result = io.connectDatagrams(to: target, from: source, token: token)
    }
    switch result {
    case .started(let socket):
      take(pick, socket, for: session)
      return true
    case .failed(let error) where error.isShortage:
      pick.release()
      return false
    case .failed(let error):
      // Without a route, for example: the next datagram tries another.
      take(pick, nil, for: session)
      memberFailed(session, FailureCause(connecting: error))
      return true
    }
  }

  /// The session has a member, with its socket if it could be opened.
  mutating func take(
    _ pick: consuming Pick, _ socket: Socket?, for session: Handle
  ) {
    let isFailOpen = pick.isFailOpen
    let record = pick.record
    metrics.add(.attempts)
    countAttempt(record)
    backends.countOpened(record.id)
    udp.sessions[session].header = proxyHeader(of: session, pick.member)
    if udp.sessions[session].attempts.count >= Session.attemptMax {
      udp.sessions[session].attempts.forgetEarlier()
    }
    udp.sessions[session].attempts.append(
      Attempt(backend: record.id, isReused: false, isFailOpen: isFailOpen, startedAt: now))
    udp.sessions[session].record = record
    udp.sessions[session].pick = consume pick
    udp.sessions[session].socket = socket
    udp.sessions[session].pickedAt = now
    udp.sessions[session].hasReply = false
    udp.sessions[session].joins = false
    udp.sessions[session].failure = nil
  }

  /// The member has refused a datagram, or can't be reached. The next datagram moves.
  mutating func memberFailed(_ session: Handle, _ cause: FailureCause) {
    guard let record = udp.sessions[session].record else { return }
    backends.traffic[record.id]?.add(failure: cause.word.rawValue, at: now)
    observe(session: session, failure: cause)
    udp.sessions[session].failedBackend = record.id
    udp.sessions[session].failure = .upstream(cause)
    leaveMember(session, .failed(cause))
    udp.sessions[session].retriedAt = .origin
  }

  /// Closes the socket and gives the slot back.
  mutating func leaveMember(_ session: Handle, _ result: Attempt.Result) {
    udp.sessions[session].attempts.endLast(result, at: now)
    if let socket = udp.sessions[session].socket.take() { io.close(socket, reset: false) }
    guard let pick = udp.sessions[session].pick.take() else { return }
    udp.sessions[session].record = nil
    backends.countClosed(pick.record.id)
    pick.release()
    passTurn(in: udp.sessions[session].pool.pool.record)
  }

  /// Passes a result to the health of the member: `failure` is nil if it succeeded.
  mutating func observe(session: Handle, failure: FailureCause?) {
    guard var pick = udp.sessions[session].pick.take() else { return }
    let pool = udp.sessions[session].pool.pool
    if let flip = pool.observeExchange(&pick, succeeded: failure == nil, at: now) {
      flipped(pick.record, flip, in: pool, reason: failure?.reason)
    }
    if failure != nil || udp.sessions[session].hasReply {
      pool.observeTime(
        now - udp.sessions[session].pickedAt, of: pick.record, failed: failure != nil, at: now)
    }
    udp.sessions[session].pick = consume pick
  }

  // MARK: Ending

  /// A member that says nothing has passed its trial if it has refused nothing for so long.
  private static var trialTime: TimeSpan { .seconds(1) }

  mutating func setDeadline(session: Handle) {
    let idle = udp.sessions[session].rules.idle
    let isOnTrial = udp.sessions[session].pick?.isTrial ?? false
    var time = lifecycle == .serving ? idle : min(idle, Self.quietTime)
    if isOnTrial { time = min(time, Self.trialTime) }
    udp.sessions[session].deadline.set(
      now + time, payload: Token(.session, session).packed, in: &timers)
  }

  mutating func sessionExpired(_ session: Handle, payload: UInt64) {
    guard udp.sessions.contains(session),
      udp.sessions[session].deadline.fired(at: now, payload: payload, in: &timers)
    else { return }
    if udp.sessions[session].pick?.isTrial == true {
      observe(session: session, failure: nil)
      return setDeadline(session: session)
    }
    let isUnanswered =
      udp.sessions[session].rules.responses != nil && udp.sessions[session].sent.datagramCount == 0
    // Silence is no failure for the member's health: a client can cause it.
    end(session: session, isUnanswered ? .upstream(.responseTimeout) : nil)
  }

  /// `failure`: why it ends, if it has not failed before.
  mutating func end(session: Handle, _ failure: ExchangeFailure? = nil) {
    if udp.sessions[session].failure == nil { udp.sessions[session].failure = failure }
    let isSilent =
      udp.sessions[session].failure == nil && udp.sessions[session].rules.responses == nil
      && !udp.sessions[session].hasReply && udp.sessions[session].received.datagramCount > 0
    // A member that took everything, and has nothing to say.
    if isSilent { observe(session: session, failure: nil) }
    leaveMember(
      session, failure == .upstream(.responseTimeout) ? .failed(.responseTimeout) : .succeeded)
    logSession(session)
    remove(session)
  }

  mutating func remove(_ session: Handle) {
    udp.sessions[session].deadline.cancel(in: &timers)
    udp.sessions[session].rules.admission.leave(udp.sessions[session].block)
    metrics.subtract(.udpSessionsActive)
    _ = udp.sessions.remove(session)
  }

  /// How long a quiet session goes on while the process stops.
  private static var quietTime: TimeSpan { .seconds(2) }

  /// The process stops: no new sessions, and those without traffic end soon.
  mutating func drainSessions() {
    for slot in 0..<udp.sessions.slotCount {
      guard let session = udp.sessions.handle(at: slot) else { continue }
      let end = min(udp.sessions[session].deadline.instant, now + Self.quietTime)
      udp.sessions[session].deadline.set(
        end, payload: Token(.session, session).packed, in: &timers)
    }
  }

  /// Ends all, or those of one listener.
  mutating func endSessions(ofListener listener: Int? = nil, _ failure: ExchangeFailure) {
    flushReplies()
    for slot in 0..<udp.sessions.slotCount {
      guard let session = udp.sessions.handle(at: slot),
        listener == nil || listener == udp.sessions[session].listener
      else { continue }
      end(session: session, failure)
    }
  }
}
