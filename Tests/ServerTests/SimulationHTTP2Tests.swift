// The simulated HTTP/2 client against a small server that is either correct or has one bug, which
// the client must find.

import HTTP
import Primitives
import Reactor
import Testing

@testable import HTTP2

struct SimulationHTTP2Tests {
  /// A run in which all clients speak HTTP/2, and the server answers by itself.
  private func plan(seed: UInt64, level: SimulationLevel) -> SimulationPlan {
    var plan = SimulationPlan(seed: seed, role: .proxy, level: level)
    var random = RandomGenerator(seed: seed)
    plan.workerCount = 1
    plan.events = []
    plan.crowds = []
    plan.conditions.exhaustion = 0
    for index in plan.clients.indices {
      plan.clients[index].speakHTTP2(HTTP2Conduct(drawnFrom: &random))
      for id in plan.clients[index].ids {
        plan.requests[id].prefix = .fixed
        // The server doesn't forward bodies, which looks as if it kept them.
        plan.requests[id].size = min(plan.requests[id].size, 100_000)
        plan.requests[id].speakHTTP2(plan.clients[index].http2, level: level, random: &random)
      }
    }
    return plan
  }

  private func faults(
    seed: UInt64, level: SimulationLevel, _ fault: SmallHTTP2Server.Fault? = nil,
    isLogging: Bool = false
  ) -> (faults: [String], log: [String]) {
    let run = SimulationRun(plan(seed: seed, level: level), isLogging: isLogging)
    var server = SmallHTTP2Server(io: run.network, listener: run.listener, fault: fault)
    let faults = run.run(&server)
    return (faults, run.network.log ?? [])
  }

  @Test(arguments: [SimulationLevel.calm, .storm])
  func aCorrectServerHasNoFaults(_ level: SimulationLevel) {
    for seed: UInt64 in 1...300 {
      let (found, _) = faults(seed: seed, level: level)
      #expect(found == [], "seed \(seed), \(level)")
      if found != [] {
        let (_, log) = faults(seed: seed, level: level, isLogging: true)
        print(log.suffix(60).joined(separator: "\n"))
        break
      }
    }
  }

  @Test(arguments: SmallHTTP2Server.Fault.allCases)
  func everyFaultIsFound(_ fault: SmallHTTP2Server.Fault) {
    var found: [String] = []
    for seed: UInt64 in 1...300 where found.isEmpty {
      found = faults(seed: seed, level: .storm, fault).faults
    }
    let isRight = found.contains { line in fault.reasons.contains { line.contains($0) } }
    #expect(isRight, "\(fault) gave \(found)")
  }
}

/// Answers each request with a body of a few thousand bytes.
struct SmallHTTP2Server: ~Copyable, SimulatedServer {
  enum Fault: CaseIterable {
    case exceedsWindow, forgetsStream, resetsStream, ignoresPing, closesSilently, breaksProtocol
    case excludesAnswered

    var reasons: [String] {
      switch self {
      case .exceedsWindow: ["beyond the window"]
      case .forgetsStream: ["wait for ever", "not answered within", "unanswered"]
      case .resetsStream: ["truncated", "unanswered"]
      case .ignoresPing: ["PING is not answered"]
      case .closesSilently: ["no GOAWAY"]
      case .breaksProtocol: ["breaks the protocol"]
      case .excludesAnswered: ["excludes stream"]
      }
    }
  }

  private struct Answer {
    let stream: UInt32
    var left: Int
  }

  private final class Conversation {
    let socket: Socket
    var codec: HTTP2Connection
    var input = ByteBuffer()
    var output = ByteBuffer()
    var answers: [Answer] = []
    var headStreams: Set<UInt32> = []
    var answeredCount = 0
    var idleEnd: Instant
    /// For clients that are gone without an end.
    var cutAt: Instant
    var endsAt: Instant?

    init(_ socket: Socket, at now: Instant) {
      self.socket = socket
      codec = HTTP2Connection(role: .server, at: now)
      codec.start(at: now, into: &output)
      idleEnd = now + .seconds(60)
      cutAt = now + .seconds(300)
    }
  }

  private var io: SimulatedNetwork
  private let listener: Socket
  private let fault: Fault?
  private var workspace = HTTP2Workspace()
  private var conversations: [Int: Conversation] = [:]
  private var count = 0
  private var isDraining = false

  init(io: SimulatedNetwork, listener: Socket, fault: Fault?) {
    self.io = io
    self.listener = listener
    self.fault = fault
    self.io.watch(listener: listener, token: .max)
  }

  var isFinished: Bool { conversations.isEmpty }
  var gauges: [(name: String, value: Int)] { [("conversations", conversations.count)] }

  mutating func drain() {
    isDraining = true
    io.close(listener, reset: false)
    for number in conversations.keys.sorted() {
      guard let conversation = conversations[number] else { continue }
      conversation.codec.beginDrain(at: io.now, into: &conversation.output)
      work(number)
    }
  }

  mutating func turn() {
    let reports = io.wait(until: deadline)
    for index in 0..<reports where io.event(index).token == .max { acceptAll() }
    for number in conversations.keys.sorted() { work(number) }
  }

  private var deadline: Instant? {
    let now = io.now
    return conversations.values.map {
      $0.endsAt ?? min($0.codec.deadline(at: now), $0.idleEnd, $0.cutAt)
    }.min()
  }

  private mutating func acceptAll() {
    while !isDraining, case .accepted(let socket, _) = io.accept(from: listener) {
      conversations[count] = Conversation(socket, at: io.now)
      io.register(socket, token: UInt64(count))
      count += 1
    }
  }

  private mutating func work(_ number: Int) {
    guard let conversation = conversations[number] else { return }
    if let endsAt = conversation.endsAt {
      return linger(number, conversation, until: endsAt)
    }
    var isOpen = true
    while isOpen, receive(conversation, isOpen: &isOpen) { take(conversation) }
    take(conversation)
    while case .failed(let stream, _)? = conversation.codec.expire(
      at: io.now, into: &conversation.output)
    {
      forget(stream, conversation)
    }
    if io.now >= conversation.idleEnd {
      conversation.idleEnd = .never
      conversation.codec.endDrain(into: &conversation.output)
    }
    if isOpen { answer(conversation) }
    let isSent = !isOpen || flush(conversation)
    if !isOpen || io.now >= conversation.cutAt {
      close(number, conversation)
    } else if isSent && conversation.codec.isFinished {
      io.shutdownSending(conversation.socket)
      conversation.endsAt = io.now + .seconds(30)
    }
  }

  /// Takes what is still on its way, so that no reset destroys the last answers.
  private mutating func linger(
    _ number: Int, _ conversation: Conversation, until end: Instant
  ) {
    var isOpen = true
    while isOpen, receive(conversation, isOpen: &isOpen) { conversation.input.removeAll() }
    if !isOpen || io.now >= end { close(number, conversation) }
  }

  private mutating func close(_ number: Int, _ conversation: Conversation) {
    conversation.codec.end(workspace: &workspace)
    io.close(conversation.socket, reset: false)
    conversations[number] = nil
  }

  /// Whether bytes came.
  private mutating func receive(_ conversation: Conversation, isOpen: inout Bool) -> Bool {
    var block: [UInt8] = []
    var result = ReceiveResult.wouldBlock
    block.append(addingCapacity: 16_384) { output in
      result = io.receive(from: conversation.socket, into: &output)
    }
    switch result {
    case .received:
      conversation.input.append(block.span)
      conversation.idleEnd = io.now + .seconds(60)
      conversation.cutAt = io.now + .seconds(300)
      return true
    case .wouldBlock: return false
    case .finished, .failed:
      isOpen = false
      return false
    }
  }

  private mutating func take(_ conversation: Conversation) {
    while true {
      let before = conversation.output.count
      let step = conversation.codec.receive(
        conversation.input.bytes, at: io.now, workspace: &workspace,
        into: &conversation.output)
      if fault == .ignoresPing, step.event == .progress,
        conversation.output.count == before + 17
      {
        conversation.output.truncate(to: before)
      }
      if fault == .closesSilently, case .broken = step.event {
        conversation.output.truncate(to: before)
      }
      conversation.input.consume(step.consumed)
      switch step.event {
      case .needsInput, .broken: return
      case .request(let stream, _, let ends):
        if workspace.request.method == .head { conversation.headStreams.insert(stream) }
        if ends { begin(stream, conversation) }
      case .piece(let stream, let place, let ends):
        conversation.codec.consumed(
          place.count, of: stream, workspace: &workspace, into: &conversation.output)
        if ends { begin(stream, conversation) }
      case .end(let stream), .trailers(let stream): begin(stream, conversation)
      case .excessive(let stream, _), .failed(let stream, _), .reset(let stream, _, _):
        forget(stream, conversation)
      default: break
      }
    }
  }

  private mutating func forget(_ stream: UInt32, _ conversation: Conversation) {
    conversation.answers.removeAll { $0.stream == stream }
    conversation.codec.release(stream, workspace: &workspace, into: &conversation.output)
  }

  private mutating func begin(_ stream: UInt32, _ conversation: Conversation) {
    conversation.answeredCount += 1
    let isThird = conversation.answeredCount == 3
    if isThird && fault == .forgetsStream { return }
    if isThird && fault == .resetsStream {
      return conversation.codec.release(
        stream, workspace: &workspace, into: &conversation.output)
    }
    if isThird && fault == .breaksProtocol {
      FrameHeader(length: 1, type: FrameType.data, stream: 0).write(to: &conversation.output)
      conversation.output.append(0 as UInt8)
    }
    var head = ResponseHead()
    head.status = UInt16(ConfigurationPlan.fixedStatus)
    let isHead = conversation.headStreams.contains(stream)
    _ = conversation.codec.send(
      head, body: isHead ? .none : .streamed, on: stream, workspace: &workspace,
      into: &conversation.output)
    if isHead { return forget(stream, conversation) }
    conversation.codec.setWantsToSend(true, on: stream)
    conversation.answers.append(Answer(stream: stream, left: 100))
    if isThird && fault == .exceedsWindow {
      FrameHeader(length: 1 << 14, type: FrameType.data, stream: stream)
        .write(to: &conversation.output)
      conversation.output.append([UInt8](repeating: 0, count: 1 << 14).span)
    }
  }

  private mutating func answer(_ conversation: Conversation) {
    while conversation.output.count < 16_384, let turn = conversation.codec.nextTurn(),
      let index = conversation.answers.firstIndex(where: { $0.stream == turn.stream })
    {
      let count = min(turn.byteCount, conversation.answers[index].left)
      let isLast = count == conversation.answers[index].left
      _ = conversation.codec.send(
        [UInt8](repeating: 0x61, count: count).span, ends: isLast, on: turn.stream,
        into: &conversation.output)
      conversation.answers[index].left -= count
      if !isLast { continue }
      conversation.answers.remove(at: index)
      conversation.codec.release(
        turn.stream, workspace: &workspace, into: &conversation.output)
      if conversation.answeredCount >= 3 && fault == .excludesAnswered {
        FrameWriter.goAway(last: 0, .noError, into: &conversation.output)
      }
    }
  }

  /// Whether everything was sent.
  private mutating func flush(_ conversation: Conversation) -> Bool {
    while !conversation.output.isEmpty {
      let empty: [UInt8] = []
      guard
        case .sent(let count) = io.send(
          to: conversation.socket, conversation.output.bytes, empty.span)
      else { return false }
      conversation.output.consume(count)
      if conversation.output.count < 16_384 { answer(conversation) }
    }
    return true
  }
}
