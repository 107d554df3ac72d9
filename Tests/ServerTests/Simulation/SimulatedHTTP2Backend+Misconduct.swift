// How a simulated HTTP/2 backend fails its answers, and what it does besides: other settings, PING,
// pauses, GOAWAY.

import HTTP
import Primitives

@testable import HTTP2

extension SimulatedHTTP2Backend.Call {
  /// Where the body ends or breaks off.
  var bodyEnd: Int {
    switch plan.conduct {
    case .dieInBody(let count, _), .http2(.resetsInBody(let count, _)): count
    default: plan.size
    }
  }

  var isWhole: Bool { bodyEnd == plan.size }

  var announcedSize: Int {
    if case .http2(.wrongLength(let excess)) = plan.conduct { return plan.size + excess }
    return plan.size
  }
}

extension SimulatedHTTP2Backend {
  // MARK: Instead of an answer

  /// Whether the answer to this request begins now; else something else was done.
  func carriesOut(_ call: Call) -> Bool {
    switch call.plan.conduct {
    case .silence, .deafness: return false
    case .die(let reset):
      leave(reset: reset)
      return false
    case .http2(let misconduct): return carriesOut(misconduct, call)
    default: return true
    }
  }

  private func carriesOut(_ misconduct: HTTP2Misconduct, _ call: Call) -> Bool {
    switch misconduct {
    case .resetsInBody, .malformedHead, .wrongLength: return true
    case .refuses: refuse(call)
    case .resets(let code):
      codec.abortStream(call.stream, code, into: &output)
      call.facts.resetAt = position
      forget(call.stream)
    case .excludes: exclude(call)
    case .leaves(let code):
      FrameWriter.goAway(last: codec.peerLastStream, code, into: &output)
      codec.drain = .final(last: codec.peerLastStream)
      closing = (true, random.chance(1, in: 4))
    case .violates(let violation):
      // The worker may have opened others that have not arrived.
      violation.write(next: codec.peerLastStream + 20_000, into: &output)
      for other in calls { other.facts.resetAt = position }
      network.note("backend \(backend.index): \(violation)")
      sendRest()
    }
    return false
  }

  private func refuse(_ call: Call) {
    codec.abortStream(call.stream, .refusedStream, into: &output)
    call.facts.declinedAt = position
    forget(call.stream)
  }

  /// GOAWAY that excludes the request and all later ones, unless a later one is already answered.
  private func exclude(_ call: Call) {
    let last = lastBegun
    if last > call.stream || codec.drain.hasEnded { return refuse(call) }
    // Or those before it, too.
    let bound = call.stream < 3 || random.chance(1, in: 4) ? last : max(last, call.stream - 2)
    let asksForCalm = !random.chance(3, in: 4)
    if asksForCalm { ledger.asksForCalm = true }
    FrameWriter.goAway(last: bound, asksForCalm ? .enhanceYourCalm : .noError, into: &output)
    excludedAbove = bound
    codec.drain = .final(last: bound)
    for other in calls where other.stream > bound { other.facts.declinedAt = position }
    calls.removeAll { $0.stream > bound }
  }

  /// Whether the answer ends here, in its middle.
  func breaksOff(_ call: Call) -> Bool {
    switch call.plan.conduct {
    case .dieInBody(_, let reset): closing = (true, reset)
    case .http2(.resetsInBody(_, let code)):
      codec.abortStream(call.stream, code, into: &output)
      call.facts.resetAt = position
      forget(call.stream)
    default: return false
    }
    return true
  }

  /// Appends the fault to the head in the output.
  func spoilHead(_ fault: HeadFault, at start: Int) {
    guard let header = FrameHeader(output.bytes.extracting(droppingFirst: start)) else { return }
    let block = output.array((start + FrameHeader.byteCount)..<output.count) + fault.fields
    output.truncate(to: start)
    FrameHeader(
      length: block.count, type: FrameType.headers, flags: header.flags, stream: header.stream
    ).write(to: &output)
    output.append(block.span)
  }

  /// After a violation nothing is answered, and the worker has to end the connection.
  private func sendRest() {
    while !output.isEmpty {
      let sent = network.write(output.bytes, from: endpoint)
      if sent == 0 { break }
      output.consume(sent)
    }
    calls = []
    closing = (true, false)
    if output.isEmpty { phase = .lingering(until: network.now + .seconds(30)) }
  }

  // MARK: Besides

  func disturb() {
    while let next = disturbances.first, next.time <= network.now {
      disturbances.removeFirst()
      if codec.isBroken || closing.isDue { continue }
      if codec.drain.hasEnded && !next.kind.isRestoration { continue }
      network.note("backend \(backend.index) endpoint \(endpoint.number): \(next.kind)")
      carryOut(next.kind)
    }
    if let next = disturbances.first { wake(after: next.time - network.now) }
  }

  private func carryOut(_ kind: Disturbance.Kind) {
    switch kind {
    case .window(let size, let span):
      if span > Disturbance.longPause { becomeSlow() }
      // The codec doesn't know of other settings, and refuses what goes beyond its own.
      write(.initialWindowSize, min(size, UInt32(limits.streamWindow)))
      let end = Disturbance(time: network.now + span, kind: .windowRestored)
      let place = disturbances.firstIndex { $0.time > end.time } ?? disturbances.endIndex
      disturbances.insert(end, at: place)
    case .windowRestored: write(.initialWindowSize, UInt32(limits.streamWindow))
    case .tableSize(let size):
      write(.headerTableSize, min(size, UInt32(limits.decoderTableByteCount)))
    case .frameSize(let size): write(.maxFrameSize, size)
    case .emptySettings: frame(FrameType.settings, 0, 0, [])
    case .ping: codec.sendPing(at: network.now, into: &output)
    case .unknownFrame: frame(0xEE, 0xFF, random.pick([0, 1, 2, 77]), [1, 2, 3])
    case .deafness(let span):
      if span > Disturbance.longPause { becomeSlow() }
      deafUntil = max(deafUntil, network.now + span)
    case .streamCount(let count):
      codec.setStreamCountMax(count, at: network.now, into: &output)
    case .goAway: codec.beginDrain(at: network.now, into: &output)
    case .priority, .priorityUpdate, .violation: break
    }
  }

  /// From now on, requests may wait for long.
  private func becomeSlow() {
    mayStall = true
    noteStall()
    for call in calls { ledger.records[call.id].deliveries[call.delivery].mayStall = true }
  }

  private func write(_ setting: Setting, _ value: UInt32) {
    FrameHeader(length: 6, type: FrameType.settings, stream: 0).write(to: &output)
    FrameWriter.append(setting, value, into: &output)
  }

  private func frame(_ type: UInt8, _ flags: UInt8, _ stream: UInt32, _ payload: [UInt8]) {
    FrameHeader(length: payload.count, type: type, flags: flags, stream: stream)
      .write(to: &output)
    output.append(payload.span)
  }
}

extension AnswerPlan {
  /// Turns it into an answer over HTTP/2, with the faults that exist there.
  mutating func speakHTTP2(_ request: RequestPlan, seed: UInt64) {
    let salt = UInt64(id) << 32 | UInt64(backend) << 16 | UInt64(delivery)
    var random = RandomGenerator(seed: mix(seed ^ mix(salt &+ 0x6832)))
    let isBodiless = hasNoBody(request)
    switch conduct {
    case .answer, .answerEarly, .silence, .deafness, .dieInBody, .http2: break
    case .switchProtocols: conduct = .answer
    case .die where random.chance(1, in: 2): break
    case .die, .dieInHead, .garbage, .nonsenseAt, .excess:
      conduct = .http2(
        HTTP2Misconduct(drawnFrom: &random, size: size, isBodiless: isBodiless))
    }
    if case .http2(.wrongLength) = conduct { framing = .length }
    if framing == .untilClose { framing = .chunked }
    hasTrailer = hasTrailer && framing == .chunked && !isBodiless
    if case .sendUnasked = afterwards { afterwards = .stay }
  }

  /// The head of the answer; the codec adds the length.
  func http2Head(for request: RequestPlan) -> ResponseHead {
    var head = ResponseHead()
    head.version = .http2
    head.status = UInt16(status)
    var fields = [
      ("x-id", "\(id)"), ("x-backend", "\(backend)"), ("x-delivery", "\(delivery)"),
      ("x-size", "\(hasNoBody(request) ? 0 : size)"),
    ]
    if hasNoBody(request) && framing == .length && status != 204 {
      fields.append(("content-length", "\(size)"))
    }
    if hasTrailer { fields.append(("trailer", "x-trailer")) }
    for (name, value) in fields {
      head.fields.append(name: Array(name.utf8).span, value: Array(value.utf8).span)
    }
    return head
  }
}
