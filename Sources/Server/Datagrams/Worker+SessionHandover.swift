// Sessions in an upgrade. The old process takes no more datagrams, and gives its sessions away.
// Datagrams wait in the sockets until the new process has the sessions. So no session changes its
// member, and no datagram is lost.

import Balancing
import Metrics
import Primitives
import Proxy
import Reactor

extension Worker where IO: ~Copyable {
  // MARK: Giving

  mutating func handOverSessions(in parcel: SessionParcel) {
    flushReplies()
    var states: [SessionState] = []
    for slot in 0..<udp.sessions.slotCount {
      guard let session = udp.sessions.handle(at: slot) else { continue }
      if let state = takeState(of: session) { states.append(state) }
    }
    // Their sockets are the other process's now. It has the same queues, so nothing is taken first.
    for index in listeners.indices where listeners[index].isUDP && listeners[index].isOpen {
      listeners[index].isOpen = false
      io.release(datagrams: listeners[index].socket)
      io.close(listeners[index].socket, reset: false)
    }
    parcel.add(states)
  }

  /// Removes the session without a line in the log. The socket stays open. Nil if it has no member.
  private mutating func takeState(of session: Handle) -> SessionState? {
    guard let record = udp.sessions[session].record,
      let socket = udp.sessions[session].socket.take()
    else {
      end(session: session)
      return nil
    }
    io.release(datagrams: socket)
    let state = SessionState(
      listener: listeners[udp.sessions[session].listener].socket.descriptor, socket: socket,
      key: udp.sessions[session].key, backend: record.identity,
      startedAt: udp.sessions[session].startedAt,
      endsAt: udp.sessions[session].deadline.instant,
      awaitedCount: udp.sessions[session].awaitedCount,
      hasReply: udp.sessions[session].hasReply, received: udp.sessions[session].received,
      sent: udp.sessions[session].sent)
    leaveMember(session, .abandoned)
    remove(session)
    return state
  }

  // MARK: Taking

  /// The sessions whose clients send to this worker's sockets. Afterwards it takes datagrams.
  mutating func adopt(_ states: [SessionState]) {
    for state in states where !adopt(state) { io.close(state.socket, reset: false) }
    udp.isHeld = false
    for index in listeners.indices where listeners[index].isUDP && listeners[index].isOpen {
      io.watch(
        listener: listeners[index].socket, token: WorkerListener.token(index, isUDP: true))
    }
  }

  /// False if its listener or its member is not configured any more, for example: then the next
  /// datagram begins another session.
  private mutating func adopt(_ state: SessionState) -> Bool {
    guard
      let listener = listeners.firstIndex(where: {
        $0.isOpen && $0.isUDP && $0.socket.descriptor == state.listener
      }),
      let configured = listeners[listener].configured,
      let rules = snapshot.listeners[configured].udp,
      snapshot.pools[rules.pool].pool.name == state.backend.pool,
      let record = snapshot.pools[rules.pool].pool.membership.members.first(where: {
        $0.record.identity == state.backend
      })?.record
    else { return false }
    var key = state.key
    key.listener = Int32(listener)
    if key.backend >= 0 { key.backend = Int32(clamping: record.id) }
    // Its member is chosen already, be it down by now.
    var selection = Selection()
    let generation = generations.count - 1
    guard udp.sessions.find(key) == nil,
      let pick = try? selection.bound(
        to: record, in: &generations[generation].pools[rules.pool], at: now)
    else { return false }
    let block = countedBlock(of: key.client)
    guard rules.admission.enter(block, max: .max, maxPerAddress: nil) == .admitted else {
      pick.release()
      return false
    }
    metrics.add(.udpSessionsActive)
    let session = udp.sessions.insert(
      Session(key, rules, snapshot.pools[rules.pool], block: block, at: state.startedAt))
    take(pick, state.socket, for: session)
    udp.sessions[session].received = state.received
    udp.sessions[session].sent = state.sent
    udp.sessions[session].awaitedCount = state.awaitedCount
    udp.sessions[session].hasReply = state.hasReply
    udp.sessions[session].deadline.set(
      max(now, state.endsAt), payload: Token(.session, session).packed, in: &timers)
    // Without memory in the kernel, the next datagram moves it.
    if io.adopt(datagrams: state.socket, token: Token(.session, session).packed) != nil {
      leaveMember(session, .abandoned)
    }
    return true
  }
}
