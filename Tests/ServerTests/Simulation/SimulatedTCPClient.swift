// A simulated client of a TCP listener: one connection, with a header of the PROXY protocol in
// front if its plan has one. It sends its pattern, checks every byte that comes back, and ends as
// its plan says.

import Primitives

final class SimulatedTCPClient: SimulatedActor {
  private let ledger: Ledger
  private let record: FlowRecord
  private let plan: TCPFlowPlan
  private let listener: SocketAddress
  private var random: RandomGenerator
  private let pace: ActorPace

  private var endpoint: SimulatedEndpoint?
  private let begin: Instant
  private(set) var isDone = false
  private var input = ByteBuffer()
  private var output = ByteBuffer()
  /// Of the header.
  private var headerSent = 0
  private var headerDue = Instant.origin
  private var hasPreamble = false
  /// Bytes of the pattern that were put into the output.
  private var producedCount = 0
  private var deafUntil: Instant?
  private var restsUntil: Instant?

  init(ledger: Ledger, plan: TCPFlowPlan, listener: SocketAddress, isSmall: Bool) {
    self.ledger = ledger
    self.plan = plan
    self.listener = listener
    record = FlowRecord(plan: plan)
    ledger.flows[plan.id] = record
    var random = RandomGenerator(seed: plan.seed)
    pace = ActorPace(drawnFrom: &random, level: ledger.level, isSmall: isSmall)
    self.random = random
    begin = ledger.network.now + plan.time
    super.init(network: ledger.network)
    wake(after: plan.time)
  }

  override func act() {
    if isDone { return }
    guard let endpoint else { return dial() }
    if endpoint.phase == .connecting {
      if endpoint.isBroken {
        record.wasRefused = true
        leave(endpoint, reset: false)
      }
      return
    }
    receive(from: endpoint)
    if !isDone { transmit(to: endpoint) }
    if !isDone { endIfComplete(endpoint) }
  }

  private func dial() {
    if network.now < begin { return wake(after: begin - network.now) }
    let endpoint = network.dial(listener, by: self, from: plan.address)
    self.endpoint = endpoint
    record.endpoint = endpoint
    network.note("flow \(plan.id) dials as endpoint \(endpoint.number)")
    output.append(FlowPreamble.bytes(plan.id, isClient: true).span)
  }

  private func leave(_ endpoint: SimulatedEndpoint, reset: Bool) {
    network.note("flow \(plan.id): the client leaves, reset: \(reset)")
    record.endedAt = network.now
    isDone = true
    network.hangUp(endpoint, reset: reset)
  }

  // MARK: Sending

  private func transmit(to endpoint: SimulatedEndpoint) {
    guard sendHeader(to: endpoint) else { return }
    while true {
      if output.isEmpty { refill() }
      if output.isEmpty { return finish(endpoint) }
      let sent = network.write(
        output.bytes.extracting(first: min(output.count, pace.piece)), from: endpoint)
      if sent == 0 { return }
      output.consume(sent)
      if departs(endpoint) { return }
      if let pause = pace.pause(&random) { return wake(after: pause) }
    }
  }

  /// Returns whether it has been sent.
  private func sendHeader(to endpoint: SimulatedEndpoint) -> Bool {
    guard let header = plan.header else { return true }
    while headerSent < header.bytes.count {
      if network.now < headerDue {
        wake(after: headerDue - network.now)
        return false
      }
      let end = min(header.bytes.count, headerSent + header.piece)
      let sent = network.write(Array(header.bytes[headerSent..<end]).span, from: endpoint)
      if sent == 0 { return false }
      headerSent += sent
      headerDue = network.now + header.pause
    }
    return true
  }

  private func refill() {
    var end = plan.upSize
    if case .rounds(let piece) = plan.dialogue {
      end = min(end, (record.receivedCount / piece + 1) * piece)
    }
    if let rest = plan.rest, producedCount <= rest.at {
      if restsUntil == nil && producedCount == rest.at { restsUntil = network.now + rest.span }
      if let restsUntil, network.now < restsUntil { return wake(after: restsUntil - network.now) }
      if restsUntil == nil { end = min(end, rest.at) }
    }
    end = min(end, producedCount + 16_384)
    if producedCount >= end { return }
    plan.bytes.append(producedCount..<end, to: &output)
    producedCount = end
  }

  private func finish(_ endpoint: SimulatedEndpoint) {
    guard producedCount == plan.upSize, record.finishedAt == nil, !endpoint.isBroken else { return }
    if case .waits = plan.clientEnd, !record.sawEnd { return }
    network.note("flow \(plan.id): the client finishes")
    record.finishedAt = network.now
    network.sendFinish(from: endpoint)
  }

  /// Whether it leaves here, as planned.
  private func departs(_ endpoint: SimulatedEndpoint) -> Bool {
    let count = producedCount - output.count + record.receivedCount
    switch plan.clientEnd {
    case .resets(let at) where count >= at: leaveEarly(endpoint) { leave(endpoint, reset: true) }
    case .closes(let at) where count >= at:
      leaveEarly(endpoint) {
        if endpoint.arrivedCount == 0 { record.finishedAt = network.now }
        leave(endpoint, reset: false)
      }
    case .isCut(let at) where count >= at:
      leaveEarly(endpoint) {
        record.endedAt = network.now
        isDone = true
        network.cut(endpoint)
      }
    default: return false
    }
    return true
  }

  private func leaveEarly(_ endpoint: SimulatedEndpoint, _ leave: () -> Void) {
    record.leftAt = network.now
    leave()
  }

  // MARK: Receiving

  private func receive(from endpoint: SimulatedEndpoint) {
    while true {
      if isDeaf { return }
      switch network.read(endpoint, into: &input, limit: pace.readLimit) {
      case .bytes:
        check()
        if departs(endpoint) { return }
        if let pause = pace.pause(&random) { return wake(after: pause) }
      case .nothingYet: return
      case .finished:
        if !record.sawEnd { endArrived() }
        return
      case .broken:
        record.sawReset = true
        return leave(endpoint, reset: false)
      }
    }
  }

  private var isDeaf: Bool {
    guard let deafness = plan.clientDeafness, record.receivedCount >= deafness.at else {
      return false
    }
    if deafUntil == nil { deafUntil = network.now + deafness.span }
    guard let deafUntil, network.now < deafUntil else { return false }
    wake(after: deafUntil - network.now)
    return true
  }

  private func check() {
    if !hasPreamble {
      if input.count < FlowPreamble.byteCount { return }
      hasPreamble = true
      learn(input.array(0..<FlowPreamble.byteCount))
      input.consume(FlowPreamble.byteCount)
    }
    guard let connection = record.connection else { return input.removeAll() }
    if let position = connection.bytes.mismatch(in: input.bytes, at: record.receivedCount) {
      ledger.faultOfFlow(plan.id, "what the client gets is wrong at byte \(position)")
    }
    record.receivedCount += input.count
    input.removeAll()
    guard let endpoint else { return }
    let held = network.peer(of: connection.endpoint).takenTotal - endpoint.sentTotal
    if held > SimulationRun.heldMax {
      ledger.faultOfFlow(plan.id, "\(held) bytes of the backend are held")
    }
  }

  private func learn(_ bytes: [UInt8]) {
    guard let id = FlowPreamble.id(bytes, isClient: false),
      ledger.tcpConnections.indices.contains(id)
    else { return ledger.faultOfFlow(plan.id, "the client gets \(bytes), which no backend sends") }
    record.link(ledger.tcpConnections[id], ledger)
  }

  /// A FIN must be the backend's, behind its last byte.
  private func endArrived() {
    record.sawEnd = true
    network.note("flow \(plan.id): the client sees the end")
    guard let connection = record.connection else { return }
    if connection.finishedAt == nil {
      ledger.faultOfFlow(plan.id, "the client gets a FIN, and the backend has sent none")
    }
    let sentCount = network.peer(of: connection.endpoint).sentTotal
    let receivedCount =
      record.receivedCount + (hasPreamble ? FlowPreamble.byteCount : input.count)
    if receivedCount != sentCount {
      ledger.faultOfFlow(
        plan.id, "the client gets a FIN behind \(receivedCount) bytes of \(sentCount)")
    }
  }

  private func endIfComplete(_ endpoint: SimulatedEndpoint) {
    if endpoint.isBroken || !record.sawEnd { return }
    // Behind a header that is not valid, nobody takes the rest.
    if record.finishedAt != nil || record.connection == nil { leave(endpoint, reset: false) }
  }

  /// Bytes that were destroyed by a reset may say who has sent them.
  override func discarded(_ bytes: Span<UInt8>) {
    if hasPreamble { return }
    input.append(bytes)
    guard input.count >= FlowPreamble.byteCount else { return }
    hasPreamble = true
    learn(input.array(0..<FlowPreamble.byteCount))
  }
}
