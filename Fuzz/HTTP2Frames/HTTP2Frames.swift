// Everything that a peer can send on an HTTP/2 connection, in both roles. Properties for any input:
//
// - Events and frames don't depend on how the bytes are split, and no step consumes more than there
//   is.
// - Every head that is accepted is also valid for HTTP/1's parser when it is written as HTTP/1.
// - The output consists of complete frames; a broken connection ends with one GOAWAY.
// - The events of a stream come in order: one head, pieces, one end, and nothing after a reset.

import FuzzSupport
import HTTP
import HTTP1
import Primitives

@testable import HTTP2

private let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)
private let emptySettings: [UInt8] = [0, 0, 0, 4, 0, 0, 0, 0, 0]

private struct Outcome: Equatable {
  var events: [String] = []
  var output: [UInt8] = []
}

@c(LLVMFuzzerTestOneInput)
public func fuzzHTTP2Frames(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  guard let input = FuzzInput(start, count) else { return 0 }
  let role: HTTP2Role = input.control & 1 == 0 ? .server : .client
  // Most inputs follow the usual start of a connection.
  let isWhole = input.control & 2 != 0
  let outcome = input.everyWay { arrivals in
    run(
      role, isWhole ? [] : (role == .server ? preface : []) + emptySettings, input.bytes, arrivals)
  }
  checkFrames(outcome.output)
  return 0
}

private func run(
  _ role: HTTP2Role, _ prefix: [UInt8], _ bytes: [UInt8], _ arrivals: [Int]
) -> Outcome {
  let now = Instant(nanoseconds: 1_000_000_000)
  var limits = HTTP2Limits()
  limits.streamCount = 5
  limits.streamWindow = 1000
  limits.fieldListByteCount = 2000
  limits.targetByteCount = 200
  var connection = HTTP2Connection(role: role, limits: limits, at: now)
  var workspace = HTTP2Workspace()
  var output = ByteBuffer()
  var outcome = Outcome()
  var order = StreamOrder()
  connection.start(at: now, into: &output)
  if role == .client { openStreams(&connection, &workspace, &output) }
  let all = prefix + bytes
  var done = 0
  for count in arrivals.map({ $0 + prefix.count }) {
    while true {
      let rest = all.span.extracting(done..<count)
      let step = connection.receive(rest, at: now, workspace: &workspace, into: &output)
      require(step.consumed <= rest.count, "\(step.consumed) of \(rest.count) bytes consumed")
      if case .needsInput = step.event { break }
      note(step.event, Array(all[done..<(done + step.consumed)]), &outcome, &workspace)
      order.check(step.event)
      done += step.consumed
      switch step.event {
      case .reset(let stream, _, _), .failed(let stream, _):
        connection.release(stream, workspace: &workspace, into: &output)
      default: break
      }
      if case .broken = step.event { break }
    }
  }
  outcome.output = output.array(0..<output.count)
  return outcome
}

private func openStreams(
  _ connection: inout HTTP2Connection, _ workspace: inout HTTP2Workspace,
  _ output: inout ByteBuffer
) {
  for method in [Method.get, .head, .post, .connect] {
    var head = RequestHead()
    head.method = method
    head.path = head.fields.store(("/" as StaticString).bytes)
    head.authority = head.fields.store(("a:1" as StaticString).bytes)
    if method == .connect { head.targetForm = .authority }
    let isOpen = method == .post || method == .connect
    _ = connection.open(
      head, scheme: .https, body: isOpen ? .streamed : .none, owner: 0, workspace: &workspace,
      into: &output)
  }
}

private func note(
  _ event: HTTP2Event, _ consumed: [UInt8], _ outcome: inout Outcome,
  _ workspace: inout HTTP2Workspace
) {
  switch event {
  case .needsInput, .progress: return
  case .piece(let stream, let place, let ends):
    // How a body is split into pieces depends on how the input is split.
    let text = consumed[place].map { String($0) }.joined(separator: " ")
    let start = "piece \(stream): "
    if let last = outcome.events.last, last.hasPrefix(start), !last.hasSuffix("end") {
      outcome.events[outcome.events.count - 1] += " " + text + (ends ? " end" : "")
    } else {
      outcome.events.append(start + text + (ends ? " end" : ""))
    }
  case .broken:
    if outcome.events.last == "\(event)" { return }
    outcome.events.append("\(event)")
  case .request:
    checkRequest(workspace.request)
    outcome.events.append("\(event)")
  case .response:
    checkResponse(workspace.response)
    outcome.events.append("\(event)")
  default: outcome.events.append("\(event)")
  }
}

/// One head, then pieces, then one end.
private struct StreamOrder {
  private var heads: Set<UInt32> = []
  private var ends: Set<UInt32> = []

  mutating func check(_ event: HTTP2Event) {
    switch event {
    case .request(let stream, _, let isEnd), .response(let stream, _, let isEnd):
      require(!ends.contains(stream), "a head behind the end of \(stream)")
      heads.insert(stream)
      if isEnd { ends.insert(stream) }
    case .piece(let stream, _, let isEnd):
      require(!ends.contains(stream), "a piece behind the end of \(stream)")
      require(heads.contains(stream), "a piece before the head of \(stream)")
      if isEnd { ends.insert(stream) }
    case .end(let stream), .trailers(let stream):
      require(heads.contains(stream) && !ends.contains(stream), "\(stream) ends twice")
      ends.insert(stream)
    case .excessive(let stream, _): heads.insert(stream)
    case .reset(let stream, _, _), .failed(let stream, _): ends.insert(stream)
    default: break
    }
  }
}

private func checkRequest(_ head: borrowing RequestHead) {
  // CONNECT and its extension are translated to HTTP/1 in another way.
  if head.method == .connect { return }
  var output = ByteBuffer()
  head.encode(body: .none, connection: .keepAlive, into: &output)
  var parser = RequestParser(limits: .none)
  var again = RequestHead()
  let text = output.array(0..<output.count)
  do throws(HTTP1Error) {
    let progress = try parser.parse(output.bytes, into: &again)
    require(progress == .complete(byteCount: output.count), "\(quoted(text)): \(progress)")
  } catch {
    require(false, "\(quoted(text)): \(error)")
  }
  let framing = try? again.framing()
  require(framing == BodyFraming.none, "\(quoted(text)): \(String(describing: framing))")
}

private func checkResponse(_ head: borrowing ResponseHead) {
  var output = ByteBuffer()
  head.encode(for: .http11, body: .known(0), connection: .keepAlive, into: &output)
  var parser = ResponseParser(limits: .none)
  var again = ResponseHead()
  let text = output.array(0..<output.count)
  do throws(HTTP1Error) {
    let progress = try parser.parse(output.bytes, into: &again)
    require(progress == .complete(byteCount: output.count), "\(quoted(text)): \(progress)")
  } catch {
    require(false, "\(quoted(text)): \(error)")
  }
}

private func checkFrames(_ output: [UInt8]) {
  var rest = output[...]
  if rest.starts(with: preface) { rest = rest.dropFirst(preface.count) }
  var goAwayCount = 0
  while !rest.isEmpty {
    require(rest.count >= 9, "half a frame goes out")
    let header = Array(rest.prefix(9))
    let count = Int(header[0]) << 16 | Int(header[1]) << 8 | Int(header[2])
    require(rest.count >= 9 + count && count <= 16_384, "a frame of \(count) bytes goes out")
    require(goAwayCount == 0, "a frame behind GOAWAY")
    if header[3] == 7 { goAwayCount += 1 }
    rest = rest.dropFirst(9 + count)
  }
}
