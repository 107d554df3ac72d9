// A simulated client that speaks HTTP/1: one connection at a time, a list of requests, and its own
// pace.
//
// It sends planned requests in pieces with pauses, possibly several before the first response,
// checks every byte of the responses, and leaves in the middle if its plan says so. It never
// repeats a failed request: each has one number and one outcome.

import Primitives

final class SimulatedHTTP1Client: SimulatedActor, SimulatedClient {
  /// A pending request, and its position in the stream to the worker.
  private struct Outstanding {
    let id: Int
    let start: Int
    var end: Int?
  }

  /// The relayed bytes after a 101.
  private struct Tunnel {
    let id: Int
    let backend: Int?
    let size: Int
    var received = 0
  }

  private let ledger: Ledger
  private var random: RandomGenerator
  private let pace: ActorPace
  private let depth: Int
  private let address: SocketAddress
  private var ids: ArraySlice<Int>
  private var dialsLeft = 60

  private var endpoint: SimulatedEndpoint?
  private var outstanding: [Outstanding] = []
  private(set) var isDone = false
  /// Where in the stream from the worker the next response begins.
  private var answerStart = 0

  private var output = ByteBuffer()
  private var input = ByteBuffer()
  private var parser = MessageParser(.answers)
  private var writer: MessageWriter?
  private var written = 0
  private var heldUntil: Instant?
  private var answer: AnswerCheck?
  private var tunnel: Tunnel?
  /// The previous request on this connection.
  private var previous: Int?
  /// No further request is sent on this connection.
  private var isLast = false
  private var closeAnnounced = false
  private var leaving: Instant?
  /// When it became idle, and until when it sends no request.
  private var idleSince: Instant?
  private var restsUntil: Instant?
  private let restMax: TimeSpan

  init(ledger: Ledger, plan: ClientPlan) {
    self.ledger = ledger
    ids = plan.ids[...]
    var random = RandomGenerator(seed: plan.seed)
    pace = ActorPace(drawnFrom: &random, level: ledger.level, isSmall: plan.isSmall)
    restMax = plan.restMax
    depth = random.chance(1, in: 3) ? 2 + random.next(below: 4) : 1
    address = .ip(
      IPAddress(v4: 0x0A00_0100 + UInt32((plan.ids.first ?? 0) & 0xFF)), port: UInt16(40_000))
    self.random = random
    super.init(network: ledger.network)
    wake(after: .microseconds(Int64(self.random.skewed(upTo: 2_000_000))))
  }

  override func act() {
    if isDone { return }
    guard let endpoint else { return dial() }
    if endpoint.phase == .connecting {
      if endpoint.isBroken { connectionEnded(isOrderly: false) }
      return
    }
    receive(from: endpoint)
    if self.endpoint === endpoint { transmit(to: endpoint) }
    if self.endpoint === endpoint { leaveWhenDone(endpoint) }
  }

  // MARK: The connection

  private func dial() {
    if ids.isEmpty || dialsLeft == 0 {
      isDone = true
      return
    }
    dialsLeft -= 1
    endpoint = network.dial(0, by: self, from: address.port(plus: dialsLeft))
    network.note("client \(number) dials as endpoint \(endpoint!.number)")
    output = ByteBuffer()
    input = ByteBuffer()
    parser = MessageParser(.answers)
    writer = nil
    answer = nil
    tunnel = nil
    previous = nil
    answerStart = 0
    isLast = false
    closeAnnounced = false
    leaving = nil
    heldUntil = nil
    idleSince = nil
    restsUntil = nil
  }

  /// Closes this side; pending requests get `outcome`.
  private func hangUp(_ manner: RequestPlan.Manner, outcome: Outcome) {
    guard let endpoint else { return }
    network.note("client \(number) hangs up, \(manner)")
    switch manner {
    case .orderly: network.hangUp(endpoint, reset: false)
    case .reset: network.hangUp(endpoint, reset: true)
    case .cut: network.cut(endpoint)
    }
    for request in outstanding { ledger.finish(request.id, outcome) }
    outstanding = []
    self.endpoint = nil
    wake(after: .microseconds(Int64(1_000 + random.skewed(upTo: 100_000))))
  }

  private func connectionEnded(isOrderly: Bool) {
    if let tunnel {
      let isWhole = tunnel.received == tunnel.size
      ledger.finish(tunnel.id, .switched(backend: tunnel.backend, isWhole: isWhole))
      outstanding.removeFirst()
      return hangUp(.orderly, outcome: .unanswered)
    }
    if let first = outstanding.first, answer != nil || !input.isEmpty {
      ledger.finish(first.id, .truncated)
      outstanding.removeFirst()
    }
    hangUp(.orderly, outcome: closeAnnounced ? .announced : .unanswered)
  }

  private func leaveWhenDone(_ endpoint: SimulatedEndpoint) {
    let isFinished = (ids.isEmpty || isLast) && outstanding.isEmpty && writer == nil
    if !isFinished { return }
    if leaving == nil {
      switch random.next(below: 3) {
      case 0: leaving = network.now
      case 1: leaving = network.now + .milliseconds(Int64(random.skewed(upTo: 20_000)))
      // It waits for the server's timeout, but not forever.
      default: leaving = network.now + .seconds(600)
      }
    }
    guard let leaving else { return }
    if network.now >= leaving {
      hangUp(.orderly, outcome: .abandoned)
    } else {
      wake(after: leaving - network.now)
    }
  }

  // MARK: Requests

  private func transmit(to endpoint: SimulatedEndpoint) {
    while true {
      if output.isEmpty && !refillOutput(endpoint) { return }
      let piece = min(output.count, pace.piece)
      let sent = network.write(output.bytes.extracting(first: piece), from: endpoint)
      if sent == 0 { return }
      output.consume(sent)
      written += sent
      if let id = outstanding.last?.id, departs(id, atRequestByte: written) { return }
      if let pause = pace.pause(&random) { return wake(after: pause) }
    }
  }

  /// Produces more bytes to send; returns false when there is nothing to send now.
  private func refillOutput(_ endpoint: SimulatedEndpoint) -> Bool {
    if writer == nil {
      if isLast || closeAnnounced || outstanding.count >= depth || ids.isEmpty { return false }
      if let restsUntil, network.now < restsUntil {
        wake(after: restsUntil - network.now)
        return false
      }
      begin(endpoint)
    }
    if let heldUntil {
      if network.now < heldUntil {
        wake(after: heldUntil - network.now)
        return false
      }
      self.heldUntil = nil
    }
    writer?.produce(into: &output, about: 16_384)
    // There is no head after a 101.
    if output.isEmpty && writer?.isDone == false { writer?.produce(into: &output, about: 16_384) }
    guard let writer, let id = outstanding.last?.id else { return false }
    if writer.isDone {
      finishWriting(endpoint)
    } else if writer.isHeadDone && writer.producedCount == output.count
      && ledger.records[id].plan.expectsContinue && written == 0
    {
      // RFC 9110 10.1.1: a client doesn't wait forever.
      heldUntil = network.now + .seconds(1)
      if answer != nil { heldUntil = nil }
    }
    return !output.isEmpty
  }

  private func begin(_ endpoint: SimulatedEndpoint) {
    let id = ids.removeFirst()
    let plan = ledger.records[id].plan
    ledger.records[id].outcome = .begun
    ledger.records[id].begunAt = network.now
    ledger.records[id].endpoint = endpoint
    ledger.records[id].previous = previous
    ledger.records[id].clientMayStall = pace.stalls > 0
    endRest(before: id)
    previous = id
    network.note("client \(number) begins request \(id): \(plan.method), \(plan.size) bytes")
    outstanding.append(
      Outstanding(id: id, start: network.peer(of: endpoint).sentTotal + output.count))
    writer = plan.writer(random: RandomGenerator(seed: random.next()))
    written = 0
    if !plan.isPersistent || plan.malformation != nil || plan.relaySize != nil { isLast = true }
  }

  /// The connection is idle; possibly for a while.
  private func beginRest() {
    idleSince = network.now
    if restMax == .zero || random.chance(1, in: 3) { return }
    restsUntil =
      network.now + .nanoseconds(Int64(random.next(below: Int(restMax.nanoseconds))))
  }

  private func endRest(before id: Int) {
    guard let since = idleSince else { return }
    ledger.records[id].idleTime = network.now - since
    ledger.checkIdleTime(of: id, since: since)
    idleSince = nil
    restsUntil = nil
  }

  private func finishWriting(_ endpoint: SimulatedEndpoint) {
    writer = nil
    let end = network.peer(of: endpoint).sentTotal + output.count
    if let last = outstanding.indices.last {
      outstanding[last].end = end
      if ledger.records[outstanding[last].id].end == nil {
        ledger.records[outstanding[last].id].end = end
      }
    }
    if ids.isEmpty && ledger.level == .storm && random.chance(1, in: 8) {
      // Half-close: the last bytes are sent first.
      isLast = true
      // A proxy may treat this as if the client had left.
      for request in outstanding { ledger.records[request.id].mayBeCut = true }
      let sent = network.write(output.bytes, from: endpoint)
      output.consume(sent)
      if output.isEmpty { network.sendFinish(from: endpoint) }
    }
  }

  private func departs(_ id: Int, atRequestByte count: Int) -> Bool {
    guard case (.requestByte(let byte), let manner)? = ledger.records[id].plan.departure,
      count >= byte
    else { return false }
    hangUp(manner, outcome: .abandoned)
    return true
  }

  private func departs(atAnswerByte count: Int) -> Bool {
    guard let id = outstanding.first?.id,
      case (.answerByte(let byte), let manner)? = ledger.records[id].plan.departure,
      count > byte
    else { return false }
    hangUp(manner, outcome: .abandoned)
    return true
  }

  // MARK: Progress

  /// Only of the first request: the bytes on the connection can't be told apart earlier.
  func reportProgress(to body: (RequestProgress) -> Void) {
    guard let request = outstanding.first, let endpoint, endpoint.isConnected else { return }
    let taken = network.peer(of: endpoint).takenTotal
    let answerCount = endpoint.sentTotal - answerStart
    body(
      RequestProgress(
        id: request.id, takenCount: min(taken, request.end ?? .max) - request.start,
        isTaken: request.end.map { taken >= $0 } ?? false, isBegun: answerCount > 0,
        answerCount: answerCount, heldMax: SimulationRun.heldMax))
  }

  // MARK: Answers

  private func receive(from endpoint: SimulatedEndpoint) {
    while true {
      switch network.read(endpoint, into: &input, limit: pace.readLimit) {
      case .bytes:
        parse(atEnd: false)
        if self.endpoint !== endpoint { return }
        if departs(atAnswerByte: endpoint.takenTotal - answerStart) { return }
        if let pause = pace.pause(&random) { return wake(after: pause) }
      case .nothingYet:
        return
      case .finished:
        parse(atEnd: true)
        if self.endpoint === endpoint { connectionEnded(isOrderly: true) }
        return
      case .broken:
        connectionEnded(isOrderly: false)
        return
      }
    }
  }

  private func parse(atEnd: Bool) {
    while let endpoint {
      if tunnel != nil { return checkTunnel() }
      if let first = outstanding.first {
        parser.answersHead = ledger.records[first.id].plan.method == .HEAD
      }
      switch parser.next(&input, atEnd: atEnd) {
      case .more: return
      case .head(let head):
        guard let id = outstanding.first?.id else {
          network.fault("client \(number): an answer nobody asked for, \(head.startLine)")
          return hangUp(.reset, outcome: .abandoned)
        }
        headArrived(head, id)
      case .body(let count):
        answer?.check(input.bytes.extracting(first: count))
        input.consume(count)
      case .end(let trailers):
        guard let id = outstanding.first?.id, let answer else { return }
        answer.checkEnd(trailers)
        // The start of its next request would be unknown.
        if !answer.closes && outstanding[0].end == nil {
          ledger.fault(id, "kept alive, though the request hadn't ended")
        }
        self.answer = nil
        answerStart = endpoint.takenTotal - input.count
        ledger.finish(id, .answered(status: answer.status, backend: answer.backend))
        outstanding.removeFirst()
        if answer.closes { return serverCloses(endpoint) }
        if outstanding.isEmpty && writer == nil { beginRest() }
      case .malformed(let reason):
        network.fault("client \(number): malformed answer, \(reason)")
        return hangUp(.reset, outcome: .abandoned)
      }
    }
  }

  private func headArrived(_ head: MessageHead, _ id: Int) {
    let plan = ledger.records[id].plan
    if head.status < 200 {
      if plan.isHTTP10 { ledger.fault(id, "an interim answer to HTTP/1.0") }
      if head.status == 101 { return switchProtocols(head, plan) }
      if head.status == 100 {
        ledger.records[id].continueCount += 1
        if ledger.records[id].continueCount > 1 { ledger.fault(id, "told twice to continue") }
      }
      heldUntil = nil
      return
    }
    if outstanding.count == 1 { heldUntil = nil }
    answer = AnswerCheck(head, id, ledger, isUntilClose: parser.isUntilClose)
  }

  private func switchProtocols(_ head: MessageHead, _ plan: RequestPlan) {
    guard let size = plan.relaySize, outstanding.count == 1 else {
      return ledger.fault(plan.id, "switched protocols unasked")
    }
    tunnel = Tunnel(id: plan.id, backend: head.number("x-backend"), size: size)
    if size == 0 { return }
    writer = MessageWriter(
      head: "", pattern: plan.relayedPattern, size: size, framing: .untilClose,
      random: RandomGenerator(seed: random.next()))
    wake(after: .zero)
  }

  private func checkTunnel() {
    guard var tunnel, !input.isEmpty else { return }
    let pattern = ledger.records[tunnel.id].plan.relayedPattern(from: tunnel.backend ?? -1)
    if let position = pattern.mismatch(in: input.bytes, at: tunnel.received) {
      ledger.fault(tunnel.id, "what the backend relays is wrong at byte \(position)")
    }
    tunnel.received += input.count
    input.removeAll()
    if tunnel.received > tunnel.size {
      ledger.fault(tunnel.id, "\(tunnel.received) of \(tunnel.size) bytes relayed to the client")
    }
    self.tunnel = tunnel
  }

  /// The response that has just ended was the last on this connection.
  private func serverCloses(_ endpoint: SimulatedEndpoint) {
    closeAnnounced = true
    isLast = true
    if !input.isEmpty { network.fault("client \(number): bytes behind the last answer") }
    for request in outstanding { ledger.finish(request.id, .announced) }
    outstanding = []
    writer = nil
    output = ByteBuffer()
    if random.chance(1, in: 2) { hangUp(.orderly, outcome: .announced) }
  }
}
