// The admin thread: HTTP/1.1 for operators and for programs that collect metrics.
//
// It has a loop of its own, so that neither a scrape of ten thousand series nor a page that stays
// open costs a worker anything; it reads the workers' counters and the backends' atomics where they
// are. What changes something goes to the control thread. Few clients, so nothing here is fast, but
// everything is bounded (`AdminLimits`): connections, sizes, times, what waits for a client that
// doesn't read, and what one connection gets done in a turn. Here are the loop and how connections
// begin and end; requests are in `AdminServer+Requests`, answers in `AdminServer+Answers`, streams
// in `AdminServer+Streams`.

import Metrics
import Primitives
import Reactor
import TLS

/// What reaches the admin thread.
enum AdminMessage: Sendable {
  case view(AdminView)
  /// Listen on these from now on. The others are closed here, where they are accepted from.
  case listen([AdminListener])
  /// The answer to a command of the connection that asked.
  case answer(Handle, AdminDocument)
  case end
}

struct AdminServer: ~Copyable {
  var io: EpollIO
  var buffers = BufferPool()
  var connections = Slab<AdminConnection>(capacity: 16)
  private let inbox: Inbox<AdminMessage>
  let control: Inbox<Server.ControlMessage>
  var view: AdminView
  var history = History()
  /// When the reports of those who tap are looked at next; never while nobody does.
  var tapsAt = Instant.never
  private var listeners: [AdminListener] = []
  /// In the tokens of listeners, so that a late event isn't taken for one of another set.
  private var listenersVersion: UInt32 = 0
  /// When accepting goes on after descriptors ran out.
  private var acceptsAt = Instant.never
  private var samplesAt: Instant
  /// Connections that have more to do, and gave way to the others.
  private var queued: [Handle] = []
  private var hasEnded = false
  private let connectionMax: Int

  private init(
    io: consuming EpollIO, view: AdminView, connectionMax: Int, inbox: Inbox<AdminMessage>,
    control: Inbox<Server.ControlMessage>
  ) {
    self.view = view
    self.connectionMax = connectionMax
    self.inbox = inbox
    self.control = control
    samplesAt = io.now
    self.io = io
  }

  /// Serves until it is told to end.
  static func run(
    from start: Parcel<AdminView>, connectionMax: Int, inbox: Inbox<AdminMessage>,
    control: Inbox<Server.ControlMessage>
  ) {
    guard var server = make(start, connectionMax, inbox, control) else { return }
    while !server.hasEnded { server.turn() }
    for slot in 0..<server.connections.slotCount {
      if let handle = server.connections.handle(at: slot) { server.close(handle) }
    }
    server.listen(on: [])
  }

  /// A function of its own, so that nothing but the server keeps the first view.
  private static func make(
    _ start: Parcel<AdminView>, _ connectionMax: Int, _ inbox: Inbox<AdminMessage>,
    _ control: Inbox<Server.ControlMessage>
  ) -> AdminServer? {
    guard let io = try? EpollIO(wakeUp: inbox.wakeUp), let view = start.take() else { return nil }
    return AdminServer(
      io: io, view: view, connectionMax: connectionMax, inbox: inbox, control: control)
  }

  private mutating func turn() {
    let next = queued.isEmpty ? min(samplesAt, tapsAt, acceptsAt) : io.now
    let count = io.wait(until: next)
    for message in inbox.take() { handle(message) }
    for index in 0..<count { handle(io.event(index)) }
    let waiting = queued
    queued = []
    for handle in waiting where connections.contains(handle) { drive(handle) }
    if io.now >= samplesAt {
      samplesAt = io.now + .seconds(1)
      history.sample(view, at: io.now)
      sendEvents()
      closeOverdue()
    }
    if io.now >= acceptsAt { watchListeners() }
    forwardTapped()
  }

  private mutating func handle(_ message: AdminMessage) {
    switch message {
    case .view(let fresh):
      let isOutdated =
        fresh.credentials.version != view.credentials.version
        || fresh.credentials.localVersion != view.credentials.localVersion
      view = fresh
      if isOutdated {
        endOutdated()
        stopAccepting()
      }
    case .listen(let fresh): listen(on: fresh)
    case .answer(let handle, let document):
      guard connections.contains(handle),
        case .awaitingControl(let request) = connections[handle].phase
      else { return }
      send(document, to: handle, request)
      drive(handle)
    case .end: hasEnded = true
    }
  }

  private mutating func handle(_ event: ReadinessEvent) {
    guard let token = Token(packed: event.token) else { return }
    if token.kind == .listener {
      if token.handle.generation == listenersVersion { accept(from: Int(token.handle.index)) }
      return
    }
    guard connections.contains(token.handle) else { return }
    connections[token.handle].transport.note(event.readiness)
    drive(token.handle)
  }

  // MARK: Listeners

  private mutating func listen(on fresh: [AdminListener]) {
    for old in listeners where !fresh.contains(where: { $0.socket == old.socket }) {
      io.unwatch(listener: old.socket)
      io.close(old.socket, reset: false)
    }
    listeners = fresh
    listenersVersion = (listenersVersion + 1) & 0xFF_FFFF
    watchListeners()
  }

  /// Until the listeners that go with the new credentials come: what the old ones accept would
  /// count as let in by the new ones.
  private mutating func stopAccepting() {
    for listener in listeners { io.unwatch(listener: listener.socket) }
    listenersVersion = (listenersVersion + 1) & 0xFF_FFFF
    acceptsAt = .never
  }

  private mutating func watchListeners() {
    acceptsAt = .never
    for (index, listener) in listeners.enumerated() {
      let handle = Handle(index: UInt32(index), generation: listenersVersion)
      io.watch(listener: listener.socket, token: Token(.listener, handle).packed)
    }
  }

  private mutating func accept(from index: Int) {
    guard index < listeners.count else { return }
    for _ in 0..<AdminLimits.acceptsPerTurn {
      switch io.accept(from: listeners[index].socket) {
      case .accepted(let socket, _): open(socket, listeners[index].access)
      case .wouldBlock: return
      case .failed: continue
      case .exhausted: return pauseAccepting()
      }
    }
  }

  /// Without descriptors accepting would fail again at once, turn after turn. The connections wait
  /// a moment in their queues; the workers need descriptors more.
  private mutating func pauseAccepting() {
    for listener in listeners { io.unwatch(listener: listener.socket) }
    acceptsAt = io.now + AdminLimits.exhaustionPause
  }

  private mutating func open(_ socket: Socket, _ access: AdminAccess) {
    guard makePlace(access) else { return io.close(socket, reset: true) }
    let transport: Transport
    switch access {
    case .local, .plain: transport = Transport(socket)
    case .encrypted, .certified:
      guard let context = view.tls, let session = try? TLSSession(accepting: context) else {
        return io.close(socket, reset: true)
      }
      transport = Transport(socket, accepting: session)
    }
    let handle = connections.insert(
      AdminConnection(
        transport, access, version: view.credentials.version(of: access), at: io.now))
    io.register(socket, token: Token(.connection, handle).packed)
  }

  // MARK: Connections

  /// Takes what has come, answers what is whole, and sends what waits.
  mutating func drive(_ handle: Handle) {
    connections[handle].transport.flush(&io, &buffers)
    var steps = 0
    stepping: while true {
      switch step(handle) {
      case .wait: break stepping
      case .again where steps < AdminLimits.stepsPerTurn: steps += 1
      case .again, .giveWay:
        queue(handle)
        break stepping
      }
    }
    guard connections.contains(handle) else { return }
    if connections[handle].transport.takeGaveWay() { queue(handle) }
    connections[handle].transport.flush(&io, &buffers)
    if case .refused = connections[handle].phase {
    } else if connections[handle].transport.isBroken {
      return close(handle)
    } else if case .ending = connections[handle].phase, connections[handle].transport.isFlushed {
      if connections[handle].transport.peerFinished { return close(handle) }
      io.shutdownSending(connections[handle].transport.socket)
      connections[handle].phase = .lingering
      queue(handle)
    }
    connections[handle].updateDeadline(at: io.now)
  }

  /// For the next turn, once however often it gave way in this one.
  private mutating func queue(_ handle: Handle) {
    if !queued.contains(handle) { queued.append(handle) }
  }

  /// Makes place for one more connection. Where there is none, the oldest has to go of those who
  /// have shown nothing, so that strangers can't keep out who has something to show.
  private mutating func makePlace(_ access: AdminAccess) -> Bool {
    let reserved = access.isLocal ? 0 : max(1, connectionMax / AdminLimits.reservedShare)
    if connections.count < connectionMax - reserved { return true }
    guard let stranger = first(by: { !$0.isTrusted ? $0.openedAt.nanoseconds : nil }) else {
      return false
    }
    close(stranger)
    return true
  }

  /// Makes room for `count` bytes to be sent: where all connections together hold too much,
  /// whichever else holds the most is closed, since its client doesn't read.
  mutating func makeRoom(for count: Int, of handle: Handle) {
    var held = count
    for slot in 0..<connections.slotCount {
      guard let each = connections.handle(at: slot) else { continue }
      held += connections[each].transport.heldByteCount
    }
    while held > AdminLimits.heldByteCountMax {
      let keeper = connections[handle].transport.socket
      let greedy = first {
        $0.transport.socket != keeper && $0.transport.heldByteCount > 0
          ? .max - UInt64($0.transport.heldByteCount) : nil
      }
      guard let greedy else { return }
      held -= connections[greedy].transport.heldByteCount
      close(greedy)
    }
  }

  /// The connection with the least number; those without one aren't meant.
  private func first(by number: (borrowing AdminConnection) -> UInt64?) -> Handle? {
    var found: (handle: Handle, number: UInt64)?
    for slot in 0..<connections.slotCount {
      guard let handle = connections.handle(at: slot), let each = number(connections[handle])
      else { continue }
      if each < found?.number ?? .max { found = (handle, each) }
    }
    return found?.handle
  }

  // MARK: Ends

  private mutating func closeOverdue() {
    for slot in 0..<connections.slotCount {
      guard let handle = connections.handle(at: slot), connections[handle].deadline <= io.now
      else { continue }
      close(handle)
    }
  }

  /// Ends the connections of clients that came in by what isn't in force any more. An answer that
  /// is being worked on still goes out: one of them may have asked for the change.
  private mutating func endOutdated() {
    for slot in 0..<connections.slotCount {
      guard let handle = connections.handle(at: slot), isOutdated(handle) else { continue }
      switch connections[handle].phase {
      case .awaitingControl, .ending, .lingering, .refused: break
      case .awaitingHead where !connections[handle].transport.isFlushed:
        connections[handle].phase = .ending
      case .awaitingHead, .receivingBody, .stateEvents, .tap: close(handle)
      }
    }
  }

  func isOutdated(_ handle: Handle) -> Bool {
    connections[handle].accessVersion
      != view.credentials.version(of: connections[handle].access)
  }

  mutating func close(_ handle: Handle) {
    var connection = connections.remove(handle)
    connection.transport.release(to: &buffers)
    io.close(connection.transport.socket, reset: false)
  }
}
