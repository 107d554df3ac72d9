// A simulated client that speaks HTTP/2 with prior knowledge (RFC 9113 3.3): one connection at a
// time, several requests at once, and its own pace.
//
// Its codec is ours, as a client, so each side checks the other. HTTP2Watch checks the windows
// again. SimulatedHTTP2Client+Requests has the requests, +Disturbances what it does besides.

import HTTP
import Primitives

@testable import HTTP2

final class SimulatedHTTP2Client: SimulatedActor, SimulatedClient {
  /// A request on its stream.
  struct OpenStream {
    let id: Int
    let stream: UInt32
    /// Bytes of the body that were written, and whether the request was written whole.
    var sentCount = 0
    var isSent = false
    /// Where in the connection's bytes the written parts end.
    var marks: [(position: Int, count: Int)] = []
    /// Bytes of the body that the server has received.
    var takenCount = 0
    var endPosition: Int?
    /// It waits for an interim response.
    var heldUntil: Instant?
    var hasBegun = false
    var answer: AnswerCheck?
    var receivedCount = 0
    var unconsumedCount = 0
    /// When the response was complete.
    var answeredAt: Instant?
  }

  let ledger: Ledger
  var random: RandomGenerator
  let pace: ActorPace
  let conduct: HTTP2Conduct
  private let address: SocketAddress
  private let restMax: TimeSpan
  var ids: ArraySlice<Int>
  private var dialsLeft = 60

  private(set) var endpoint: SimulatedEndpoint?
  private(set) var isDone = false
  /// In the order in which they were opened.
  var streams: [OpenStream] = []

  private(set) var limits = HTTP2Limits()
  var codec: HTTP2Connection
  var workspace = HTTP2Workspace()
  private var watch = HTTP2Watch()
  private var input = ByteBuffer()
  var output = ByteBuffer()
  var scratch = ByteBuffer()
  var inputCount: Int { input.count }

  /// No further request is sent on this connection.
  var isLast = false
  /// The client has done something for which a server may end the connection, or some streams.
  var mayBeCut = false
  var violation: (kind: ProtocolViolation, time: Instant)?
  var disturbances: ArraySlice<Disturbance> = []
  var deafUntil = Instant.origin
  var pingSentAt: Instant?
  private var creditsAt = Instant.origin
  private var opensAt = Instant.origin
  /// The server's last GOAWAY.
  private var goAway: (last: UInt32, code: ErrorCode)?
  private var lastAnswered: UInt32 = 0
  private var leaving: Instant?
  private var idleSince: Instant?
  /// How long the connection was idle before the current requests.
  private var idleTime = TimeSpan.zero

  init(ledger: Ledger, plan: ClientPlan) {
    self.ledger = ledger
    ids = plan.ids[...]
    var random = RandomGenerator(seed: plan.seed)
    pace = ActorPace(drawnFrom: &random, level: ledger.level, isSmall: plan.isSmall)
    conduct = plan.http2
    restMax = plan.restMax
    address = .ip(
      IPAddress(v4: 0x0A00_0100 + UInt32((plan.ids.first ?? 0) & 0xFF)), port: UInt16(40_000))
    self.random = random
    codec = HTTP2Connection(role: .client, at: ledger.network.now)
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
    disturb()
    receive(from: endpoint)
    if self.endpoint !== endpoint { return }
    forgetComplete()
    credit()
    openRequests()
    if self.endpoint === endpoint { produce() }
    if self.endpoint === endpoint { flush(to: endpoint) }
    if self.endpoint === endpoint { leaveWhenDone(endpoint) }
  }

  // MARK: The connection

  private func dial() {
    if ids.isEmpty || dialsLeft == 0 {
      isDone = true
      return
    }
    dialsLeft -= 1
    let endpoint = network.dial(0, by: self, from: address.port(plus: dialsLeft))
    self.endpoint = endpoint
    network.note("client \(number) dials as endpoint \(endpoint.number), for HTTP/2")
    limits = conduct.limits(&random)
    codec = HTTP2Connection(role: .client, limits: limits, at: network.now)
    watch = HTTP2Watch()
    input = ByteBuffer()
    output = ByteBuffer()
    codec.start(at: network.now, into: &output)
    isLast = false
    mayBeCut = conduct.isSlow(network.conditions, pace) || pace.stalls > 0
    violation = nil
    disturbances =
      conduct.disturbs
      ? Disturbance.draw(&random, level: ledger.level, at: network.now)[...] : []
    deafUntil = .origin
    pingSentAt = nil
    creditsAt = .origin
    opensAt = .origin
    goAway = nil
    lastAnswered = 0
    leaving = nil
    idleSince = nil
    idleTime = .zero
  }

  /// Closes this side; open requests get `outcome`.
  func hangUp(_ manner: RequestPlan.Manner, outcome: Outcome) {
    guard let endpoint else { return }
    network.note("client \(number) hangs up, \(manner)")
    switch manner {
    case .orderly: network.hangUp(endpoint, reset: false)
    case .reset: network.hangUp(endpoint, reset: true)
    case .cut: network.cut(endpoint)
    }
    for stream in streams where stream.answeredAt == nil { ledger.finish(stream.id, outcome) }
    streams = []
    self.endpoint = nil
    codec.end(workspace: &workspace)
    wake(after: .microseconds(Int64(1_000 + random.skewed(upTo: 100_000))))
  }

  private func connectionEnded(isOrderly: Bool) {
    for stream in streams where stream.answeredAt == nil {
      if let goAway, stream.stream > goAway.last {
        ledger.finish(stream.id, .refused)
      } else {
        ledger.finish(stream.id, stream.hasBegun ? .truncated : .unanswered)
      }
    }
    streams = []
    // After the last GOAWAY of a drain nothing is read any more.
    let isDrained = goAway.map { $0.last < HTTP2Connection.streamIDMax } ?? false
    if let violation, isOrderly, output.isEmpty, goAway?.code ?? .noError == .noError, !isDrained,
      !ledger.history.hasEnd(before: network.now)
    {
      network.fault("client \(number): no GOAWAY names the error after \(violation.kind)")
    }
    hangUp(.orderly, outcome: .unanswered)
  }

  private func leaveWhenDone(_ endpoint: SimulatedEndpoint) {
    if violation != nil && !output.isEmpty { violation?.time = network.now }
    if let violation, network.now > violation.time + .seconds(100), pace.stalls == 0,
      !ledger.history.hasJump(from: violation.time, to: network.now)
    {
      network.fault("client \(number): the connection goes on after \(violation.kind)")
      return hangUp(.reset, outcome: .abandoned)
    }
    if let pingSentAt, !mayBeCut, network.now > pingSentAt + .seconds(30),
      !ledger.history.hasJump(from: pingSentAt, to: network.now)
    {
      network.fault("client \(number): PING is not answered")
      self.pingSentAt = nil
    }
    let isFinished = (ids.isEmpty || isLast) && streams.isEmpty && output.isEmpty
    if !isFinished || violation != nil { return }
    if leaving == nil {
      switch random.next(below: 4) {
      case 0: leaving = network.now
      case 1: leaving = network.now + .milliseconds(Int64(random.skewed(upTo: 20_000)))
      case 2:
        codec.beginDrain(at: network.now, into: &output)
        leaving = network.now + .milliseconds(Int64(random.skewed(upTo: 2_000)))
        return wake(after: .zero)
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

  // MARK: Sending

  private func openRequests() {
    if codec.takesNoMoreStreams { isLast = true }
    while !isLast, !ids.isEmpty, streams.count < conduct.depth, codec.freeStreamCount > 0,
      output.count < 16_384
    {
      if network.now < opensAt { return wake(after: opensAt - network.now) }
      let id = ids.removeFirst()
      if let since = idleSince {
        idleTime = network.now - since
        ledger.checkIdleTime(of: id, since: since)
        idleSince = nil
      }
      ledger.records[id].idleTime = idleTime
      open(id)
      if endpoint == nil { return }
      if random.chance(1, in: 3) {
        opensAt = network.now + .microseconds(Int64(random.skewed(upTo: 50_000)))
      }
    }
  }

  private func flush(to endpoint: SimulatedEndpoint) {
    while true {
      if output.count < 16_384 { produce() }
      if self.endpoint !== endpoint || output.isEmpty { return }
      let piece = min(output.count, pace.piece)
      let sent = network.write(output.bytes.extracting(first: piece), from: endpoint)
      if sent == 0 { return }
      watch.sent(output.bytes.extracting(first: sent))
      output.consume(sent)
      if let pause = pace.pause(&random) { return wake(after: pause) }
    }
  }

  /// How many bytes were or will be sent on the connection.
  var position: Int { endpoint.map { network.peer(of: $0).sentTotal + output.count } ?? 0 }

  // MARK: Receiving

  private func receive(from endpoint: SimulatedEndpoint) {
    if network.now < deafUntil { return wake(after: deafUntil - network.now) }
    while true {
      let before = input.count
      switch network.read(endpoint, into: &input, limit: pace.readLimit) {
      case .bytes:
        watch.received(input.bytes.extracting(droppingFirst: before))
        takeInput()
        if self.endpoint !== endpoint { return }
        if let pause = pace.pause(&random) { return wake(after: pause) }
      case .nothingYet:
        return
      case .finished:
        connectionEnded(isOrderly: true)
        return
      case .broken:
        connectionEnded(isOrderly: false)
        return
      }
    }
  }

  private func takeInput() {
    if let problem = watch.problem {
      network.fault("client \(number): \(problem)")
      return hangUp(.reset, outcome: .abandoned)
    }
    let before = output.count
    while endpoint != nil {
      let step = codec.receive(
        input.bytes, at: network.now, workspace: &workspace, into: &output)
      if step.event == .needsInput { break }
      take(step.event)
      input.consume(step.consumed)
    }
    // Nothing follows a violation.
    if violation != nil { output.truncate(to: before) }
  }

  private func take(_ event: HTTP2Event) {
    switch event {
    case .needsInput, .progress, .settingsChanged, .request, .excessive, .rejected: break
    case .response(let stream, _, let ends):
      headArrived(stream)
      if ends { answerEnded(stream, []) }
    case .piece(let stream, let place, let ends):
      pieceArrived(stream, input.bytes.extracting(place))
      if ends { answerEnded(stream, []) }
    case .end(let stream): answerEnded(stream, [])
    case .trailers(let stream): answerEnded(stream, workspace.trailers.list)
    case .reset(let stream, let code, let isUnprocessed):
      guard let index = index(of: stream) else { return }
      let request = streams[index]
      network.note("request \(request.id): RST_STREAM \(code.name)")
      if request.answeredAt != nil { return forget(stream) }
      let end: Outcome = request.hasBegun ? .truncated : .unanswered
      forget(stream, outcome: isUnprocessed ? .refused : end)
    case .failed(let stream, let error):
      guard let index = index(of: stream) else { return }
      ledger.fault(streams[index].id, "a malformed answer, \(error.name)")
      forget(stream, outcome: .abandoned)
    case .goAway(let last, let code): goAwayArrived(last, code)
    case .pingAcknowledged: pingSentAt = nil
    case .broken where !hasShownItsProtocol:
      // The server couldn't know that it is HTTP/2, and has lost its patience in HTTP/1.
      hangUp(.reset, outcome: .unanswered)
    case .broken(let error):
      network.fault("client \(number): the server breaks the protocol, \(error.name)")
      hangUp(.reset, outcome: .abandoned)
    }
  }

  /// Whether the server has received all of the preface.
  private var hasShownItsProtocol: Bool {
    endpoint.map { network.peer(of: $0).takenTotal >= HTTP2Connection.preface.utf8CodeUnitCount }
      ?? true
  }

  private func goAwayArrived(_ last: UInt32, _ code: ErrorCode) {
    network.note("client \(number): GOAWAY \(last) \(code.name)")
    if last < lastAnswered {
      network.fault("client \(number): GOAWAY excludes stream \(lastAnswered), which was answered")
    }
    let mayAccuse =
      violation != nil || mayBeCut || ledger.history.stoppedAt != nil
      || !ledger.history.jumps.isEmpty
    if code != .noError && !mayAccuse {
      network.fault("client \(number) is accused of \(code.name)")
    }
    let isExcluding = streams.contains { $0.stream > last && $0.answeredAt == nil }
    if goAway == nil, code == .noError, isExcluding, ledger.history.stoppedAt == nil {
      for stream in streams where stream.stream > last {
        ledger.records[stream.id].wasExcludedAtOnce = true
      }
    }
    goAway = (last, code)
    isLast = true
  }

  private func headArrived(_ stream: UInt32) {
    guard let index = index(of: stream) else { return }
    let id = streams[index].id
    let status = Int(workspace.response.status)
    idleTime = .zero
    let head = MessageHead(
      startLine: "HTTP/2 \(status) -", fields: workspace.response.fields.list)
    streams[index].heldUntil = nil
    if workspace.response.isInterim {
      if status == 100 {
        ledger.records[id].continueCount += 1
        if ledger.records[id].continueCount > 1 { ledger.fault(id, "told twice to continue") }
      }
      return
    }
    streams[index].hasBegun = true
    streams[index].answer = AnswerCheck(head, id, ledger, isUntilClose: false)
    departIfPlanned(stream, after: 0)
  }

  private func pieceArrived(_ stream: UInt32, _ bytes: Span<UInt8>) {
    guard let index = index(of: stream) else { return }
    streams[index].answer?.check(bytes)
    streams[index].receivedCount += bytes.count
    streams[index].unconsumedCount += bytes.count
    departIfPlanned(stream, after: streams[index].receivedCount)
  }

  private func departIfPlanned(_ stream: UInt32, after count: Int) {
    guard let index = index(of: stream),
      case (.answerByte(let byte), let manner)? = ledger.records[streams[index].id].plan.departure,
      count >= byte
    else { return }
    depart(stream, manner)
  }

  private func answerEnded(_ stream: UInt32, _ trailers: [(name: String, value: String)]) {
    guard let index = index(of: stream), let answer = streams[index].answer else { return }
    answer.checkEnd(trailers)
    let id = streams[index].id
    ledger.finish(id, .answered(status: answer.status, backend: answer.backend))
    lastAnswered = max(lastAnswered, stream)
    streams[index].answeredAt = network.now
    if streams[index].isSent { forget(stream) }
  }

  /// The stream is over on both sides.
  func forget(_ stream: UInt32, outcome: Outcome? = nil) {
    guard let index = index(of: stream) else { return }
    if let outcome { ledger.finish(streams[index].id, outcome) }
    codec.release(stream, workspace: &workspace, into: &output)
    streams.remove(at: index)
    if streams.isEmpty { beginRest() }
  }

  /// The connection is idle; possibly for a while.
  private func beginRest() {
    idleSince = network.now
    if restMax == .zero || random.chance(1, in: 3) { return }
    opensAt = network.now + .nanoseconds(Int64(random.next(below: Int(restMax.nanoseconds))))
  }

  /// Lets the server send more on the streams that are read.
  private func credit() {
    if violation != nil || streams.allSatisfy({ $0.unconsumedCount == 0 }) { return }
    if network.now < creditsAt { return wake(after: creditsAt - network.now) }
    for index in streams.indices where !ledger.records[streams[index].id].plan.isUnread {
      let count = streams[index].unconsumedCount
      if count == 0 { continue }
      let part = random.chance(1, in: 4) ? 1 + random.next(below: count) : count
      codec.consumed(part, of: streams[index].stream, workspace: &workspace, into: &output)
      streams[index].unconsumedCount -= part
    }
    creditsAt = network.now + conduct.creditDelay
    let isWaiting = streams.contains {
      $0.unconsumedCount > 0 && !ledger.records[$0.id].plan.isUnread
    }
    if isWaiting { wake(after: max(conduct.creditDelay, .microseconds(1))) }
  }

  func index(of stream: UInt32) -> Int? { streams.firstIndex { $0.stream == stream } }
}

extension FieldBlock {
  /// As an actor sees them.
  var list: [(name: String, value: String)] {
    var list: [(name: String, value: String)] = []
    for index in 0..<count where !self[index].isRemoved {
      let name = String(decoding: bytes(of: self[index].name))
      list.append((name.lowercased(), String(decoding: bytes(of: self[index].value))))
    }
    return list
  }
}
