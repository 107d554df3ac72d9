// A test harness for one connection: bytes in, events as lines of text out.
//
// Consecutive pieces of a stream become one line, so that the lines don't depend on how the bytes
// were split.

import HTTP
import Primitives
import Testing

@testable import HTTP2

final class Bench {
  var connection: HTTP2Connection
  var workspace = HTTP2Workspace()
  var output = ByteBuffer()
  var now = Instant(nanoseconds: 1_000_000_000)
  /// All events, oldest first.
  var events: [String] = []
  /// Received bytes that are not consumed yet.
  private var waiting: [UInt8] = []
  /// The peer's decoder, with our compression state.
  private var decoder = DecoderBench()
  /// Whether pieces are consumed as they come.
  var consumes = true
  /// Streams are released when they are closed or reset, as an owner does.
  var releases = true
  private(set) var steps = 0

  init(_ role: HTTP2Role, _ limits: HTTP2Limits = HTTP2Limits()) {
    connection = HTTP2Connection(role: role, limits: limits, at: now)
    connection.start(at: now, into: &output)
  }

  /// A server whose client has sent its preface and SETTINGS.
  static func server(
    _ limits: HTTP2Limits = HTTP2Limits(), settings: [(UInt16, UInt32)] = []
  ) -> Bench {
    let bench = Bench(.server, limits)
    bench.feed(Wire.preface + Wire.settings(settings) + Wire.settingsAck)
    bench.clear()
    return bench
  }

  static func client(
    _ limits: HTTP2Limits = HTTP2Limits(), settings: [(UInt16, UInt32)] = []
  ) -> Bench {
    let bench = Bench(.client, limits)
    bench.feed(Wire.settings(settings) + Wire.settingsAck)
    bench.clear()
    return bench
  }

  func clear() {
    events = []
    _ = frames()
  }

  // MARK: In

  func feed(_ bytes: [UInt8]) {
    waiting += bytes
    var position = 0
    while true {
      let rest = waiting.span.extracting(position..<waiting.count)
      let step = connection.receive(rest, at: now, workspace: &workspace, into: &output)
      steps += 1
      precondition(step.consumed <= rest.count, "more consumed than there is")
      if step.event == .needsInput {
        precondition(step.consumed == 0)
        break
      }
      note(step.event, Array(waiting[position..<(position + step.consumed)]))
      position += step.consumed
      if case .broken = step.event { break }
    }
    waiting.removeFirst(position)
  }

  private func note(_ event: HTTP2Event, _ consumed: [UInt8]) {
    // Every call reports that the connection is broken; once is enough.
    if case .broken = event, events.last?.hasPrefix("broken") == true { return }
    if let line = describe(event, consumed) {
      if case .piece(let stream, _, _) = event, let last = events.last,
        last.hasPrefix("piece \(stream) "), !last.hasSuffix(" end")
      {
        events[events.count - 1] += line.dropFirst("piece \(stream) ".count)
      } else {
        events.append(line)
      }
    }
    switch event {
    case .piece(let stream, let place, _) where consumes:
      connection.consumed(place.count, of: stream, workspace: &workspace, into: &output)
    case .reset(let stream, _, _), .failed(let stream, _):
      if releases { connection.release(stream, workspace: &workspace, into: &output) }
    default: break
    }
  }

  func expire(after span: TimeSpan) {
    now = now + span
    while let event = connection.expire(at: now, into: &output) { note(event, []) }
  }

  private func describe(_ event: HTTP2Event, _ consumed: [UInt8]) -> String? {
    switch event {
    case .needsInput, .progress: return nil
    case .request(let stream, let body, let ends):
      return "request \(stream) \(describe(workspace.request)) \(body)\(ends ? " end" : "")"
    case .response(let stream, let body, let ends):
      let fields = describe(workspace.response.fields)
      return "response \(stream) \(workspace.response.status)\(fields) \(body)\(ends ? " end" : "")"
    case .piece(let stream, let place, let ends):
      return
        "piece \(stream) \(String(decoding: consumed[place], as: UTF8.self))\(ends ? " end" : "")"
    case .end(let stream): return "end \(stream)"
    case .trailers(let stream): return "trailers \(stream)\(describe(workspace.trailers))"
    case .reset(let stream, let code, let isUnprocessed):
      return "reset \(stream) \(code.name)\(isUnprocessed ? " unprocessed" : "")"
    case .failed(let stream, let error): return "failed \(stream) \(error.name)"
    case .excessive(let stream, let error): return "excessive \(stream) \(error.name)"
    case .rejected(let stream, let error): return "rejected \(stream) \(error.name)"
    case .settingsChanged: return "settings"
    case .goAway(let last, let code): return "goaway \(last) \(code.name)"
    case .pingAcknowledged(let span): return "pong \(span.milliseconds) ms"
    case .broken(let error): return "broken \(error.name)"
    }
  }

  private func describe(_ head: borrowing RequestHead) -> String {
    var line = text(head.bytes(of: head.methodName)) + " "
    if !head.connectProtocol.isEmpty { line += text(head.bytes(of: head.connectProtocol)) + " " }
    line += text(head.bytes(of: head.authority)) + " " + text(head.bytes(of: head.target))
    return line + describe(head.fields)
  }

  private func describe(_ fields: borrowing FieldBlock) -> String {
    var line = ""
    for index in 0..<fields.count where !fields[index].isRemoved {
      let field = fields[index]
      line += " + \(text(fields.bytes(of: field.name)))=\(text(fields.bytes(of: field.value)))"
    }
    return line
  }

  // MARK: Out

  /// The frames that were written since the last call, as lines.
  func frames() -> [String] {
    var lines: [String] = []
    var rest = bytes(of: output)[...]
    if rest.starts(with: Wire.preface) { rest = rest.dropFirst(Wire.preface.count) }
    while rest.count >= 9 {
      let header = Array(rest.prefix(9))
      let count = Int(header[0]) << 16 | Int(header[1]) << 8 | Int(header[2])
      let payload = Array(rest.dropFirst(9).prefix(count))
      lines.append(describe(header[3], header[4], Array(header[5...]), payload))
      rest = rest.dropFirst(9 + count)
    }
    precondition(rest.isEmpty, "half a frame was written")
    output.removeAll()
    return lines
  }

  private func describe(
    _ type: UInt8, _ flags: UInt8, _ stream: [UInt8], _ payload: [UInt8]
  ) -> String {
    func number(_ bytes: some Collection<UInt8>) -> UInt32 {
      bytes.reduce(0) { $0 << 8 | UInt32($1) }
    }
    let id = number(stream)
    let ends = flags & 1 != 0 ? " end" : ""
    switch type {
    case Wire.data: return "DATA \(id) \(payload.count)\(ends)"
    case Wire.headers where flags & Wire.endHeaders != 0:
      let fields = decoder.outcome(payload).split(separator: "\n").joined(separator: " + ")
      return "HEADERS \(id) \(fields)\(ends)"
    case Wire.headers: return "HEADERS \(id) \(payload.count) bytes\(ends)"
    case Wire.continuation: return "CONTINUATION \(id) \(payload.count) bytes"
    case Wire.reset:
      return "RST \(id) \(ErrorCode(wire: number(payload)).name)"
    case Wire.settings:
      if flags & 1 != 0 { return "SETTINGS ack" }
      let pairs = stride(from: 0, to: payload.count, by: 6).map {
        "\(number(payload[$0..<($0 + 2)]))=\(number(payload[($0 + 2)..<($0 + 6)]))"
      }
      return "SETTINGS " + pairs.joined(separator: " ")
    case Wire.ping: return "PING\(flags & 1 != 0 ? " ack" : "") \(number(payload[4...]))"
    case Wire.goAway:
      return "GOAWAY \(number(payload[..<4])) \(ErrorCode(wire: number(payload[4..<8])).name)"
    case Wire.windowUpdate: return "WINDOW_UPDATE \(id) +\(number(payload))"
    case Wire.priorityUpdate: return "PRIORITY_UPDATE"
    default: return "FRAME \(type)"
    }
  }

  // MARK: As an owner

  @discardableResult
  func respond(
    _ status: UInt16 = 200, _ fields: [(String, String)] = [], body: BodyLength = .none,
    on stream: UInt32
  ) -> SendOutcome {
    var head = ResponseHead()
    head.status = status
    for (name, value) in fields {
      head.fields.append(name: Array(name.utf8).span, value: Array(value.utf8).span)
    }
    return connection.send(head, body: body, on: stream, workspace: &workspace, into: &output)
  }

  @discardableResult
  func send(_ text: String, ends: Bool = false, on stream: UInt32) -> Int {
    let piece = Array(text.utf8)
    return connection.send(piece.span, ends: ends, on: stream, into: &output)
  }

  @discardableResult
  func request(
    _ method: String = "GET", _ path: String = "/", _ fields: [(String, String)] = [],
    body: BodyLength = .none, owner: UInt64 = 0
  ) -> OpenOutcome {
    var head = RequestHead()
    head.methodName = head.fields.store(Array(method.utf8).span)
    head.method = Method(Array(method.utf8).span)
    head.path = head.fields.store(Array(path.utf8).span)
    head.target = head.path
    head.authority = head.fields.store(("example.org" as StaticString).bytes)
    for (name, value) in fields {
      head.fields.append(name: Array(name.utf8).span, value: Array(value.utf8).span)
    }
    return connection.open(
      head, scheme: .https, body: body, owner: owner, workspace: &workspace, into: &output)
  }

  func release(_ stream: UInt32) {
    connection.release(stream, workspace: &workspace, into: &output)
  }
}

/// The events and then the frames of a connection that receives these bytes. They must be the same
/// when the bytes arrive whole, split at each position, and byte by byte; otherwise the test fails.
func outcome(
  _ input: [UInt8], with bench: @autoclosure () -> Bench = .server(),
  sourceLocation: SourceLocation = #_sourceLocation
) -> [String] {
  func run(_ parts: [ArraySlice<UInt8>]) -> [String] {
    let bench = bench()
    for part in parts { bench.feed(Array(part)) }
    return bench.events + bench.frames()
  }
  let whole = run([input[...]])
  // Large inputs are split at the borders of frames, and at some other positions.
  let step = max(1, input.count / 400)
  for cut in stride(from: 0, to: input.count, by: step) {
    let parted = run([input[..<cut], input[cut...]])
    #expect(parted == whole, "cut at \(cut)", sourceLocation: sourceLocation)
    if parted != whole { break }
  }
  if input.count <= 4096 {
    let dripped = run(input.indices.map { input[$0...$0] })
    #expect(dripped == whole, "byte by byte", sourceLocation: sourceLocation)
  }
  return whole
}
