// One HTTP/1 connection of a simulated backend: it reads requests strictly, records each delivery,
// checks every byte of the bodies, and responds by plan, in order.

import Primitives

final class SimulatedHTTP1Backend: SimulatedActor, SimulatedBackendConnection {
  /// The request that is being read.
  private struct Incoming {
    let id: Int
    var offset = 0
    var isWrong = false
  }

  private struct Due {
    let plan: AnswerPlan
    let delivery: Int
    var time: Instant?
    var writer: MessageWriter?
  }

  /// The relayed bytes after a 101.
  private struct Tunnel {
    let id: Int
    let size: Int
    var received = 0
    var isSent = false
  }

  private enum Phase {
    case serving
    /// All responses are sent; further input is only read for the audit, until the worker closes.
    case lingering(until: Instant)
    case gone
  }

  private unowned let backend: SimulatedBackend
  private let ledger: Ledger
  private let endpoint: SimulatedEndpoint
  private var random: RandomGenerator
  private let pace: ActorPace
  private let isDoomed: Bool
  /// The header of the PROXY protocol that must come first.
  private let header: OutgoingHeader?
  private var seenHeader: SeenProxyHeader?

  private var phase = Phase.serving
  private var parser = MessageParser(.requests)
  private var input = ByteBuffer()
  private var output = ByteBuffer()
  private var incoming: Incoming?
  private var due: [Due] = []
  private var tunnel: Tunnel?
  private var inputHasEnded = false
  private var answersCheck = false
  private var hasSeenHead = false
  private var lastID: Int?
  private var silentClose: Instant?
  /// Bytes that it sends when it is idle at this time.
  private var unasked: (bytes: UnaskedBytes, time: Instant)?
  private var bytesAreLost = false
  private var isAudited = false

  init(
    backend: SimulatedBackend, endpoint: SimulatedEndpoint, random: RandomGenerator,
    isDoomed: Bool, header: OutgoingHeader?
  ) {
    self.backend = backend
    self.header = header
    ledger = backend.ledger
    self.endpoint = endpoint
    var random = random
    pace = .init(drawnFrom: &random, level: ledger.level, isSmall: backend.isSmall)
    self.random = random
    self.isDoomed = isDoomed
    super.init(network: backend.ledger.network)
  }

  override func act() {
    if case .gone = phase { return }
    if isDoomed { return leave(reset: true) }
    receive()
    if case .serving = phase { answer() }
    if case .lingering(let end) = phase {
      if network.now >= end { leave(reset: false) } else { wake(after: end - network.now) }
    }
  }

  private func leave(reset: Bool) {
    phase = .gone
    network.note("backend \(backend.index) endpoint \(endpoint.number) leaves, reset: \(reset)")
    network.hangUp(endpoint, reset: reset)
  }

  /// Closes its own direction and waits for the worker, so that no reset overtakes the response.
  private func linger() {
    network.sendFinish(from: endpoint)
    due = []
    phase = .lingering(until: network.now + .seconds(5))
  }

  // MARK: Requests

  private func receive() {
    while true {
      if case .deafness = due.last?.plan.conduct { return }
      switch network.read(endpoint, into: &input, limit: pace.readLimit) {
      case .bytes:
        parse()
        if case .gone = phase { return }
        if let pause = pace.pause(&random) { return wake(after: pause) }
      case .nothingYet:
        return
      case .finished:
        inputHasEnded = true
        // If a response is due, the worker may only have closed its own direction.
        if due.isEmpty || incoming != nil { leave(reset: false) }
        return
      case .broken:
        return leave(reset: false)
      }
    }
  }

  private func parse() {
    guard readHeader() else { return }
    while true {
      if tunnel != nil { return checkTunnel() }
      let start = endpoint.takenTotal - input.count
      switch parser.next(&input) {
      case .more:
        return
      case .head(let head):
        headArrived(head, at: start)
      case .body(let count):
        check(input.bytes.extracting(first: count))
        input.consume(count)
      case .end(let trailers):
        requestEnded(trailers)
      case .malformed(let reason):
        // After a truncated body nothing can be checked, and nothing follows.
        network.fault("backend \(backend.index): malformed request, \(reason)")
        return leave(reset: true)
      }
    }
  }

  /// Returns whether there is none to come.
  private func readHeader() -> Bool {
    guard let header, seenHeader == nil else { return true }
    switch SeenProxyHeader.read(input, as: header) {
    case .more: return false
    case .wrong(let reason):
      network.fault("backend \(backend.index): the header of the PROXY protocol, \(reason)")
      if case .serving = phase { leave(reset: true) }
      return false
    case .header(let header):
      seenHeader = header
      input.consume(header.byteCount)
      return true
    }
  }

  /// A connection with a header belongs to one connection of one client.
  private func checkHeader(_ id: Int) {
    guard header != nil, let client = ledger.records[id].endpoint else { return }
    let source = network.peer(of: client).peerAddress
    if seenHeader?.source != source || seenHeader?.destination != client.peerAddress {
      ledger.fault(id, "sent behind \(seenHeader as Any), but it is of \(source)")
    }
  }

  private func checkTunnel() {
    guard var tunnel, !input.isEmpty else { return }
    let pattern = ledger.records[tunnel.id].plan.relayedPattern
    if let position = pattern.mismatch(in: input.bytes, at: tunnel.received) {
      ledger.fault(tunnel.id, "what the client relays is wrong at byte \(position)")
    }
    tunnel.received += input.count
    input.removeAll()
    if tunnel.received > tunnel.size {
      ledger.fault(tunnel.id, "\(tunnel.received) of \(tunnel.size) bytes relayed to the backend")
    }
    self.tunnel = tunnel
    if tunnel.isSent && tunnel.received >= tunnel.size, case .serving = phase { linger() }
  }

  private func headArrived(_ head: MessageHead, at start: Int) {
    if head.parts[1] == PolicyPlan.healthPath && ledger.role == .proxy {
      output.append(
        string: "HTTP/1.1 \(backend.isSick ? 503 : 200) OK\r\nContent-Length: 0\r\n\r\n")
      answersCheck = true
      return
    }
    guard let id = head.number("x-id"), ledger.records.indices.contains(id) else {
      return network.fault("backend \(backend.index): a request of nobody, \(head.startLine)")
    }
    checkHeader(id)
    let isAnswered: Bool
    if case .serving = phase { isAnswered = true } else { isAnswered = false }
    if let lastID { checkReuse(id, after: lastID, at: start) }
    lastID = id
    // The connection was opened for the first request.
    let delivery = ledger.deliver(
      id, to: backend.index, endpoint, at: hasSeenHead ? start : 0,
      isLost: bytesAreLost || !isAnswered, mayStall: pace.stalls > 0)
    hasSeenHead = true
    incoming = Incoming(id: id)
    let request = ledger.records[id].plan
    let parts = head.parts
    if parts[0] != request.method.rawValue || parts[1] != request.path {
      ledger.fault(id, "became \(head.startLine)")
    }
    if head.values("host").count != 1 { ledger.fault(id, "hosts \(head.values("host"))") }
    if ledger.role == .proxy {
      if head.values("x-hop") != [] { ledger.fault(id, "a hop-by-hop field of the client's") }
      if isAnswering { ledger.fault(id, "sent before the answer to an earlier request ended") }
    }
    if bytesAreLost || !isAnswered { return }
    let isHTTP10 = parts[2] == "HTTP/1.0"
    var plan = AnswerPlan(
      seed: backend.seed, request: request, isHTTP10: isHTTP10, backend: backend.index,
      delivery: delivery, level: ledger.level, role: ledger.role,
      sizeMax: backend.sizeMax)
    if head.connectionHas("close") || (isHTTP10 && !head.connectionHas("keep-alive")) {
      plan.closeAsAsked()
    }
    ledger.records[id].deliveries[delivery].answer = plan
    network.note("request \(id): backend \(backend.index) will \(plan.summary)")
    var answer = Due(plan: plan, delivery: delivery)
    if case .answerEarly = plan.conduct { answer.time = network.now + plan.delay }
    if case .switchProtocols = plan.conduct {
      tunnel = Tunnel(id: id, size: request.relaySize ?? 0)
      answer.time = network.now + plan.delay
      incoming = nil
    }
    due.append(answer)
    if head.values("expect") == ["100-continue"] && plan.sendsContinue && due.count == 1 {
      ledger.records[id].deliveries[delivery].interimStart = sentTotal
      output.append("HTTP/1.1 100 Continue\r\n\r\n" as StaticString)
      ledger.records[id].deliveries[delivery].interimEnds.insert(sentTotal)
    }
  }

  /// Whether the worker might still use this connection for the request that begins at `start`.
  private func checkReuse(_ id: Int, after last: Int, at start: Int) {
    let workers = network.peer(of: endpoint)
    // Some of the last response may have waited for the client.
    let idleSince = max(workers.takenAt, ledger.records[last].endedAt)
    let idleTime = endpoint.sendingTime(of: start) - idleSince
    let isLate = idleTime > ledger.upstreamIdleTime + History.slack
    if isLate, ledger.records[last].outcome != .begun, ledger.history.jumps.isEmpty {
      ledger.fault(id, "sent over a connection that was idle for \(idleTime)")
    }
    if start == workers.unasked?.idleEnd, workers.wasDoubtful, !ledger.records[id].plan.isIdempotent
    {
      ledger.fault(id, "sent over a connection with unread bytes that nobody asked for")
    }
  }

  private func check(_ bytes: Span<UInt8>) {
    guard var incoming else { return }
    let pattern = ledger.records[incoming.id].plan.pattern
    if !incoming.isWrong, let position = pattern.mismatch(in: bytes, at: incoming.offset) {
      incoming.isWrong = true
      ledger.fault(incoming.id, "body of the request is wrong at byte \(position)")
    }
    incoming.offset += bytes.count
    self.incoming = incoming
  }

  private func requestEnded(_ trailers: [(name: String, value: String)]) {
    guard let incoming else { return }
    self.incoming = nil
    let plan = ledger.records[incoming.id].plan
    if incoming.offset != plan.size {
      ledger.fault(incoming.id, "arrived whole with \(incoming.offset) of \(plan.size) bytes")
    }
    for trailer in trailers
    where trailer.name != "x-trailer" || trailer.value != "\(incoming.id)" || !plan.hasTrailer {
      ledger.fault(incoming.id, "trailer \(trailer.name): \(trailer.value)")
    }
    if !bytesAreLost, let last = due.indices.last, due[last].time == nil {
      due[last].time = network.now + due[last].plan.delay
    }
  }

  // MARK: Answers

  private func answer() {
    while case .serving = phase {
      if !flushOutput() { return }
      guard var current = due.first else { return closeWhenIdle() }
      guard let time = current.time else { return }
      if network.now < time { return wake(after: time - network.now) }
      if current.writer == nil && !begin(&current) { return }
      if current.writer?.isDone == false {
        current.writer?.produce(into: &output, about: 16_384)
        due[0] = current
        if current.writer?.isDone == true { markEnd(current) }
        if case .excess = current.plan.conduct, current.writer?.isDone == true { addExcess() }
      } else {
        due.removeFirst()
        end(current.plan)
      }
    }
  }

  /// Sends what is in `output`; returns false when that takes more than this turn.
  private func flushOutput() -> Bool {
    while !output.isEmpty {
      let piece = min(output.count, pace.piece)
      let sent = network.write(output.bytes.extracting(first: piece), from: endpoint)
      if sent == 0 { return false }
      output.consume(sent)
      if let pause = pace.pause(&random) {
        wake(after: pause)
        return false
      }
    }
    return true
  }

  /// Starts a response; returns false when there will be none.
  private func begin(_ current: inout Due) -> Bool {
    let id = current.plan.id
    switch current.plan.conduct {
    case .silence, .deafness:
      return false
    case .die(let reset):
      leave(reset: reset)
      return false
    default:
      break
    }
    if ledger.records[id].deliveries[current.delivery].interimStart == nil {
      ledger.records[id].deliveries[current.delivery].interimStart = sentTotal
    }
    for status in current.plan.interims {
      output.append(string: "HTTP/1.1 \(status) Early\r\nLink: </style.css>\r\n\r\n")
      ledger.records[id].deliveries[current.delivery].interimEnds.insert(sentTotal)
    }
    ledger.records[id].deliveries[current.delivery].answerStart = sentTotal
    if case .garbage(let bytes) = current.plan.conduct { output.append(string: bytes) }
    current.writer = current.plan.writer(for: ledger.records[id].plan)
    if case .garbage = current.plan.conduct {
      due[0] = current
      _ = flushOutput()
      linger()
      return false
    }
    return true
  }

  /// How many bytes have been sent, or are in the output.
  private var sentTotal: Int { network.peer(of: endpoint).sentTotal + output.count }

  private func markEnd(_ current: Due) {
    ledger.records[current.plan.id].deliveries[current.delivery].answerEnd = sentTotal
    ledger.records[current.plan.id].deliveries[current.delivery].answeredAt = network.now
  }

  /// Only in one segment with the end of the response: later, they could meet the next request.
  private func addExcess() {
    var all = ByteBuffer()
    all.append(output.bytes)
    all.append(string: AnswerPlan.excessBytes)
    if network.write(all.bytes, from: endpoint, asOne: true) > 0 { output = ByteBuffer() }
  }

  private func end(_ plan: AnswerPlan) {
    switch plan.conduct {
    case .dieInHead(_, let reset), .dieInBody(_, let reset):
      return reset ? leave(reset: true) : linger()
    case .nonsenseAt:
      output.append("ZZ;nonsense\r\n" as StaticString)
      _ = flushOutput()
      return linger()
    case .switchProtocols:
      tunnel?.isSent = true
      if inputHasEnded || (tunnel.map { $0.received >= $0.size } ?? true) { linger() }
      return
    default:
      break
    }
    switch plan.afterwards {
    case .stay: break
    case .close: linger()
    case .closeSilently(let delay):
      silentClose = network.now + delay
      wake(after: delay)
    case .sendUnasked(let bytes, let delay):
      unasked = (bytes, network.now + delay)
      wake(after: delay)
    }
  }

  /// Whether a part of the response to an earlier request is still to be sent.
  private var isAnswering: Bool {
    !due.isEmpty && (!output.isEmpty || due.contains { $0.writer?.isDone != true })
  }

  private func closeWhenIdle() {
    if answersCheck { return linger() }
    if tunnel != nil { return }
    if let unasked { return sendUnasked(unasked.bytes, at: unasked.time) }
    guard let silentClose, incoming == nil else { return }
    if network.now < silentClose { return wake(after: silentClose - network.now) }
    leave(reset: random.chance(1, in: 4))
  }

  /// Sends what nobody asked for, if no request has begun by then. It answers nothing after it,
  /// since nobody could know which request an answer belongs to.
  private func sendUnasked(_ bytes: UnaskedBytes, at time: Instant) {
    guard incoming == nil, input.isEmpty else { return }
    if network.now < time { return wake(after: time - network.now) }
    network.note("backend \(backend.index) endpoint \(endpoint.number) sends \(bytes) unasked")
    let workers = network.peer(of: endpoint)
    workers.unasked = .init(start: sentTotal, idleEnd: endpoint.takenTotal, status: bytes.status)
    output.append(string: bytes.text)
    _ = flushOutput()
    if bytes.closes { linger() } else { phase = .lingering(until: network.now + .seconds(5)) }
  }

  // MARK: The audit

  /// Bytes that are never read here, although the worker's send has accepted them. A request in
  /// them counts as delivered, since the worker can't know that it wasn't.
  override func discarded(_ bytes: Span<UInt8>) {
    bytesAreLost = true
    input.append(bytes)
    parseLost()
  }

  /// Records a request of which only a part of the head was sent. Called at the end of a run.
  func auditRest() {
    if isAudited { return }
    isAudited = true
    parseLost()
    if header != nil && seenHeader == nil { return }
    if !parser.isBetweenMessages || input.isEmpty || tunnel != nil { return }
    let line = String(decoding: input.bytes.extracting(first: min(input.count, 64)))
    let parts = line.split(separator: " ", omittingEmptySubsequences: false)
    guard parts.count >= 3, let id = RequestPlan.id(ofPath: parts[1]),
      ledger.records.indices.contains(id)
    else {
      let start = endpoint.sentTotal - input.count
      ledger.lostBeginnings.append(
        (endpoint.sendingTime(of: start), network.peer(of: endpoint).unasked))
      return
    }
    let start = hasSeenHead ? endpoint.sentTotal - input.count : 0
    _ = ledger.deliver(
      id, to: backend.index, endpoint, at: start, isLost: true,
      mayStall: false)
  }

  private func parseLost() {
    bytesAreLost = true
    if tunnel != nil || !readHeader() { return }
    while true {
      switch parser.next(&input) {
      case .more, .malformed: return
      case .head(let head): headArrived(head, at: endpoint.sentTotal - input.count)
      case .body(let count): input.consume(count)
      case .end: incoming = nil
      }
    }
  }
}
