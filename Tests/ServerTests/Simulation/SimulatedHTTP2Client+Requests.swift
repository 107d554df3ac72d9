// The requests of a simulated HTTP/2 client: heads, bodies, and leaving in the middle.

import HTTP
import Primitives

@testable import HTTP2

extension SimulatedHTTP2Client {
  // MARK: Heads

  func open(_ id: Int) {
    let plan = ledger.records[id].plan
    ledger.records[id].outcome = .begun
    ledger.records[id].begunAt = network.now
    ledger.records[id].endpoint = endpoint
    ledger.records[id].clientMayStall = mayBeCut || plan.isUnread
    scratch.removeAll()
    let outcome = codec.open(
      Self.head(of: plan), scheme: .http, body: plan.bodyLength, owner: UInt64(id),
      workspace: &workspace, into: &scratch)
    guard case .opened(let stream) = outcome else {
      network.fault("client \(number): its request can't be sent, \(outcome)")
      return ledger.finish(id, .abandoned)
    }
    network.note(
      "client \(number) begins request \(id): \(plan.method), \(plan.size) bytes, stream \(stream)")
    writeHead(plan)
    var request = OpenStream(id: id, stream: stream)
    if plan.bodyLength.isEmpty { end(&request) }
    if plan.expectsContinue { request.heldUntil = network.now + .seconds(1) }
    streams.append(request)
    if case (.requestByte(let byte), let manner)? = plan.departure, byte <= Self.headCount {
      depart(stream, manner)
    }
  }

  /// The departures of the plan count the bytes of a head, too.
  private static let headCount = 200

  private static func head(of plan: RequestPlan) -> RequestHead {
    var head = RequestHead()
    head.version = .http2
    head.method = Method(Array(plan.method.rawValue.utf8).span)
    head.methodName = head.fields.store(Array(plan.method.rawValue.utf8).span)
    head.path = head.fields.store(Array(plan.path.utf8).span)
    head.authority = head.fields.store(Array("site.example".utf8).span)
    head.add("x-id", "\(plan.id)")
    if plan.expectsContinue { head.add("expect", "100-continue") }
    if plan.hasTrailer { head.add("trailer", "x-trailer") }
    if let count = plan.http2?.paddingCount, count > 0 {
      head.add("x-pad", String(repeating: "p", count: count))
    }
    return head
  }

  /// Moves the head from `scratch` to the output: malformed, padded, or cut into several frames, if
  /// the plan says so.
  private func writeHead(_ plan: RequestPlan) {
    guard let shape = plan.http2, let header = FrameHeader(scratch.bytes),
      header.length + FrameHeader.byteCount == scratch.count
    else { return output.append(scratch, 0..<scratch.count) }
    var block = scratch.array(FrameHeader.byteCount..<scratch.count)
    if let fault = shape.fault { block += fault.fields }
    var rest = block[...]
    var pieces = 1 + shape.continuationCount
    var isFirst = true
    while pieces > 0 {
      let isFinal = pieces == 1
      let count = isFinal ? rest.count : random.next(below: rest.count + 1)
      let padding = isFirst ? shape.headPadding : 0
      var flags = isFinal ? FrameFlag.endHeaders : 0
      if isFirst { flags |= header.flags & FrameFlag.endStream }
      if padding > 0 { flags |= FrameFlag.padded }
      FrameHeader(
        length: count + (padding > 0 ? padding + 1 : 0),
        type: isFirst ? FrameType.headers : FrameType.continuation, flags: flags,
        stream: header.stream
      ).write(to: &output)
      if padding > 0 { output.append(UInt8(padding)) }
      output.append(Array(rest.prefix(count)).span)
      output.append([UInt8](repeating: 0, count: padding).span)
      rest = rest.dropFirst(count)
      pieces -= 1
      isFirst = false
    }
  }

  // MARK: Bodies

  /// Writes what the windows allow, as long as there is room.
  func produce() {
    if violation != nil { return }
    for index in streams.indices where !streams[index].isSent { prepare(index) }
    while output.count < 16_384, let turn = codec.nextTurn(), let index = index(of: turn.stream) {
      let plan = ledger.records[streams[index].id].plan
      let rest = plan.size - streams[index].sentCount
      let limit = random.chance(1, in: 4) ? 1 + random.skewed(upTo: 2_000) : 16_384
      let count = min(turn.byteCount, rest, limit)
      let endsHere = count == rest && !plan.hasTrailer && plan.http2?.endsSeparately != true
      scratch.removeAll()
      plan.pattern.append(
        streams[index].sentCount..<streams[index].sentCount + count, to: &scratch)
      let sent = codec.send(scratch.bytes, ends: endsHere, on: turn.stream, into: &output)
      precondition(sent == count, "the codec allowed as much")
      streams[index].sentCount += count
      streams[index].marks.append((position, count))
      if count == rest { finish(index, isEnded: endsHere) }
      if case (.requestByte(let byte), let manner)? = plan.departure,
        streams[index].sentCount + Self.headCount >= byte
      {
        depart(turn.stream, manner)
        if endpoint == nil { return }
      }
    }
  }

  /// Whether this stream has something to send now.
  private func prepare(_ index: Int) {
    let stream = streams[index].stream
    let plan = ledger.records[streams[index].id].plan
    if let held = streams[index].heldUntil {
      if network.now < held { return wake(after: held - network.now) }
      streams[index].heldUntil = nil
    }
    if let answered = streams[index].answeredAt, network.now > answered + .seconds(5) {
      // The server neither takes the rest nor refuses it.
      codec.abortStream(stream, .cancel, into: &output)
      streams[index].isSent = true
      return wake(after: .zero)
    }
    if streams[index].answeredAt != nil { wake(after: .seconds(6)) }
    if streams[index].sentCount == plan.size { return finish(index, isEnded: false) }
    codec.setWantsToSend(true, on: stream)
  }

  /// The last byte of a body is written.
  private func finish(_ index: Int, isEnded: Bool) {
    let stream = streams[index].stream
    let plan = ledger.records[streams[index].id].plan
    if !isEnded && plan.hasTrailer {
      var trailers = FieldBlock()
      trailers.append(
        name: Array("x-trailer".utf8).span, value: Array("\(plan.id)".utf8).span)
      _ = codec.send(trailers: trailers, on: stream, workspace: &workspace, into: &output)
    } else if !isEnded {
      codec.sendEnd(on: stream, into: &output)
    }
    end(&streams[index])
  }

  private func end(_ request: inout OpenStream) {
    request.isSent = true
    request.endPosition = position
    ledger.records[request.id].end = position
  }

  /// Removes streams whose response was complete before their request.
  func forgetComplete() {
    for request in streams where request.isSent && request.answeredAt != nil {
      forget(request.stream)
    }
  }

  // MARK: Leaving

  func depart(_ stream: UInt32, _ manner: RequestPlan.Manner) {
    switch manner {
    case .orderly:
      codec.abortStream(
        stream, random.pick([.cancel, .cancel, .noError, .internalError]), into: &output)
      guard let index = index(of: stream) else { return }
      forget(stream, outcome: streams[index].answeredAt == nil ? .abandoned : nil)
    case .reset, .cut: hangUp(manner, outcome: .abandoned)
    }
  }

  // MARK: Progress

  func reportProgress(to body: (RequestProgress) -> Void) {
    guard let endpoint, endpoint.isConnected else { return }
    let taken = network.peer(of: endpoint).takenTotal
    for index in streams.indices where streams[index].answeredAt == nil {
      while let mark = streams[index].marks.first, mark.position <= taken {
        streams[index].takenCount += mark.count
        streams[index].marks.removeFirst()
      }
      let request = streams[index]
      body(
        RequestProgress(
          id: request.id, takenCount: request.takenCount,
          isTaken: request.endPosition.map { taken >= $0 } ?? false, isBegun: request.hasBegun,
          answerCount: request.receivedCount + endpoint.bytes.count + inputCount,
          heldMax: SimulationRun.heldMax + HTTP2Limits().streamWindowMax))
    }
  }
}

extension RequestHead {
  fileprivate mutating func add(_ name: String, _ value: String) {
    fields.append(name: Array(name.utf8).span, value: Array(value.utf8).span)
  }
}

extension RequestPlan {
  fileprivate var bodyLength: BodyLength {
    switch framing {
    case .none: .none
    case .length: .known(UInt64(size))
    case .chunked, .untilClose: .streamed
    }
  }
}
