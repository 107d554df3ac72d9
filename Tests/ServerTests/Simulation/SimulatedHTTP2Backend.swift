// One HTTP/2 connection of a simulated backend: it reads requests on many streams, records each
// delivery, checks every byte of the bodies, and answers by plan.
//
// Its codec is ours, as a server, so each side checks the other. What it does besides, and how it
// fails, is in SimulatedHTTP2Backend+Misconduct.

import HTTP
import Primitives

@testable import HTTP2

final class SimulatedHTTP2Backend: SimulatedActor, SimulatedBackendConnection {
  /// A request, and its answer.
  struct Call {
    let id: Int
    let stream: UInt32
    let delivery: Int
    let plan: AnswerPlan
    let facts: HTTP2Delivery
    /// Bytes of the request's body so far.
    var offset = 0
    var isWrong = false
    var unconsumedCount = 0
    /// The request is complete.
    var hasEnded = false
    /// When the answer begins, once that is known.
    var time: Instant?
    var hasBegun = false
    var sentCount = 0
    /// All of the answer is in the output.
    var isSent = false
  }

  enum Phase {
    case serving
    /// Nothing more is sent; input is only read for the audit, until the worker closes.
    case lingering(until: Instant)
    case gone
  }

  unowned let backend: SimulatedBackend
  let ledger: Ledger
  let endpoint: SimulatedEndpoint
  var random: RandomGenerator
  private let pace: ActorPace
  private let isDoomed: Bool
  let limits: HTTP2Limits
  private let creditDelay: TimeSpan

  var phase = Phase.serving
  var codec: HTTP2Connection
  var workspace = HTTP2Workspace()
  private var input = ByteBuffer()
  var output = ByteBuffer()
  var scratch = ByteBuffer()
  /// In the order in which they arrived.
  var calls: [Call] = []
  var disturbances: ArraySlice<Disturbance>
  var deafUntil = Instant.origin
  /// From now on, requests may wait for long.
  var mayStall: Bool
  private var creditsAt = Instant.origin
  /// The last stream whose answer has begun.
  var lastBegun: UInt32 = 0
  /// Streams above it are excluded by a GOAWAY of its own.
  var excludedAbove: UInt32?
  /// It closes when the output is sent.
  var closing: (isDue: Bool, reset: Bool) = (false, false)
  /// It closes without notice when it is idle at this time.
  private var silentClose: Instant?
  private var hasExcluded = false
  private var bytesAreLost = false
  private var isAudited = false
  private var hasSeenRequest = false
  private var leftAt: Instant?

  init(
    backend: SimulatedBackend, endpoint: SimulatedEndpoint, random: RandomGenerator, isDoomed: Bool
  ) {
    self.backend = backend
    ledger = backend.ledger
    self.endpoint = endpoint
    var random = random
    let pace = ActorPace(drawnFrom: &random, level: ledger.level, isSmall: backend.isSmall)
    self.pace = pace
    mayStall = pace.stalls > 0
    let conditions = ledger.network.conditions
    let conduct = HTTP2BackendConduct(
      drawnFrom: &random, level: ledger.level, at: ledger.network.now,
      requestMax: ledger.records.map(\.plan.size).max() ?? 0,
      trip: 2 * conditions.latency.upperBound + 2 * conditions.turnCost + 500
        + Int(pace.pauseMax.nanoseconds / 1_000))
    var limits = conduct.limits
    limits.offersExtendedConnect = false
    self.limits = limits
    creditDelay = conduct.creditDelay
    disturbances = conduct.disturbances
    self.random = random
    self.isDoomed = isDoomed
    codec = HTTP2Connection(role: .server, limits: limits, at: ledger.network.now)
    super.init(network: backend.ledger.network)
    if mayStall { noteStall() }
    codec.start(at: network.now, into: &output)
    codec.setStreamCountMax(conduct.streamCount, at: network.now, into: &output)
  }

  override func act() {
    if case .gone = phase { return }
    if isDoomed { return leave(reset: true) }
    if case .serving = phase { disturb() }
    receive()
    if case .serving = phase {
      credit()
      answer()
      flush()
    }
    if codec.drain.hasEnded && !hasExcluded {
      // Streams that are on their way will be ignored.
      hasExcluded = true
      ledger.refusals.append(
        Refusal(backend: backend.index, since: network.now, endpoint: endpoint))
    }
    if case .serving = phase { closeWhenDone() }
    if case .lingering(let end) = phase {
      if network.now >= end { leave(reset: false) } else { wake(after: end - network.now) }
    }
  }

  func noteStall() {
    ledger.stalls.append(
      Refusal(backend: backend.index, since: network.now, endpoint: endpoint))
  }

  func leave(reset: Bool) {
    phase = .gone
    leftAt = network.now
    network.note("backend \(backend.index) endpoint \(endpoint.number) leaves, reset: \(reset)")
    network.hangUp(endpoint, reset: reset)
    codec.end(workspace: &workspace)
  }

  /// Closes its own direction and waits for the worker, so that no reset overtakes the answers.
  private func linger() {
    network.sendFinish(from: endpoint)
    calls = []
    phase = .lingering(until: network.now + .seconds(5))
  }

  /// How many bytes have been sent, or are in the output.
  var position: Int { network.peer(of: endpoint).sentTotal + output.count }

  // MARK: Requests

  private func receive() {
    if network.now < deafUntil { return wake(after: deafUntil - network.now) }
    while true {
      switch network.read(endpoint, into: &input, limit: pace.readLimit) {
      case .bytes:
        takeInput()
        if case .gone = phase { return }
        if let pause = pace.pause(&random) { return wake(after: pause) }
      case .nothingYet: return
      case .finished, .broken: return leave(reset: false)
      }
    }
  }

  private func takeInput() {
    while true {
      let start = endpoint.takenTotal - input.count
      let step = codec.receive(
        input.bytes, at: network.now, workspace: &workspace, into: &output)
      if step.event == .needsInput { return }
      take(step.event, at: start)
      // Lost bytes are read when it has gone.
      if case .gone = phase, !bytesAreLost { return }
      input.consume(step.consumed)
      if codec.isBroken { return }
    }
  }

  private func take(_ event: HTTP2Event, at start: Int) {
    switch event {
    case .request(let stream, _, let ends):
      headArrived(stream, at: start)
      if ends { requestEnded(stream, []) }
    case .piece(let stream, let place, let ends):
      check(stream, input.bytes.extracting(place))
      if ends { requestEnded(stream, []) }
    case .end(let stream): requestEnded(stream, [])
    case .trailers(let stream): requestEnded(stream, workspace.trailers.list)
    case .rejected(_, .tooManyStreams):
      network.note("backend \(backend.index) refuses a stream")
      ledger.refusals.append(
        Refusal(
          backend: backend.index, since: network.now, endpoint: nil,
          notice: (network.peer(of: endpoint), position - 1)))
    case .excessive(_, let error), .rejected(_, let error), .failed(_, let error):
      network.fault("backend \(backend.index): malformed request, \(error.name)")
    case .reset(let stream, let code, _):
      guard let index = index(of: stream) else { return forget(stream) }
      network.note("request \(calls[index].id): reset by the worker, \(code.name)")
      calls[index].facts.givenUpAt = endpoint.sendingTime(of: start)
      forget(stream)
    case .goAway(_, let code):
      // It may have been too slow to acknowledge SETTINGS.
      let isLingering = if case .lingering = phase { true } else { false }
      let mayAccuse =
        isLingering || bytesAreLost || closing.isDue || !ledger.history.jumps.isEmpty
        // A head whose rest doesn't come is a slow block.
        || (mayStall && code == .enhanceYourCalm)
      if code != .noError && code != .settingsTimeout && !mayAccuse {
        network.fault("backend \(backend.index) is accused of \(code.name)")
      }
    case .broken(let error):
      if bytesAreLost { return phase = .gone }
      network.fault("backend \(backend.index): the worker breaks the protocol, \(error.name)")
      leave(reset: true)
    case .needsInput, .progress, .response, .settingsChanged, .pingAcknowledged: break
    }
  }

  private func headArrived(_ stream: UInt32, at start: Int) {
    hasSeenRequest = true
    let fields = workspace.request.fields.list
    let head = MessageHead(
      startLine: String(decoding: workspace.request.bytes(of: workspace.request.methodName)) + " "
        + String(decoding: workspace.request.bytes(of: workspace.request.path)) + " HTTP/2",
      fields: fields)
    guard let id = head.number("x-id"), ledger.records.indices.contains(id) else {
      return network.fault("backend \(backend.index): a request of nobody, \(head.startLine)")
    }
    let isAnswered: Bool
    if case .serving = phase { isAnswered = !bytesAreLost } else { isAnswered = false }
    let facts = HTTP2Delivery(stream: stream, since: ledger.records[id].begunAt)
    if let excludedAbove, stream > excludedAbove { facts.declinedAt = position }
    let delivery = ledger.deliver(
      id, to: backend.index, endpoint, at: start, isLost: !isAnswered, mayStall: mayStall,
      http2: facts)
    let request = ledger.records[id].plan
    check(head, id, request)
    if !isAnswered { return }
    var plan = AnswerPlan(
      seed: backend.seed, request: request, isHTTP10: false, backend: backend.index,
      delivery: delivery, level: ledger.level, role: ledger.role, sizeMax: backend.sizeMax)
    plan.speakHTTP2(request, seed: backend.seed)
    ledger.records[id].deliveries[delivery].answer = plan
    network.note(
      "request \(id): backend \(backend.index) stream \(stream) will \(plan.summary)")
    var call = Call(id: id, stream: stream, delivery: delivery, plan: plan, facts: facts)
    if case .answerEarly = plan.conduct { call.time = network.now + plan.delay }
    calls.append(call)
    if head.values("expect") == ["100-continue"] && plan.sendsContinue {
      sendInterim(100, on: stream)
    }
  }

  private func check(_ head: MessageHead, _ id: Int, _ request: RequestPlan) {
    let parts = head.parts
    if parts[0] != request.method.rawValue || parts[1] != request.path {
      ledger.fault(id, "became \(head.startLine)")
    }
    if workspace.request.authority.isEmpty { ledger.fault(id, "no authority") }
    if head.values("x-hop") != [] { ledger.fault(id, "a hop-by-hop field of the client's") }
  }

  private func check(_ stream: UInt32, _ bytes: Span<UInt8>) {
    guard let index = index(of: stream) else {
      return codec.consumed(
        bytes.count, of: stream, workspace: &workspace, into: &output)
    }
    let pattern = ledger.records[calls[index].id].plan.pattern
    if !calls[index].isWrong,
      let position = pattern.mismatch(in: bytes, at: calls[index].offset)
    {
      calls[index].isWrong = true
      ledger.fault(calls[index].id, "body of the request is wrong at byte \(position)")
    }
    calls[index].offset += bytes.count
    calls[index].unconsumedCount += bytes.count
  }

  private func requestEnded(_ stream: UInt32, _ trailers: [(name: String, value: String)]) {
    guard let index = index(of: stream) else { return }
    let id = calls[index].id
    let plan = ledger.records[id].plan
    if calls[index].offset != plan.size {
      ledger.fault(id, "arrived whole with \(calls[index].offset) of \(plan.size) bytes")
    }
    for trailer in trailers
    where trailer.name != "x-trailer" || trailer.value != "\(id)" || !plan.hasTrailer {
      ledger.fault(id, "trailer \(trailer.name): \(trailer.value)")
    }
    calls[index].hasEnded = true
    if calls[index].time == nil { calls[index].time = network.now + calls[index].plan.delay }
  }

  /// Lets the worker send more.
  private func credit() {
    if network.now < creditsAt { return wake(after: creditsAt - network.now) }
    var hasCredited = false
    for index in calls.indices where calls[index].unconsumedCount > 0 {
      if case .deafness = calls[index].plan.conduct { continue }
      codec.consumed(
        calls[index].unconsumedCount, of: calls[index].stream, workspace: &workspace,
        into: &output)
      calls[index].unconsumedCount = 0
      hasCredited = true
    }
    if hasCredited && creditDelay > .zero { creditsAt = network.now + creditDelay }
  }

  // MARK: Answers

  private func answer() {
    if closing.isDue { return }
    for call in calls where !call.hasBegun {
      guard let time = call.time else { continue }
      if network.now < time {
        wake(after: time - network.now)
      } else {
        begin(call)
        guard case .serving = phase, !closing.isDue else { return }
      }
    }
    while output.count < 16_384, !closing.isDue, let turn = codec.nextTurn() {
      guard let index = index(of: turn.stream) else {
        codec.setWantsToSend(false, on: turn.stream)
        continue
      }
      let rest = calls[index].bodyEnd - calls[index].sentCount
      let limit = random.chance(1, in: 4) ? 1 + random.skewed(upTo: 2_000) : 16_384
      let count = min(turn.byteCount, rest, limit)
      let endsHere =
        count == rest && calls[index].isWhole && !calls[index].plan.hasTrailer
        && random.chance(2, in: 3)
      scratch.removeAll()
      calls[index].plan.pattern.append(
        calls[index].sentCount..<calls[index].sentCount + count, to: &scratch)
      let sent = codec.send(scratch.bytes, ends: endsHere, on: turn.stream, into: &output)
      precondition(sent == count, "the codec allowed as much")
      calls[index].sentCount += count
      if count == rest { finish(turn.stream, isEnded: endsHere) }
      guard case .serving = phase else { return }
    }
  }

  /// Sends the head of an answer, or what comes instead of it.
  private func begin(_ call: Call) {
    guard let index = index(of: call.stream), carriesOut(call) else { return }
    calls[index].hasBegun = true
    lastBegun = max(lastBegun, call.stream)
    let request = ledger.records[call.id].plan
    for status in call.plan.interims { sendInterim(UInt16(status), on: call.stream) }
    var head = call.plan.http2Head(for: request)
    let isBodiless = call.plan.hasNoBody(request)
    var body = BodyLength.streamed
    if isBodiless {
      body = .none
    } else if call.plan.framing == .length {
      body = .known(UInt64(call.announcedSize))
    }
    let before = output.count
    let outcome = codec.send(
      head, body: body, on: call.stream, workspace: &workspace, into: &output)
    head.reset()
    precondition(outcome == .sent, "an answer can't be sent: \(outcome)")
    if case .http2(.malformedHead(let fault)) = call.plan.conduct {
      spoilHead(fault, at: before)
      call.facts.malformedAt = position
    } else {
      // The head counts when all of it has arrived.
      ledger.records[call.id].deliveries[call.delivery].answerStart = position - 1
    }
    if isBodiless || (call.plan.size == 0 && call.plan.framing == .length) {
      return finish(call.stream, isEnded: true)
    }
    if call.bodyEnd == 0 { return finish(call.stream, isEnded: false) }
    codec.setWantsToSend(true, on: call.stream)
  }

  private func sendInterim(_ status: UInt16, on stream: UInt32) {
    var head = ResponseHead()
    head.status = status
    _ = codec.send(head, body: .none, on: stream, workspace: &workspace, into: &output)
  }

  /// The last byte that the plan wants is written.
  private func finish(_ stream: UInt32, isEnded: Bool) {
    guard let index = index(of: stream) else { return }
    let call = calls[index]
    codec.setWantsToSend(false, on: stream)
    if breaksOff(call) { return }
    if !isEnded && call.plan.hasTrailer {
      var trailers = FieldBlock()
      trailers.append(
        name: Array("x-trailer".utf8).span, value: Array("\(call.id)".utf8).span)
      _ = codec.send(trailers: trailers, on: stream, workspace: &workspace, into: &output)
    } else if !isEnded {
      codec.sendEnd(on: stream, into: &output)
    }
    ledger.records[call.id].deliveries[call.delivery].answerEnd = position
    ledger.records[call.id].deliveries[call.delivery].answeredAt = network.now
    calls[index].isSent = true
    switch call.plan.afterwards {
    case .close:
      // With a warning or without one; the codec sends the second GOAWAY after the PING.
      if random.chance(1, in: 2) {
        codec.endDrain(into: &output)
      } else {
        codec.beginDrain(at: network.now, into: &output)
      }
    case .closeSilently(let delay):
      silentClose = network.now + delay
      wake(after: delay)
    case .stay, .sendUnasked: break
    }
    if call.hasEnded { return forget(stream) }
    // RFC 9113 8.1. Or it reads the rest.
    if random.chance(1, in: 2) {
      codec.abortStream(stream, .noError, into: &output)
      forget(stream)
    }
  }

  func index(of stream: UInt32) -> Int? { calls.firstIndex { $0.stream == stream } }

  func forget(_ stream: UInt32) {
    calls.removeAll { $0.stream == stream }
    codec.release(stream, workspace: &workspace, into: &output)
  }

  private func flush() {
    guard case .serving = phase else { return }
    for call in calls where call.isSent && call.hasEnded { forget(call.stream) }
    while !output.isEmpty {
      let piece = min(output.count, pace.piece)
      let sent = network.write(output.bytes.extracting(first: piece), from: endpoint)
      if sent == 0 { return }
      output.consume(sent)
      if let pause = pace.pause(&random) { return wake(after: pause) }
      if output.count < 16_384 { answer() }
      guard case .serving = phase else { return }
    }
  }

  private func closeWhenDone() {
    if !output.isEmpty { return }
    if closing.isDue { return closing.reset ? leave(reset: true) : linger() }
    if !calls.isEmpty { return }
    if codec.drain.hasEnded { return linger() }
    guard let silentClose, input.isEmpty, endpoint.arrivedCount == 0 else { return }
    if network.now < silentClose { return wake(after: silentClose - network.now) }
    leave(reset: random.chance(1, in: 4))
  }

  // MARK: The audit

  /// Bytes that are never read here, although the worker's send has accepted them. A request in
  /// them counts as delivered, since the worker can't know that it wasn't.
  override func discarded(_ bytes: Span<UInt8>) {
    bytesAreLost = true
    input.append(bytes)
    if !codec.isBroken { takeInput() }
  }

  /// Records that a part of a frame was sent, which may be the beginning of a request, or that a
  /// connection was left within its preface: the worker doesn't count where its request begins.
  func auditRest() {
    if isAudited { return }
    isAudited = true
    if let leftAt, !hasSeenRequest, endpoint.sentTotal > 0 {
      ledger.lostBeginnings.append((leftAt, nil))
    }
    if input.isEmpty { return }
    let start = endpoint.sentTotal - input.count
    ledger.lostBeginnings.append((endpoint.sendingTime(of: start), nil))
  }
}
