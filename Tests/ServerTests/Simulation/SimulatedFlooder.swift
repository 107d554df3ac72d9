// A client that floods the server with one kind of cheap HTTP/2 frames (RFC 9113 10.5). The server
// must end its connection with ENHANCE_YOUR_CALM, soon after the limit of this kind.
//
// What the flood does to others is judged by their own requests.

import Primitives

@testable import HTTP2

struct FloodPlan {
  let kind: SimulatedFlood
  let time: TimeSpan
  /// It sends one frame in each millisecond, so that the limit can be checked; else all it can.
  let isPaced: Bool

  init(_ kind: SimulatedFlood, at time: TimeSpan, isPaced: Bool) {
    self.kind = kind
    self.time = time
    self.isPaced = isPaced
  }

  init(drawnFrom random: inout RandomGenerator) {
    kind = random.pick(SimulatedFlood.allCases)
    time = .microseconds(Int64(random.next(below: 2_000_000)))
    isPaced = random.chance(1, in: 2)
  }
}

enum SimulatedFlood: CaseIterable {
  case rapidReset, malformedHeads, excessStreams, settings, ping, priority, priorityUpdate
  case emptyData, windowUpdate, unknownFrames, closedStream

  /// The limit that ends the connection.
  var limit: FloodLimit {
    let limits = FloodLimits()
    return switch self {
    case .rapidReset: limits.reset
    case .malformedHeads: limits.causedReset
    case .excessStreams:
      FloodLimit(burst: 100 + limits.refusal.burst, perSecond: limits.refusal.perSecond)
    case .settings: limits.settings
    case .ping: limits.ping
    case .priority, .priorityUpdate: limits.priority
    case .emptyData: limits.emptyData
    case .windowUpdate: limits.windowUpdate
    case .unknownFrames: limits.unknownFrame
    case .closedStream: limits.closedStreamFrame
    }
  }
}

final class SimulatedFlooder: SimulatedActor {
  private let plan: FloodPlan
  private let ledger: Ledger
  /// Whether the server may end the connection for another reason.
  private let isExcused: Bool
  private var endpoint: SimulatedEndpoint?
  private var output = ByteBuffer()
  private var input = ByteBuffer()
  private var cursor = FrameCursor()
  private var stream: UInt32 = 1
  private var unitCount = 0
  private var beganAt = Instant.origin
  private var nextAt = Instant.origin
  private var goAway: ErrorCode?
  private(set) var isDone = false

  private static let enduranceMax = TimeSpan.seconds(100)

  init(ledger: Ledger, plan: FloodPlan, isExcused: Bool) {
    self.ledger = ledger
    self.plan = plan
    self.isExcused = isExcused
    super.init(network: ledger.network)
    wake(after: plan.time)
  }

  override func act() {
    if isDone { return }
    guard let endpoint else { return dial() }
    if endpoint.phase == .connecting {
      if endpoint.isBroken { end() }
      return
    }
    receive(from: endpoint)
    if isDone { return }
    flood(endpoint)
    if network.now > beganAt + Self.enduranceMax && ledger.history.jumps.isEmpty {
      network.fault("a flood of \(plan.kind) is endured")
      end()
    } else {
      wake(after: .seconds(1))
    }
  }

  private func dial() {
    let address = SocketAddress.ip(IPAddress(v4: 0x0A00_FE01), port: 50_000)
    endpoint = network.dial(0, by: self, from: address)
    network.note("flooder \(number) dials: \(plan.kind), paced: \(plan.isPaced)")
    beganAt = network.now
    output.append(HTTP2Connection.preface)
    FrameHeader(length: 6, type: FrameType.settings, stream: 0).write(to: &output)
    FrameWriter.append(.initialWindowSize, plan.kind == .rapidReset ? 0 : 65_535, into: &output)
    switch plan.kind {
    case .emptyData: head(0x83, FrameFlag.endHeaders)
    case .closedStream: head(0x82, FrameFlag.endHeaders, HeadFault.upperCase.fields)
    default: break
    }
  }

  private func end() {
    guard let endpoint else { return }
    network.hangUp(endpoint, reset: true)
    isDone = true
  }

  // MARK: Sending

  private func flood(_ endpoint: SimulatedEndpoint) {
    while true {
      if output.isEmpty && goAway == nil { unit() }
      if output.isEmpty { return }
      let sent = network.write(output.bytes, from: endpoint)
      output.consume(sent)
      if sent == 0 { return }
      if plan.isPaced && output.isEmpty {
        nextAt = network.now + .milliseconds(1)
        return wake(after: .milliseconds(1))
      }
    }
  }

  private func unit() {
    if plan.isPaced && network.now < nextAt { return wake(after: nextAt - network.now) }
    unitCount += 1
    let whole = FrameFlag.endHeaders | FrameFlag.endStream
    switch plan.kind {
    case .rapidReset:
      head(0x82, whole)
      FrameWriter.resetStream(stream - 2, .cancel, into: &output)
    case .malformedHeads: head(0x82, whole, HeadFault.upperCase.fields)
    case .excessStreams: head(0x83, FrameFlag.endHeaders)
    case .settings: frame(FrameType.settings, 0, [])
    case .ping: frame(FrameType.ping, 0, [UInt8](repeating: 7, count: 8))
    case .priority: frame(FrameType.priority, 1, [0, 0, 0, 3, 7])
    case .priorityUpdate: frame(FrameType.priorityUpdate, 0, [0, 0, 0, 5] + Array("u=1".utf8))
    case .emptyData: frame(FrameType.data, 1, [])
    case .windowUpdate: frame(FrameType.windowUpdate, 0, [0, 0, 0, 1])
    case .unknownFrames: frame(0xEE, 0, [1, 2, 3])
    case .closedStream: frame(FrameType.data, 1, [1])
    }
  }

  /// A request that the server answers by itself.
  private func head(_ method: UInt8, _ flags: UInt8, _ fields: [UInt8] = []) {
    let path = Array("/\(RoutePrefix.fixed.rawValue)/0".utf8)
    let authority = Array("site.example".utf8)
    let block =
      [method, 0x86, 0x04, UInt8(path.count)] + path + [0x01, UInt8(authority.count)] + authority
      + fields
    FrameHeader(length: block.count, type: FrameType.headers, flags: flags, stream: stream)
      .write(to: &output)
    output.append(block.span)
    stream += 2
  }

  private func frame(_ type: UInt8, _ stream: UInt32, _ payload: [UInt8]) {
    FrameHeader(length: payload.count, type: type, stream: stream).write(to: &output)
    output.append(payload.span)
  }

  // MARK: Receiving

  private func receive(from endpoint: SimulatedEndpoint) {
    while true {
      input.removeAll()
      switch network.read(endpoint, into: &input, limit: 65_536) {
      case .bytes:
        var found: ErrorCode?
        cursor.advance(over: input.bytes) { header, payload in
          if header.type == FrameType.goAway, payload.count >= 8 {
            found = ErrorCode(wire: payload.span.bigEndian(at: 4))
          }
        }
        if let found { goAwayArrived(found) }
      case .nothingYet: return
      case .finished, .broken:
        judgeEnd(endpoint)
        return end()
      }
    }
  }

  private func goAwayArrived(_ code: ErrorCode) {
    network.note("flooder \(number): GOAWAY \(code.name) after \(unitCount) of \(plan.kind)")
    if code == .noError { return }
    goAway = code
    output.removeAll()
    // It doesn't acknowledge SETTINGS, either.
    if code != .enhanceYourCalm && code != .settingsTimeout {
      network.fault("a flood of \(plan.kind) is accused of \(code.name)")
    }
    if !plan.isPaced || !ledger.history.jumps.isEmpty { return }
    // One frame in each millisecond, until the answer has arrived.
    let conditions = network.conditions
    let isSmooth = conditions.turnCost == 0 && conditions.partialCounts == 0
    let slack = isSmooth ? 50 : 2_000
    let seconds = Int((network.now - beganAt).nanoseconds / 1_000_000_000) + 1
    let limit = plan.kind.limit
    let most = Int(limit.burst) + Int(limit.perSecond) * seconds + slack
    if unitCount > most {
      network.fault("a flood of \(plan.kind) had \(unitCount) frames, where \(most) are allowed")
    }
  }

  private func judgeEnd(_ endpoint: SimulatedEndpoint) {
    let wasAccepted = network.peer(of: endpoint).registeredIndex >= 0
    if goAway == nil, wasAccepted, !isExcused, !endpoint.isBroken,
      !ledger.history.hasEnd(before: network.now)
    {
      network.fault("a flood of \(plan.kind) is ended without a reason")
    }
  }
}
