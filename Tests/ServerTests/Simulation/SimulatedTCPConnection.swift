// One connection to a simulated backend of TCP listeners: of a flow, or of a health check.

import Primitives

final class SimulatedTCPConnection: SimulatedActor {
  let backend: SimulatedTCPBackend
  /// Its number, which it tells the client.
  let id: Int
  let endpoint: SimulatedEndpoint
  var flow: FlowRecord?
  /// When it has sent its FIN.
  private(set) var finishedAt: Instant?
  private(set) var sawEnd = false
  private(set) var sawReset = false
  /// Bytes or a FIN could be moved when the server closed it.
  private(set) var wasMovable = false

  private let ledger: Ledger
  private let header: OutgoingHeader?
  private(set) var seenHeader: SeenProxyHeader?
  private var random: RandomGenerator
  private let pace: ActorPace
  private let isDoomed: Bool
  /// What it sends before it knows who has connected.
  private let greetingCount: Int?

  private var hasGone = false
  private var isCheck = false
  private var input = ByteBuffer()
  private var output = ByteBuffer()
  private var hasPreamble = false
  private var hasBegun = false
  private var receivedCount = 0
  private var producedCount = 0
  private var deafUntil: Instant?

  static let pingBytes = Array("PING\r\n".utf8)
  static let pongBytes = Array("+PONG\r\n".utf8)

  var bytes: BodyPattern { BodyPattern(id, 2, 4) }

  init(
    backend: SimulatedTCPBackend, endpoint: SimulatedEndpoint, header: OutgoingHeader?,
    random: RandomGenerator, isDoomed: Bool
  ) {
    self.backend = backend
    ledger = backend.ledger
    id = ledger.tcpConnections.count
    self.endpoint = endpoint
    self.header = header
    var random = random
    pace = ActorPace(drawnFrom: &random, level: ledger.level, isSmall: backend.isSmall)
    greetingCount = random.chance(1, in: 4) ? random.skewed(upTo: 300) : nil
    self.random = random
    self.isDoomed = isDoomed
    super.init(network: backend.ledger.network)
    network.peer(of: endpoint).whenClosed = { [unowned self] in noteClosing() }
  }

  override func act() {
    if hasGone { return }
    if isDoomed { return leave(reset: true) }
    receive()
    if !hasGone { transmit() }
  }

  private func leave(reset: Bool) {
    if hasGone { return }
    network.note("connection \(id) leaves, reset: \(reset)")
    hasGone = true
    network.hangUp(endpoint, reset: reset)
  }

  // MARK: Receiving

  private func receive() {
    while true {
      if isDeaf { return }
      switch network.read(endpoint, into: &input, limit: pace.readLimit) {
      case .bytes:
        check()
        if hasGone || departs() { return }
        if let pause = pace.pause(&random) { return wake(after: pause) }
      case .nothingYet: return
      case .finished:
        if !sawEnd { endArrived() }
        return
      case .broken:
        sawReset = true
        return leave(reset: false)
      }
    }
  }

  private var isDeaf: Bool {
    guard hasPreamble, let deafness = flow?.plan.backendDeafness, receivedCount >= deafness.at
    else { return false }
    if deafUntil == nil { deafUntil = network.now + deafness.span }
    guard let deafUntil, network.now < deafUntil else { return false }
    wake(after: deafUntil - network.now)
    return true
  }

  private func check() {
    guard readHeader(), readPreamble(), let flow else { return }
    if let position = flow.plan.bytes.mismatch(in: input.bytes, at: receivedCount) {
      ledger.faultOfFlow(flow.plan.id, "what the backend gets is wrong at byte \(position)")
    }
    receivedCount += input.count
    input.removeAll()
    checkHeldBytes(flow)
  }

  /// Returns whether there is none to come.
  private func readHeader() -> Bool {
    guard let header, seenHeader == nil else { return true }
    switch SeenProxyHeader.read(input, as: header) {
    case .more: return false
    case .wrong(let reason):
      network.fault("connection \(id): the header of the PROXY protocol, \(reason)")
      leave(reset: true)
      return false
    case .header(let header):
      seenHeader = header
      input.consume(header.byteCount)
      isCheck = header.isLocal || header.source?.ip == SimulatedNetwork.workersHost
      if !isCheck { learn(from: header) }
      return true
    }
  }

  private func learn(from header: SeenProxyHeader) {
    guard let source = header.source, let flow = ledger.flow(from: source) else {
      return network.fault("connection \(id): a header of nobody, \(header)")
    }
    flow.link(self, ledger)
    let listener = flow.endpoint.map(\.peerAddress)
    let destination = flow.plan.header?.ends?.destination ?? listener
    if header.destination != destination {
      ledger.faultOfFlow(flow.plan.id, "the backend is told of \(header)")
    }
    if let sent = flow.plan.header?.uniqueID, !sent.isEmpty, let id = header.uniqueID, id != sent {
      ledger.faultOfFlow(flow.plan.id, "the backend is told of the id \(id)")
    }
  }

  /// Returns whether the flow is known.
  private func readPreamble() -> Bool {
    if hasPreamble { return true }
    if input.isEmpty { return false }
    if input.bytes[0] == Self.pingBytes[0] {
      isCheck = true
      if input.count < Self.pingBytes.count { return false }
      output.append(Self.pongBytes.span)
      input.removeAll()
      return false
    }
    if input.count < FlowPreamble.byteCount { return false }
    hasPreamble = true
    let bytes = input.array(0..<FlowPreamble.byteCount)
    input.consume(FlowPreamble.byteCount)
    guard let id = FlowPreamble.id(bytes, isClient: true), let record = ledger.flows[id] else {
      network.fault("connection \(self.id): the backend gets \(bytes), which no client sends")
      leave(reset: true)
      return false
    }
    record.link(self, ledger)
    return true
  }

  /// A FIN must be the client's, behind its last byte.
  private func endArrived() {
    sawEnd = true
    network.note("connection \(id) sees the end")
    guard let flow, let client = flow.endpoint else {
      // A check, or a dial that nobody waited for.
      if hasPreamble || seenHeader?.isLocal == false && !isCheck {
        network.fault("connection \(id): a FIN of nobody")
      }
      return leave(reset: false)
    }
    if flow.finishedAt == nil {
      ledger.faultOfFlow(flow.plan.id, "the backend gets a FIN, and the client has sent none")
    }
    let sentCount = network.peer(of: client).sentTotal - flow.headerCount
    let count = receivedCount + (hasPreamble ? FlowPreamble.byteCount : input.count)
    if count != sentCount {
      ledger.faultOfFlow(
        flow.plan.id, "the backend gets a FIN behind \(count) bytes of \(sentCount)")
    }
  }

  private func checkHeldBytes(_ flow: FlowRecord) {
    guard let client = flow.endpoint else { return }
    let held = network.peer(of: client).takenTotal - endpoint.sentTotal - flow.headerCount
    if held > SimulationRun.heldMax {
      ledger.faultOfFlow(flow.plan.id, "\(held) bytes of the client are held")
    }
  }

  // MARK: Sending

  private func transmit() {
    while true {
      if output.isEmpty { refill() }
      if output.isEmpty { return finish() }
      let sent = network.write(
        output.bytes.extracting(first: min(output.count, pace.piece)), from: endpoint)
      if sent == 0 { return }
      output.consume(sent)
      if departs() { return }
      if let pause = pace.pause(&random) { return wake(after: pause) }
    }
  }

  private func refill() {
    if isCheck { return }
    guard let total = total ?? greetingCount else { return }
    if !hasBegun {
      hasBegun = true
      output.append(FlowPreamble.bytes(id, isClient: false).span)
    }
    let next = min(total, allowance ?? total, producedCount + 16_384)
    if producedCount >= next { return }
    bytes.append(producedCount..<next, to: &output)
    producedCount = next
  }

  /// Of its pattern; nil while it does not know.
  private var total: Int? {
    guard hasPreamble, let plan = flow?.plan else { return nil }
    if case .rounds = plan.dialogue { return max(plan.upSize, greetingCount ?? 0) }
    return max(plan.downSize, greetingCount ?? 0)
  }

  /// What it may send now.
  private var allowance: Int? {
    guard hasPreamble, let plan = flow?.plan, case .rounds = plan.dialogue else { return nil }
    return max(receivedCount, greetingCount ?? 0)
  }

  private func finish() {
    guard let total, producedCount == total, let flow else { return }
    if finishedAt == nil && !endpoint.isBroken {
      if case .follows = flow.plan.backendEnd, !sawEnd { return }
      network.note("connection \(id) finishes")
      finishedAt = network.now
      network.sendFinish(from: endpoint)
    }
    if sawEnd { leave(reset: false) }
  }

  /// Whether it leaves here, as planned.
  private func departs() -> Bool {
    guard hasPreamble, let flow else { return false }
    let count = producedCount - output.count + receivedCount
    switch flow.plan.backendEnd {
    case .resets(let at) where count >= at:
      leave(reset: true)
    case .closes(let at) where count >= at:
      if endpoint.arrivedCount == 0 && !endpoint.isBroken { finishedAt = network.now }
      leave(reset: false)
    default: return false
    }
    return true
  }

  // MARK: The end

  /// The server closes one of its ends now: were there bytes that it could have moved?
  func noteClosing() {
    guard let flow, let client = flow.endpoint, !client.isCut else { return }
    let clients = network.peer(of: client)
    let workers = network.peer(of: endpoint)
    if clients.phase == .closed || workers.phase == .closed { return }
    let headerCount = seenHeader?.byteCount ?? 0
    let up = clients.arrivedCount + clients.takenTotal - flow.headerCount
      - (endpoint.sentTotal - headerCount)
    let down = workers.arrivedCount + workers.takenTotal - client.sentTotal
    wasMovable =
      (up > 0 && hasRoom(endpoint)) || (down > 0 && hasRoom(client))
      // A FIN needs no room.
      || (up == 0 && clients.finishArrived && !workers.hasSentFinish)
      || (down == 0 && workers.finishArrived && !clients.hasSentFinish)
  }

  /// Whether its sender has been told that there is room.
  private func hasRoom(_ target: SimulatedEndpoint) -> Bool {
    target.room >= max(1, target.capacity / 3)
  }

  /// Bytes that were destroyed by a reset may say who has sent them.
  override func discarded(_ bytes: Span<UInt8>) {
    if hasPreamble || hasGone && isCheck { return }
    input.append(bytes)
    _ = readHeader() && readPreamble()
  }
}
