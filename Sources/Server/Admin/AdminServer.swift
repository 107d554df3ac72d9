// The admin thread: HTTP/1.1 for whoever watches and steers the process.
//
// It has a loop of its own, so that neither a scrape of ten thousand series nor a page that stays
// open costs a worker anything; it reads the workers' counters and the backends' atomics where they
// are. What changes something goes to the control thread. Few clients, so nothing here is fast, but
// everything is bounded: connections, sizes, times, and what piles up for who doesn't read.

import HTTP
import HTTP1
import Metrics
import Primitives
import Reactor
import TLS

/// What reaches the admin thread.
enum AdminMessage: Sendable {
  case view(AdminView)
  /// The answer to a command of the connection that asked.
  case answer(Handle, AdminDocument)
  case end
}

struct AdminServer: ~Copyable {
  private var io: EpollIO
  private var buffers = BufferPool()
  private var connections = Slab<AdminConnection>(capacity: 16)
  private let listeners: [AdminListener]
  private let token: String?
  private let inbox: Inbox<AdminMessage>
  private let control: Inbox<Server.ControlMessage>
  private var view: AdminView
  private var history = History()
  private var samplesAt: Instant
  /// When the reports of those who tap are looked at next; never while nobody does.
  private var tapsAt = Instant.never
  private var hasEnded = false
  /// Connections that gave way to others and have more to do.
  private var waiting: [Handle] = []

  private static let connectionMax = 128
  /// Of these, places that only the Unix socket gives out, so that strangers who fill the address
  /// keep nobody from steering the process.
  private static let reservedMax = 16
  /// Blocks that are discarded of what a client sends behind its failed handshake; then it is
  /// closed.
  private static let discardsPerTurn = 16
  /// Whoever may open the Unix socket may send a whole configuration.
  private static let (bodyMax, localBodyMax) = (64 * 1024, 4 * 1024 * 1024)
  /// What a stream may have unsent before it is ended: its client has stopped reading.
  private static let unsentMax = 1024 * 1024
  private static var quietMax: TimeSpan { .seconds(30) }
  /// The page's own script and style, and nothing else.
  private static let contentPolicy =
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    + "connect-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'"
  private static var tapInterval: TimeSpan { .milliseconds(100) }
  /// Backends that an event tells of, for each pool.
  private static let eventBackendMax = 200

  init(
    io: consuming EpollIO, listeners: [AdminListener], token: String?, view: AdminView,
    inbox: Inbox<AdminMessage>, control: Inbox<Server.ControlMessage>
  ) {
    self.listeners = listeners
    self.token = token
    self.view = view
    self.inbox = inbox
    self.control = control
    samplesAt = io.now
    self.io = io
    for (index, listener) in listeners.enumerated() {
      let handle = Handle(index: UInt32(index), generation: 1)
      self.io.watch(listener: listener.socket, token: Token(.listener, handle).packed)
    }
  }

  /// Serves until it is told to end.
  mutating func run() {
    while !hasEnded { turn() }
    for slot in 0..<connections.slotCount {
      if let handle = connections.handle(at: slot) { close(handle) }
    }
  }

  private mutating func turn() {
    let count = io.wait(until: waiting.isEmpty ? min(samplesAt, tapsAt) : .origin)
    for message in inbox.take() { handle(message) }
    for index in 0..<count { handle(io.event(index)) }
    let resumed = waiting
    waiting = []
    for handle in resumed where connections.contains(handle) { drive(handle) }
    if io.now >= samplesAt {
      samplesAt = io.now + .seconds(1)
      history.sample(view, at: io.now)
      sendEvents()
      closeQuiet()
    }
    forwardTapped()
  }

  private mutating func handle(_ message: AdminMessage) {
    switch message {
    case .view(let fresh): view = fresh
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
    if token.kind == .listener { return accept(from: Int(token.handle.index)) }
    guard connections.contains(token.handle) else { return }
    connections[token.handle].transport.note(event.readiness)
    drive(token.handle)
  }

  private mutating func accept(from index: Int) {
    // Where descriptors have run out, the connection waits; the workers need theirs more.
    guard index < listeners.count,
      case .accepted(let socket, _) = io.accept(from: listeners[index].socket)
    else { return }
    let access = listeners[index].access
    let places = access == .local ? Self.connectionMax : Self.connectionMax - Self.reservedMax
    guard connections.count < places else { return io.close(socket, reset: true) }
    let transport: Transport
    switch access {
    case .local, .plain: transport = Transport(socket)
    case .encrypted, .certified:
      guard let context = view.tls, let session = try? TLSSession(accepting: context) else {
        return io.close(socket, reset: true)
      }
      transport = Transport(socket, accepting: session)
    }
    let handle = connections.insert(AdminConnection(transport, access, at: io.now))
    io.register(socket, token: Token(.downstream, handle).packed)
  }

  // MARK: Connections

  /// Takes what has come, answers what is whole, and sends what waits.
  private mutating func drive(_ handle: Handle) {
    var isOpen = true
    while isOpen && step(handle) { isOpen = connections.contains(handle) }
    guard connections.contains(handle) else { return }
    if connections[handle].transport.takeGaveWay() { waiting.append(handle) }
    connections[handle].transport.flush(&io, &buffers)
    if case .refused = connections[handle].phase { return }
    if connections[handle].transport.isBroken { return close(handle) }
    if case .ending = connections[handle].phase, connections[handle].transport.isFlushed {
      close(handle)
    }
  }

  /// One step of a connection; false when more must come first.
  private mutating func step(_ handle: Handle) -> Bool {
    do throws(HTTP1Error) {
      switch connections[handle].phase {
      case .awaitingHead:
        var head = RequestHead()
        if try takeHead(handle, into: &head) {
          begin(handle, head, try head.framing())
          return true
        }
      case .receivingBody(var request, var decoder):
        if try takeBody(handle, &request, &decoder) { return true }
      case .awaitingControl: return false
      case .refused:
        discard(handle)
        return false
      case .stateEvents, .tap, .ending:
        connections[handle].transport.inbound.removeAll()
      }
    } catch {
      refuse(handle, .error(error.status, "\(error.name)"))
      return false
    }
    return receive(handle)
  }

  private mutating func receive(_ handle: Handle) -> Bool {
    switch connections[handle].transport.receive(&io, &buffers) {
    case .bytes:
      connections[handle].quietSince = io.now
      return true
    case .nothing:
      return false
    case .failed(.tls(.plaintextHTTP)):
      connections[handle].transport.abandonTLS(&buffers)
      refuse(handle, .error(400, "this address speaks https"))
      return false
    case .failed(.tls):
      // Nothing that comes is heard any more; a reset would take the alert along that says why.
      connections[handle].phase = .refused
      connections[handle].transport.flush(&io, &buffers)
      io.shutdownSending(connections[handle].transport.socket)
      return false
    case .finished, .failed:
      close(handle)
      return false
    }
  }

  private mutating func discard(_ handle: Handle) {
    for _ in 0..<Self.discardsPerTurn {
      switch connections[handle].transport.discard(&io, &buffers) {
      case .received: continue
      case .wouldBlock: return
      case .finished, .failed: return close(handle)
      }
    }
    // It has had its answer, and time to read it.
    close(handle)
  }

  private mutating func takeHead(
    _ handle: Handle, into head: inout RequestHead
  ) throws(HTTP1Error) -> Bool {
    // A slab's element is one access, and parser and buffer are two of its parts.
    var parser = connections[handle].parser
    defer { connections[handle].parser = parser }
    if connections[handle].transport.inbound.isEmpty { return false }
    return try parser.take(from: &connections[handle].transport.inbound, into: &head)
  }

  private mutating func begin(
    _ handle: Handle, _ head: borrowing RequestHead, _ framing: BodyFraming
  ) {
    let request = AdminRequest(head, persists: head.persists)
    if framing == .none || framing == .length(0) {
      answer(handle, request)
    } else {
      connections[handle].phase = .receivingBody(request, BodyDecoder(framing))
    }
  }

  /// False when more of the body must come.
  private mutating func takeBody(
    _ handle: Handle, _ request: inout AdminRequest, _ decoder: inout BodyDecoder
  ) throws(HTTP1Error) -> Bool {
    var trailers = FieldBlock()
    let limit = connections[handle].access == .local ? Self.localBodyMax : Self.bodyMax
    while true {
      let step = try decoder.next(
        in: connections[handle].transport.inbound, limit: limit, trailers: &trailers)
      switch step {
      case .piece(let skip, let count):
        request.body += connections[handle].transport.inbound.array(skip..<(skip + count))
        connections[handle].transport.inbound.consume(skip + count)
        if request.body.count > limit {
          refuse(handle, .error(413, "the body is larger than \(limit / 1024) KiB"))
          return false
        }
      case .needsInput(let consumed):
        connections[handle].transport.inbound.consume(consumed)
        connections[handle].phase = .receivingBody(request, decoder)
        return false
      case .end(let consumed):
        connections[handle].transport.inbound.consume(consumed)
        answer(handle, request)
        return true
      }
    }
  }

  // MARK: Answers

  private func right(of request: AdminRequest, _ access: AdminAccess) -> AdminRight {
    if case .local = access { return .change }
    guard let token else { return access.right(of: request) }
    return request.token.map { constantTimeEqual($0, token) } == true ? .change : .nothing
  }

  private mutating func answer(_ handle: Handle, _ request: AdminRequest) {
    let api = AdminAPI(view: view, history: history, now: io.now)
    let right = right(of: request, connections[handle].access)
    switch api.answer(request, right: right) {
    case .whole(let document): send(document, to: handle, request)
    case .command(let command):
      connections[handle].phase = .awaitingControl(request)
      control.post(.admin(command, from: handle))
    case .stateEvents:
      connections[handle].phase = .stateEvents
      sendStreamHead("text/event-stream", right, to: handle)
      sendState(to: handle)
    case .tap(let filter):
      connections[handle].phase = .tap(filter)
      for reports in view.process.reports { reports.setTapped(true) }
      sendStreamHead("application/jsonl", right, to: handle)
    }
  }

  private mutating func send(
    _ document: AdminDocument, to handle: Handle, _ request: AdminRequest
  ) {
    connections[handle].phase = request.persists ? .awaitingHead : .ending
    write(
      document, to: handle, isHead: request.method == "HEAD", persists: request.persists)
  }

  private mutating func refuse(_ handle: Handle, _ document: AdminDocument) {
    connections[handle].phase = .ending
    write(document, to: handle, isHead: false, persists: false)
  }

  private mutating func write(
    _ document: AdminDocument, to handle: Handle, isHead: Bool, persists: Bool
  ) {
    var head = ResponseHead()
    head.status = document.status
    head.fields.append(.contentType, Array(document.contentType.utf8).span)
    head.fields.append(.cacheControl, "no-store")
    head.fields.append(
      name: Array("Content-Security-Policy".utf8).span, value: Array(Self.contentPolicy.utf8).span)
    var text = ByteBuffer()
    head.encode(
      for: .http11, body: .known(UInt64(document.body.count)),
      connection: persists ? .keepAlive : .close, into: &text)
    if !isHead { text.append(document.body.span) }
    connections[handle].transport.write(text, &io, &buffers)
    if !persists { connections[handle].transport.writeCloseNotify(&buffers) }
    connections[handle].quietSince = io.now
  }

  // MARK: Streams

  private mutating func sendStreamHead(
    _ contentType: String, _ right: AdminRight, to handle: Handle
  ) {
    var head = ResponseHead()
    head.status = 200
    head.fields.append(.contentType, Array(contentType.utf8).span)
    head.fields.append(.cacheControl, "no-store")
    // So that the page can tell before somebody presses a button.
    let word = right == .change ? "change" : "look"
    head.fields.append(name: Array("Martlet-Right".utf8).span, value: Array(word.utf8).span)
    var text = ByteBuffer()
    head.encode(for: .http11, body: .streamed, connection: .close, into: &text)
    connections[handle].transport.write(text, &io, &buffers)
  }

  private mutating func sendChunk(_ bytes: [UInt8], to handle: Handle) {
    if bytes.isEmpty { return }
    if connections[handle].transport.heldByteCount > Self.unsentMax { return close(handle) }
    var text = ByteBuffer()
    let encoder = BodyEncoder(.chunked)
    encoder.beginPiece(count: bytes.count, into: &text)
    text.append(bytes.span)
    encoder.endPiece(count: bytes.count, into: &text)
    connections[handle].transport.write(text, &io, &buffers)
    connections[handle].transport.flush(&io, &buffers)
    connections[handle].quietSince = io.now
  }

  private mutating func sendEvents() {
    for slot in 0..<connections.slotCount {
      guard let handle = connections.handle(at: slot) else { continue }
      if case .stateEvents = connections[handle].phase { sendState(to: handle) }
    }
  }

  private mutating func sendState(to handle: Handle) {
    var report = StateReport(view: view, history: history, now: io.now)
    report.backendMax = Self.eventBackendMax
    var json = JSONWriter()
    json.object { json in
      report.write(to: &json)
      if let moment = history.moments.last {
        json.object("second") { moment.write(to: &$0) }
      }
    }
    sendChunk(Array("data: ".utf8) + json.bytes + Array("\n\n".utf8), to: handle)
  }

  /// Gives what the workers have reported to those who tap, and stops the workers when nobody does.
  private mutating func forwardTapped() {
    var filters: [(Handle, TapFilter)] = []
    for slot in 0..<connections.slotCount {
      guard let handle = connections.handle(at: slot),
        case .tap(let filter) = connections[handle].phase
      else { continue }
      filters.append((handle, filter))
    }
    if filters.isEmpty {
      if tapsAt != .never { for reports in view.process.reports { reports.setTapped(false) } }
      tapsAt = .never
      return
    }
    tapsAt = io.now + Self.tapInterval
    let lines = view.process.reports.flatMap { $0.takeTapped() }
    for (handle, filter) in filters {
      var text: [UInt8] = []
      for line in lines where filter.passes(line) { text += line + [0x0A] }
      if connections.contains(handle) { sendChunk(text, to: handle) }
    }
  }

  // MARK: Ends

  private mutating func closeQuiet() {
    for slot in 0..<connections.slotCount {
      guard let handle = connections.handle(at: slot), !connections[handle].isStreaming,
        !connections[handle].isAwaitingControl,
        io.now - connections[handle].quietSince > Self.quietMax
      else { continue }
      close(handle)
    }
  }

  private mutating func close(_ handle: Handle) {
    var connection = connections.remove(handle)
    connection.transport.release(to: &buffers)
    io.close(connection.transport.socket, reset: false)
  }
}

/// Takes the same time wherever the two differ, so that a token can't be guessed letter by letter.
private func constantTimeEqual(_ left: String, _ right: String) -> Bool {
  let (left, right) = (Array(left.utf8), Array(right.utf8))
  if left.count != right.count { return false }
  return zip(left, right).reduce(0) { $0 | ($1.0 ^ $1.1) } == 0
}
