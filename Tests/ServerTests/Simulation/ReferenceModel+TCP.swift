// What may become of a connection of a TCP listener, given everything that happened to it.
//
// Bytes and FINs are checked where they arrive (SimulatedTCPClient, SimulatedTCPConnection): each
// byte is in its place, and a FIN follows the last byte of a side that has finished. This is about
// resets: each needs a reason, and a reset of one side must reach the other in time. The reasons
// are a reset of the other side, silence for the idle timeout, the end of a drain, a limit, and a
// connect that no member takes.

import Primitives

extension ReferenceModel {
  /// A client may take for so long what waits for it before its connection is reset.
  private static let resetTime = TimeSpan.seconds(5)

  func judge(_ flow: FlowRecord) {
    let id = flow.plan.id
    guard let client = flow.endpoint else { return }
    if flow.wasRefused || flow.sawReset {
      let mayBe: Bool
      if flow.plan.header?.isValid == false {
        mayBe = true
      } else if let connection = flow.connection {
        mayBe = connection.endpoint.hasSentReset || mayBeCut(flow, connection)
      } else {
        mayBe = mayBeRefused(flow)
      }
      if !mayBe { ledger.faultOfFlow(id, "the client gets a reset, for no reason") }
    }
    if flow.sawEnd && flow.connection == nil && !mayCloseHeader(flow) {
      ledger.faultOfFlow(id, "the client gets a FIN of nobody")
    }
    guard let connection = flow.connection else { return }
    judgePlace(flow, connection)
    if connection.sawReset && flow.leftAt == nil && !client.hasSentReset
      && !mayBeCut(flow, connection)
    {
      ledger.faultOfFlow(id, "the backend gets a reset, for no reason")
    }
    judgeTimes(flow, connection)
  }

  /// A header that is wrong or late ends the connection with a FIN.
  private func mayCloseHeader(_ flow: FlowRecord) -> Bool {
    guard let header = flow.plan.header, let begin = flow.endpoint?.dialledAt else { return false }
    return !header.isValid || history.hasJump(from: begin, to: flow.endedAt)
      || history.isShort(from: begin, to: flow.endedAt)
  }

  // MARK: Resets

  /// Whether the server may have ended both sides of an established connection.
  private func mayBeCut(_ flow: FlowRecord, _ connection: SimulatedTCPConnection) -> Bool {
    let workers = network.peer(of: connection.endpoint)
    if isEnded(at: workers.closedAt) { return true }
    let pool = pool(of: flow)
    let isHalfClosed = flow.finishedAt != nil || connection.finishedAt != nil
    let limit = isHalfClosed ? min(pool.idle, pool.relayIdle) : pool.relayIdle
    let last = lastMove(flow, connection)
    if history.hasJump(from: last, to: workers.closedAt) { return true }
    if workers.closedAt < last + limit { return false }
    if connection.wasMovable {
      ledger.faultOfFlow(flow.plan.id, "ended as idle, with something that could be moved")
    }
    return true
  }

  /// Whether a stop or the end of a drain ended everything by then.
  private func isEnded(at time: Instant) -> Bool {
    if let stopped = history.stoppedAt, stopped <= time { return true }
    guard let drained = history.drainedAt else { return false }
    return time >= drained + History.drainLimit || history.hasJump(from: drained, to: time)
  }

  /// When a byte was last taken or given by the server.
  private func lastMove(_ flow: FlowRecord, _ connection: SimulatedTCPConnection) -> Instant {
    let workers = network.peer(of: connection.endpoint)
    var last = max(connection.endpoint.dialledAt, workers.takenAt)
    // What is sent with or behind the end is no progress.
    for target in [connection.endpoint, flow.endpoint] {
      if let sent = target?.lastSendingTime(before: workers.closedAt) { last = max(last, sent) }
    }
    // A FIN is a move too: the other side gets its time from then on.
    for finished in [flow.finishedAt, connection.finishedAt] {
      if let finished, finished < workers.closedAt { last = max(last, finished) }
    }
    return last
  }

  private func pool(of flow: FlowRecord) -> TCPPoolPlan {
    run.plan.layer4.pools[run.plan.layer4.listeners[flow.plan.listener].pool]
  }

  /// Whether a client that never came to a backend may get a reset.
  private func mayBeRefused(_ flow: FlowRecord) -> Bool {
    guard let client = flow.endpoint else { return true }
    if mayCloseHeader(flow) { return true }
    let (begin, end) = (client.dialledAt, flow.endedAt)
    if history.hasJump(from: begin, to: end) || history.isShed(from: begin, to: end) { return true }
    if [history.drainedAt, history.stoppedAt, history.removedAt].contains(where: {
      $0.map { $0 <= end } ?? false
    }) {
      return true
    }
    let possible = history.configurations(from: begin, to: end)
    if possible.contains(where: { mayRefuse($0, flow) }) { return true }
    let isAccepted = network.peer(of: client).registeredIndex >= 0
    if !isAccepted && run.plan.conditions.abortedAccepts > 0 { return true }
    if end - begin >= min(pool(of: flow).idle, pool(of: flow).relayIdle) { return true }
    let members = Set(possible.flatMap { self.members($0, of: flow) })
    if failedDialCount(members, from: begin, to: end) >= ConfigurationPlan.attemptMax {
      return true
    }
    // Of a connection that ended before anybody said who it was.
    return ledger.tcpConnections.contains {
      $0.flow == nil && $0.endpoint.hasSentReset && members.contains($0.backend.plan.index)
        && $0.endpoint.dialledAt >= begin && $0.endpoint.dialledAt <= end
    }
  }

  /// Whether a configuration has a limit or lacks something that refuses connections.
  private func mayRefuse(_ configuration: ConfigurationPlan, _ flow: FlowRecord) -> Bool {
    let layer4 = configuration.layer4
    if !layer4.listeners[flow.plan.listener] || layer4.listenerConnectionMax != nil
      || layer4.maxConnections != nil || configuration.connectionMax < 10_000
    {
      return true
    }
    return members(configuration, of: flow).allSatisfy { backend in
      let id = WorldEvent.firstTCP + backend
      return history.isDown(id, from: flow.endpoint?.dialledAt ?? .origin, to: flow.endedAt)
        || mayBeOut(backend, flow)
    }
  }

  /// Whether checks or failed connects may have taken a backend out.
  private func mayBeOut(_ backend: Int, _ flow: FlowRecord) -> Bool {
    let pool = pool(of: flow)
    let hasTroubles = run.plan.layer4.backends.contains { $0.index == backend && !$0.isReliable }
    let isStorm = run.plan.level == .storm
    if pool.checks != .none {
      let conditions = run.plan.conditions
      let isSlow = conditions.bodyMax < 200_000 || conditions.latency.upperBound > 5_000
      if hasTroubles || isSlow || isStorm || !history.jumps.isEmpty { return true }
    }
    return pool.ejects && (hasTroubles || isStorm || !history.jumps.isEmpty)
  }

  private func members(_ configuration: ConfigurationPlan, of flow: FlowRecord) -> [Int] {
    configuration.layer4.pools[run.plan.layer4.listeners[flow.plan.listener].pool]
  }

  private func failedDialCount(_ members: Set<Int>, from begin: Instant, to end: Instant) -> Int {
    let isMeant = { (time: Instant) in time >= begin && time <= end }
    return ledger.failedTCPDials.count { members.contains($0.backend) && isMeant($0.time) }
      + network.failedDials.count(where: isMeant)
  }

  // MARK: The backend

  /// It must be one that some configuration allows, and that is not down.
  private func judgePlace(_ flow: FlowRecord, _ connection: SimulatedTCPConnection) {
    guard let client = flow.endpoint else { return }
    let dialled = connection.endpoint.dialledAt
    let backend = connection.backend.plan.index
    let possible = history.configurations(from: client.dialledAt, to: dialled)
    if !possible.contains(where: { members($0, of: flow).contains(backend) }) {
      ledger.faultOfFlow(flow.plan.id, "is at backend \(backend), which no configuration allows")
    }
    if history.isDown(WorldEvent.firstTCP + backend, at: dialled) {
      ledger.faultOfFlow(flow.plan.id, "is at backend \(backend), which is down")
    }
  }

  // MARK: Time

  /// A reset reaches the other side, and an idle connection ends, in time.
  private func judgeTimes(_ flow: FlowRecord, _ connection: SimulatedTCPConnection) {
    guard let client = flow.endpoint, history.jumps.isEmpty else { return }
    let (clients, workers) = (network.peer(of: client), network.peer(of: connection.endpoint))
    let (closed, last) = (workers.closedAt, lastMove(flow, connection))
    if closed == .never || clients.closedAt == .never { return }
    let pool = pool(of: flow)
    func judge(_ what: String, _ limit: Instant) {
      if closed > limit + History.slack {
        ledger.faultOfFlow(flow.plan.id, "\(what), and ends \(closed - limit) too late")
      }
    }
    judge("idle", last + max(pool.idle, pool.relayIdle))
    if clients.brokenAt != .never {
      judge("reset by the client", max(clients.brokenAt, connection.endpoint.dialledAt))
    }
    if workers.brokenAt != .never {
      // The client may still take what has come before.
      judge("reset by the backend", max(workers.brokenAt, last + min(pool.idle, pool.relayIdle)))
    }
    if clients.closedAt > closed + Self.resetTime + History.slack {
      ledger.faultOfFlow(flow.plan.id, "the client's connection outlives the backend's")
    }
  }
}
