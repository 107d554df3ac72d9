// Whole HTTP/2 connections: our client and our server connected to each other, with owners that
// perform any actions from the input. Properties for any script:
//
// - Neither side reports an error of the other, however the bytes are split.
// - Every body byte arrives once and in order; no stream exceeds a window.
// - When the script is over and both owners continue normally, every exchange ends, and no stream,
//   no sender and no byte of a budget is left over.

import FuzzSupport
import HTTP
import Primitives

@testable import HTTP2

private let now = Instant(nanoseconds: 1_000_000_000)

private struct Body {
  var wanted = 0
  var sent = 0
  var received = 0
  var unconsumed = 0
  var hasHead = false
  var sentEnd = false
  var gotEnd = false
}

private final class Side {
  var connection: HTTP2Connection
  var workspace = HTTP2Workspace()
  var output = ByteBuffer()
  var input: [UInt8] = []
  var bodies: [UInt32: Body] = [:]
  let role: HTTP2Role

  init(_ role: HTTP2Role, _ limits: HTTP2Limits) {
    self.role = role
    connection = HTTP2Connection(role: role, limits: limits, at: now)
    connection.start(at: now, into: &output)
  }

  func receive() {
    var done = 0
    while true {
      let rest = input.span.extracting(done..<input.count)
      let step = connection.receive(rest, at: now, workspace: &workspace, into: &output)
      if step.event == .needsInput { break }
      take(step.event, done)
      done += step.consumed
    }
    input.removeFirst(done)
  }

  private func take(_ event: HTTP2Event, _ position: Int) {
    switch event {
    case .request(let stream, _, let ends):
      require(bodies[stream] == nil, "\(stream) comes twice")
      bodies[stream] = Body(gotEnd: ends)
    case .response(let stream, _, let ends):
      if !workspace.response.isInterim { bodies[stream]?.gotEnd = ends }
    case .piece(let stream, let place, let ends):
      guard var body = bodies[stream] else { return require(false, "a piece of \(stream)") }
      for index in place {
        require(
          input[position + index] == UInt8(truncatingIfNeeded: body.received),
          "another byte at \(body.received) of \(stream)")
        body.received += 1
      }
      body.unconsumed += place.count
      body.gotEnd = ends
      bodies[stream] = body
    case .end(let stream), .trailers(let stream): bodies[stream]?.gotEnd = true
    case .reset(let stream, _, _): release(stream)
    case .rejected(_, let error): require(error == .tooManyStreams, "\(error)")
    case .failed, .excessive, .broken: require(false, "\(role): \(event)")
    case .needsInput, .progress, .settingsChanged, .goAway, .pingAcknowledged: break
    }
  }

  func open(_ count: Int) {
    var head = RequestHead()
    head.method = .post
    head.path = head.fields.store(("/" as StaticString).bytes)
    head.authority = head.fields.store(("a" as StaticString).bytes)
    let outcome = connection.open(
      head, scheme: .https, body: count == 0 ? .none : .streamed, owner: 0,
      workspace: &workspace, into: &output)
    guard case .opened(let stream) = outcome else { return }
    bodies[stream] = Body(wanted: count, hasHead: true, sentEnd: count == 0)
    connection.setWantsToSend(count > 0, on: stream)
  }

  func answer(_ stream: UInt32, _ count: Int) {
    guard bodies[stream]?.hasHead == false else { return }
    let outcome = connection.send(
      ResponseHead(), body: count == 0 ? .none : .streamed, on: stream, workspace: &workspace,
      into: &output)
    require(outcome == .sent, "an answer is \(outcome)")
    bodies[stream]?.wanted = count
    bodies[stream]?.hasHead = true
    bodies[stream]?.sentEnd = count == 0
    connection.setWantsToSend(count > 0, on: stream)
  }

  func send(_ limit: Int) -> Bool {
    guard let turn = connection.nextTurn(), var body = bodies[turn.stream] else { return false }
    let count = min(turn.byteCount, max(1, limit), body.wanted - body.sent)
    let piece = (0..<count).map { UInt8(truncatingIfNeeded: body.sent + $0) }
    body.sent += count
    body.sentEnd = body.sent == body.wanted
    let sent = connection.send(piece.span, ends: body.sentEnd, on: turn.stream, into: &output)
    require(sent == count, "\(sent) of \(count) bytes went")
    bodies[turn.stream] = body
    return true
  }

  func consume(_ stream: UInt32, _ limit: Int) {
    guard let body = bodies[stream] else { return }
    let count = min(limit, body.unconsumed)
    connection.consumed(count, of: stream, workspace: &workspace, into: &output)
    bodies[stream]?.unconsumed -= count
  }

  func release(_ stream: UInt32) {
    connection.release(stream, workspace: &workspace, into: &output)
    bodies[stream] = nil
  }

  func releaseEnded() {
    for (stream, body) in bodies where body.gotEnd && body.sentEnd && body.unconsumed == 0 {
      release(stream)
    }
  }

  func stream(_ choice: UInt8) -> UInt32? {
    let streams = bodies.keys.sorted()
    return streams.isEmpty ? nil : streams[Int(choice) % streams.count]
  }
}

private func move(_ from: Side, _ to: Side, _ limit: Int) {
  let count = min(limit, from.output.count)
  to.input += from.output.array(0..<count)
  from.output.consume(count)
  to.receive()
}

/// Each action has two bytes: its kind, and an amount.
@c(LLVMFuzzerTestOneInput)
public func fuzzHTTP2Connection(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  guard let input = FuzzInput(start, count) else { return 0 }
  var limits = HTTP2Limits()
  limits.streamWindow = [1, 10, 1000, 65_536][Int(input.control & 3)]
  limits.streamCount = [1, 2, 10, 100][Int(input.control >> 2 & 3)]
  limits.decoderTableByteCount = [0, 4096][Int(input.control >> 4 & 1)]
  // Scripts reset more streams than real peers do, and small windows need more updates.
  let all = FloodLimit(burst: 1 << 30, perSecond: 1)
  limits.floods.windowUpdate = all
  limits.floods.reset = all
  limits.floods.refusal = all
  limits.floods.closedStreamFrame = all
  limits.floods.ping = all
  limits.controlBacklogCount = 1 << 30
  let client = Side(.client, limits)
  let server = Side(.server, limits)
  var script = input.bytes[...]
  while let what = script.popFirst(), let amount = script.popFirst() {
    let side = what & 0x80 == 0 ? client : server
    let size = Int(amount) << Int(what >> 4 & 7)
    switch what & 15 {
    case 0, 1, 2: move(client, server, size + 1)
    case 3, 4, 5: move(server, client, size + 1)
    case 6: client.open(size)
    case 7: if let stream = server.stream(amount) { server.answer(stream, size) }
    case 8, 9: _ = side.send(size)
    case 10: if let stream = side.stream(amount) { side.consume(stream, size) }
    case 11: if let stream = side.stream(amount) { side.release(stream) }
    case 12: side.connection.sendPing(at: now, into: &side.output)
    case 13: server.connection.setStreamCountMax(Int(amount) % 8, at: now, into: &server.output)
    case 14: if amount > 200 { server.connection.beginDrain(at: now, into: &server.output) }
    default: side.releaseEnded()
    }
  }
  finish(client, server)
  return 0
}

private func finish(_ client: Side, _ server: Side) {
  var rounds = 0
  while !client.bodies.isEmpty || !server.bodies.isEmpty || !client.output.isEmpty
    || !server.output.isEmpty
  {
    rounds += 1
    require(rounds < 400_000, "\(client.bodies) and \(server.bodies) don't end")
    for stream in Array(server.bodies.keys) { server.answer(stream, 3) }
    for side in [client, server] {
      while side.output.count < 100_000 && side.send(1 << 20) {}
      for stream in Array(side.bodies.keys) { side.consume(stream, 1 << 20) }
      side.releaseEnded()
    }
    move(client, server, 1 << 20)
    move(server, client, 1 << 20)
  }
  for side in [client, server] {
    require(side.connection.streamCount == 0, "streams are left")
    require(side.connection.wantingCount == 0, "senders are left")
    require(side.workspace.windowBudget == HTTP2Workspace().windowBudget, "the budget leaks")
  }
}
