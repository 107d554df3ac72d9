// The messages that a worker gets from the control thread and from other workers (a free slot in a
// full pool), and what they do: a new configuration and its generation, overload, drain, stop.

import Balancing
import Metrics
import Primitives
import Proxy
import Reactor

enum WorkerMessage: Sendable {
  /// A new configuration, and the sockets on which to listen.
  case install(Snapshot, listeners: [ListenerAssignment])
  /// The members of pools have changed: update the health checks.
  case membershipChanged
  /// These backends left long ago: close idle connections to them, and free what isn't used.
  case forget([BackendRecord])
  /// Continue, but answer readiness checks as draining: the process will stop soon.
  case leave
  /// A slot may be free for this exchange, which waits in the queue.
  case turn(Handle)
  /// Memory or connections are scarce, or no longer are.
  case overload(OverloadStage)
  /// A flood is over: free the spare buffers.
  case trim
  /// Accept no connections, finish active requests, end after `limit` at the latest.
  case drain(limit: TimeSpan)
  /// Give the sessions of UDP listeners to another process.
  case handOver(SessionParcel)
  /// The sessions that another process had; afterwards, take datagrams.
  case adopt([SessionState])
  /// End at once.
  case stop
}

/// The socket on which a worker listens for one of the snapshot's listeners.
struct ListenerAssignment: Sendable {
  let socket: Socket
  /// Index in the snapshot's listeners.
  let listener: Int
}

extension Worker where IO: ~Copyable {
  /// How long an idle client connection is kept while draining or under overload, for one more
  /// request that can be answered with `Connection: close`: closing it at once could cross with a
  /// request.
  private static var drainIdleTime: TimeSpan { .seconds(2) }
  /// The maximum time of a handshake during overload; a real one takes one or two round trips.
  private static var hurriedHandshakeTime: TimeSpan { .seconds(3) }

  mutating func readInbox() {
    for message in inbox.take() { handle(message) }
  }

  mutating func handle(_ message: WorkerMessage) {
    // Everything has ended; a later message of the same batch must not start something.
    if lifecycle == .finished { return }
    switch message {
    case .install(let snapshot, let assignments): install(snapshot, assignments)
    case .membershipChanged:
      resetChecks()
      passTurns()
    case .forget(let backends): forget(backends)
    case .turn(let exchange): takeTurn(exchange)
    case .leave: isLeaving = true
    case .overload(let stage): overloadChanged(to: stage)
    case .trim:
      buffers.trim()
      trimHeads()
      admission.noteTrim()
    case .drain(let limit): drain(limit)
    case .handOver(let parcel): handOverSessions(in: parcel)
    case .adopt(let sessions): adopt(sessions)
    case .stop: end(cutting: .stopped)
    }
  }

  private mutating func install(_ snapshot: Snapshot, _ assignments: [ListenerAssignment]) {
    closeListeners(notIn: assignments, for: snapshot)
    closeIdleBackends(ofPools: snapshot.poolsWithOtherConnections(than: self.snapshot))
    generations.append(Generation(id: generations.last.map { $0.id + 1 } ?? 0, snapshot: snapshot))
    generations.removeAll { $0.exchangeCount == 0 && $0.snapshot !== snapshot }
    for index in generations.indices { generations[index].noteNewest(snapshot) }
    self.snapshot = snapshot
    settings = snapshot.settings
    log.settings = settings.log
    updateListeners(assignments)
    resetChecks()
    passTurns()
  }

  /// There may be new members, or more places at the old ones.
  private mutating func passTurns() {
    for pool in snapshot.pools { passTurn(in: pool.pool.record) }
  }

  /// Closes the listeners that aren't assigned again, while the snapshot that has them is still in
  /// force: connections that wait in their queues are accepted under it. Where `fresh` has a
  /// listener of the same name, only the address has changed, and their connections go on under
  /// that one. The others end as in a drain, also where another protocol is spoken from now on.
  private mutating func closeListeners(
    notIn assignments: [ListenerAssignment], for fresh: Snapshot
  ) {
    for index in listeners.indices {
      if listeners[index].isOpen {
        if let kept = assignments.first(where: { $0.socket == listeners[index].socket }) {
          let isTCP = listeners[index].configured.map { snapshot.listeners[$0].tcp != nil }
          if isTCP != (fresh.listeners[kept.listener].tcp != nil) {
            endIdleClients { $0 == index }
          }
          continue
        }
        close(listener: index)
      }
      guard let configured = listeners[index].configured else { continue }
      let former = snapshot.listeners[configured]
      listeners[index].configured = fresh.listeners.firstIndex {
        $0.name == former.name && $0.contexts.isEmpty == former.contexts.isEmpty
          && ($0.tcp == nil) == (former.tcp == nil) && ($0.udp == nil) == (former.udp == nil)
      }
      if listeners[index].configured == nil { endIdleClients { $0 == index } }
    }
  }

  /// Finds the listeners that are assigned again in the new snapshot, and adds new ones.
  private mutating func updateListeners(_ assignments: [ListenerAssignment]) {
    for index in listeners.indices where listeners[index].isOpen {
      if let kept = assignments.first(where: { $0.socket == listeners[index].socket }) {
        listeners[index].configured = kept.listener
        listeners[index].traffic = block(snapshot.listeners[kept.listener].traffic)
        if listeners[index].admission == nil {
          listeners[index].admission = snapshot.listeners[kept.listener].tcp?.admission
        }
      }
    }
    guard lifecycle == .serving else { return }
    for assignment in assignments {
      let isKnown = listeners.contains { $0.isOpen && $0.socket == assignment.socket }
      if !isKnown { add(listener: assignment.socket, configured: assignment.listener) }
    }
  }

  // MARK: Overload

  private mutating func overloadChanged(to stage: OverloadStage) {
    overload = stage
    guard stage != .normal else { return }
    // The stage is the whole process's: one worker counts it.
    if index == 0 {
      metrics.add(
        stage == .sheddingRequests ? .overloadSheddingRequests : .overloadEndingConnections)
    }
    buffers.trim()
    trimHeads()
    endIdleClients { _ in true }
    hurryHandshakes()
  }

  /// The maximum time of a handshake.
  var handshakeTime: TimeSpan {
    overload == .normal
      ? settings.handshakeTimeout : min(settings.handshakeTimeout, Self.hurriedHandshakeTime)
  }

  /// Limits the active handshakes to the time that a new one has.
  private mutating func hurryHandshakes() {
    for slot in 0..<connections.slotCount {
      guard let handle = connections.handle(at: slot),
        connections[handle].isAccepting || connections[handle].awaitsProxyHeader
      else { continue }
      setDeadline(handle, min(connections[handle].deadline.instant, now + handshakeTime))
    }
  }

  // MARK: Draining

  private mutating func drain(_ limit: TimeSpan) {
    guard lifecycle == .serving else { return }
    for index in listeners.indices where !listeners[index].isUDP { close(listener: index) }
    lifecycle = .draining
    drainSessions()
    endIdleClients { _ in true }
    closeIdleBackends()
    drainDeadline.set(now + limit, payload: WorkerTimer.endDrain.payload, in: &timers)
  }

  /// Leaves connections without an exchange only a moment for one more request. HTTP/2 can tell
  /// the client.
  private mutating func endIdleClients(ofListeners isMeant: (Int) -> Bool) {
    for slot in 0..<connections.slotCount {
      guard let handle = connections.handle(at: slot), connections[handle].isClient,
        isMeant(connections[handle].client.listener)
      else { continue }
      if case .http2Client(let codec) = connections[handle].wire { drainHTTP2(handle, codec) }
      guard connections[handle].awaitsHead else { continue }
      let end = now + min(settings.idleTimeout, Self.drainIdleTime)
      setDeadline(handle, min(connections[handle].deadline.instant, end))
    }
  }

  /// How long the next request may take to begin.
  var idleTime: TimeSpan {
    lifecycle == .serving && overload == .normal
      ? settings.idleTimeout : min(settings.idleTimeout, Self.drainIdleTime)
  }

  /// The drain limit is reached.
  mutating func drainExpired() { end(cutting: .drainTimeout) }

  /// The drain is over with the last client. It is called between the steps of a turn: a step may
  /// be in the middle of a connection that would end.
  mutating func endIfDrained() {
    if lifecycle == .draining && clientCount == 0 && udp.sessions.isEmpty {
      end(cutting: .drainTimeout)
    }
  }

  /// Ends everything that is still active. Clients without a response get one.
  private mutating func end(cutting reason: ExchangeFailure) {
    guard lifecycle != .finished else { return }
    lifecycle = .finished
    endSessions(reason)
    for index in listeners.indices { close(listener: index) }
    for slot in 0..<exchanges.slotCount {
      guard let handle = exchanges.handle(at: slot) else { continue }
      metrics.add(.exchangesCut)
      perform(exchanges[handle].machine.handle(.refused(reason), at: now), handle)
    }
    for slot in 0..<connections.slotCount {
      guard let handle = connections.handle(at: slot), connections[handle].isClient else {
        continue
      }
      writeGoAway(handle)
      connections[handle].transport.flush(&io, &buffers)
      // A response that ends with its connection must not look complete when it isn't.
      close(handle, reset: mustReset(handle) || !connections[handle].transport.isFlushed)
    }
    for slot in 0..<connections.slotCount {
      if let handle = connections.handle(at: slot) { close(handle) }
    }
    for slot in exchangeDeadlines.indices { exchangeDeadlines[slot].cancel(in: &timers) }
    endChecks()
    checker.deadline.cancel(in: &timers)
    drainDeadline.cancel(in: &timers)
    acceptDeadline.cancel(in: &timers)
  }

  // MARK: Generations

  mutating func generationIndex(of exchange: Handle) -> Int {
    let id = exchanges[exchange].generation
    // The newest is nearly always the one.
    var index = generations.count - 1
    while index > 0 && generations[index].id != id { index -= 1 }
    return index
  }

  mutating func snapshot(of exchange: Handle) -> Snapshot {
    generations[generationIndex(of: exchange)].snapshot
  }

  mutating func exchangeEnded(inGeneration id: Int) {
    guard let index = generations.lastIndex(where: { $0.id == id }) else { return }
    generations[index].exchangeCount -= 1
    if generations[index].exchangeCount == 0 && index < generations.count - 1 {
      generations.remove(at: index)
    }
  }
}
