// Our client and our server, connected to each other and driven by a seed: splits, windows,
// settings, resets, drains.
//
// Both owners record what they sent and received on each stream, for a comparison at the end.

import HTTP
import Primitives

@testable import HTTP2

/// One side's view of one stream.
struct Exchange {
  /// Bytes that the owner will send, and how many it has sent.
  var wanted = 0
  var sent = 0
  var hasHead = false
  var withTrailers = false
  var received = 0
  var isIntact = true
  var unconsumed = 0
  var gotHead = false
  var gotEnd = false
  var sentEnd = false
  var isReset = false
  var isUnprocessed = false
}

final class Endpoint {
  let role: HTTP2Role
  var connection: HTTP2Connection
  var workspace = HTTP2Workspace()
  var output = ByteBuffer()
  /// Bytes for this side.
  var input: [UInt8] = []
  var exchanges: [UInt32: Exchange] = [:]
  /// Released streams, with their final state.
  var ended: [UInt32: Exchange] = [:]
  var broken: HTTP2Error?
  var problems: [String] = []

  init(_ role: HTTP2Role, _ limits: HTTP2Limits, at now: Instant) {
    self.role = role
    connection = HTTP2Connection(role: role, limits: limits, at: now)
    connection.start(at: now, into: &output)
  }

  /// The byte at `index` of the body that `role` sends on a stream.
  static func byte(_ stream: UInt32, _ index: Int, by role: HTTP2Role) -> UInt8 {
    UInt8(truncatingIfNeeded: Int(stream) &* 31 &+ index &* 7 &+ (role == .server ? 101 : 0))
  }

  /// Handles the received bytes, as far as possible.
  func receive(at now: Instant) {
    var position = 0
    while broken == nil {
      let rest = input.span.extracting(position..<input.count)
      let step = connection.receive(rest, at: now, workspace: &workspace, into: &output)
      take(step.event, at: position)
      position += step.consumed
      if step.event == .needsInput { break }
    }
    input.removeFirst(position)
  }

  private func take(_ event: HTTP2Event, at position: Int) {
    switch event {
    case .needsInput, .progress, .settingsChanged, .goAway, .pingAcknowledged: break
    case .request(let stream, _, let ends):
      if exchanges[stream] != nil || ended[stream] != nil { problems.append("\(stream) twice") }
      exchanges[stream] = Exchange(gotHead: true, gotEnd: ends)
    case .response(let stream, _, let ends):
      if workspace.response.isInterim { return }
      if exchanges[stream]?.gotHead == true { problems.append("\(stream) answered twice") }
      exchanges[stream]?.gotHead = true
      exchanges[stream]?.gotEnd = ends
    case .piece(let stream, let place, let ends):
      guard var exchange = exchanges[stream] else { return problems.append("piece of \(stream)") }
      let peer: HTTP2Role = role == .server ? .client : .server
      for index in place {
        if input[position + index] != Self.byte(stream, exchange.received, by: peer) {
          exchange.isIntact = false
        }
        exchange.received += 1
      }
      exchange.unconsumed += place.count
      exchange.gotEnd = ends
      exchanges[stream] = exchange
    case .end(let stream), .trailers(let stream): exchanges[stream]?.gotEnd = true
    case .reset(let stream, _, let isUnprocessed):
      exchanges[stream]?.isReset = true
      exchanges[stream]?.isUnprocessed = isUnprocessed
    case .failed(let stream, let error):
      problems.append("\(stream) failed: \(error.name)")
      exchanges[stream]?.isReset = true
    case .excessive(let stream, let error): problems.append("\(stream): \(error.name)")
    case .rejected(let stream, let error):
      if error != .tooManyStreams { problems.append("\(stream): \(error.name)") }
    case .broken(let error): broken = error
    }
  }

  // MARK: What the owner does

  func open(_ bodyCount: Int, withTrailers: Bool) {
    var head = RequestHead()
    head.method = .post
    head.methodName = head.fields.store(("POST" as StaticString).bytes)
    head.path = head.fields.store(("/" as StaticString).bytes)
    head.authority = head.fields.store(("a" as StaticString).bytes)
    head.fields.append(.userAgent, "test")
    let isEmpty = bodyCount == 0 && !withTrailers
    let body: BodyLength =
      isEmpty ? .none : withTrailers || bodyCount % 2 == 0 ? .streamed : .known(UInt64(bodyCount))
    let outcome = connection.open(
      head, scheme: .https, body: body, owner: 0, workspace: &workspace, into: &output)
    guard case .opened(let stream) = outcome else { return }
    exchanges[stream] = Exchange(
      wanted: bodyCount, hasHead: true, withTrailers: withTrailers, sentEnd: isEmpty)
    connection.setWantsToSend(!isEmpty, on: stream)
  }

  func answer(_ stream: UInt32, _ bodyCount: Int, withTrailers: Bool, isInterim: Bool) {
    guard var exchange = exchanges[stream], !exchange.hasHead, !exchange.isReset else { return }
    var head = ResponseHead()
    if isInterim {
      head.status = 103
      _ = connection.send(
        head, body: .none, on: stream, workspace: &workspace, into: &output)
      return
    }
    head.fields.append(.server, "test")
    let isEmpty = bodyCount == 0 && !withTrailers
    let body: BodyLength = isEmpty ? .none : .streamed
    let outcome = connection.send(
      head, body: body, on: stream, workspace: &workspace, into: &output)
    if outcome != .sent { problems.append("answer of \(stream): \(outcome)") }
    exchange.wanted = bodyCount
    exchange.hasHead = true
    exchange.withTrailers = withTrailers
    exchange.sentEnd = isEmpty
    exchanges[stream] = exchange
    connection.setWantsToSend(!isEmpty, on: stream)
  }

  /// One turn of sending at most `limit` bytes. Returns whether there was a turn.
  @discardableResult
  func sendTurn(limit: Int) -> Bool {
    for (stream, exchange) in exchanges
    where exchange.hasHead && !exchange.sentEnd && exchange.sent == exchange.wanted
      && !exchange.isReset
    {
      end(stream)
    }
    guard let turn = connection.nextTurn(), var exchange = exchanges[turn.stream] else {
      return false
    }
    let count = min(turn.byteCount, limit, exchange.wanted - exchange.sent)
    let piece = (0..<count).map { Self.byte(turn.stream, exchange.sent + $0, by: role) }
    let isLast = exchange.sent + count == exchange.wanted && !exchange.withTrailers
    let sent = connection.send(piece.span, ends: isLast, on: turn.stream, into: &output)
    if sent != count { problems.append("\(sent) of \(count) bytes were sent") }
    exchange.sent += sent
    if isLast { exchange.sentEnd = true }
    exchanges[turn.stream] = exchange
    if connection.sentByteCount(of: turn.stream) != UInt64(exchange.sent) {
      problems.append("\(turn.stream): sent is miscounted")
    }
    return true
  }

  private func end(_ stream: UInt32) {
    if exchanges[stream]?.withTrailers == true {
      var trailers = FieldBlock()
      trailers.append(name: Array("x-sum".utf8).span, value: Array("1".utf8).span)
      _ = connection.send(
        trailers: trailers, on: stream, workspace: &workspace, into: &output)
    } else {
      connection.sendEnd(on: stream, into: &output)
    }
    exchanges[stream]?.sentEnd = true
  }

  func consume(_ stream: UInt32, _ limit: Int) {
    guard let exchange = exchanges[stream], exchange.unconsumed > 0 else { return }
    let count = min(limit, exchange.unconsumed)
    connection.consumed(count, of: stream, workspace: &workspace, into: &output)
    exchanges[stream]?.unconsumed -= count
  }

  func reset(_ stream: UInt32) {
    guard exchanges[stream]?.isReset == false else { return }
    connection.abortStream(stream, .cancel, into: &output)
    exchanges[stream]?.isReset = true
  }

  /// Releases streams that have ended.
  func releaseEnded() {
    for (stream, exchange) in exchanges
    where exchange.isReset || (exchange.gotEnd && exchange.sentEnd && exchange.unconsumed == 0) {
      connection.release(stream, workspace: &workspace, into: &output)
      ended[stream] = exchange
      exchanges[stream] = nil
    }
  }
}
