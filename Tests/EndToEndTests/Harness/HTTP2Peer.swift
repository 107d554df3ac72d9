// A client with HTTP/2 on a connection of its own, with prior knowledge. Its codec is Martlet's
// own, in the other role. So tests of what may be on the wire send raw frames or use other clients.

import Foundation
import HTTP
import HTTP2
import Primitives

final class HTTP2Peer {
  /// What has come on one stream.
  struct Answer {
    var status = 0
    var interims: [Int] = []
    var fields: [(name: String, value: String)] = []
    var body: [UInt8] = []
    var trailers: [(name: String, value: String)] = []
    var hasEnded = false
    var reset: ErrorCode?
    var isUnprocessed = false

    var text: String { String(decoding: body, as: UTF8.self) }
    /// Nothing more comes.
    var isOver: Bool { hasEnded || reset != nil }

    subscript(name: String) -> String? { fields.first { $0.name == name }?.value }
  }

  let wire: Wire
  private var connection: HTTP2Connection
  private var workspace = HTTP2Workspace()
  private var output = ByteBuffer()
  private let now = Instant(nanoseconds: 1_000_000_000)
  private(set) var answers: [UInt32: Answer] = [:]
  private(set) var goAways: [(last: UInt32, code: ErrorCode)] = []
  /// An error of Martlet's, as the codec sees it.
  private(set) var error: HTTP2Error?
  /// Streams of which received bytes are not credited, so that their window stays closed.
  var unread: Set<UInt32> = []
  /// Whether the server's PINGs and SETTINGS are answered.
  var answersControl = true

  init(
    _ martlet: MartletProcess, listener: Int = 0, _ limits: HTTP2Limits = HTTP2Limits(),
    receiveBuffer: Int32? = nil
  ) throws {
    wire = try martlet.wire(listener, receiveBuffer: receiveBuffer)
    connection = HTTP2Connection(role: .client, limits: limits, at: now)
    connection.start(at: now, into: &output)
    try flush()
    try wait("SETTINGS") { !$0.isFirst }
  }

  private var isFirst = true

  private func flush() throws {
    if output.isEmpty { return }
    let bytes = output.array(0..<output.count)
    output.removeAll()
    if answersControl { try wire.send(bytes) }
  }

  // MARK: Sending

  /// Begins a request; the rest of its body, if it has one, is sent with `send`.
  func open(
    _ method: String = "GET", _ path: String = "/", _ fields: [(String, String)] = [],
    body: BodyLength = .none, protocol token: String = "", authority: String = "localhost"
  ) throws -> UInt32 {
    var head = RequestHead()
    head.reset()
    head.method = Method(Array(method.utf8).span)
    head.methodName = head.fields.store(Array(method.utf8).span)
    head.path = head.fields.store(Array(path.utf8).span)
    head.authority = head.fields.store(Array(authority.utf8).span)
    if !token.isEmpty { head.connectProtocol = head.fields.store(Array(token.utf8).span) }
    for (name, value) in fields {
      _ = head.fields.append(name: Array(name.utf8).span, value: Array(value.utf8).span)
    }
    let outcome = connection.open(
      head, scheme: .http, body: body, owner: 0, workspace: &workspace, into: &output)
    guard case .opened(let stream) = outcome else { throw HarnessError("can't open: \(outcome)") }
    answers[stream] = Answer()
    try flush()
    return stream
  }

  /// Sends all of a piece, as windows allow.
  func send(_ piece: [UInt8], on stream: UInt32, ends: Bool = false) throws {
    var rest = piece
    while true {
      let sent = connection.send(rest.span, ends: ends, on: stream, into: &output)
      try flush()
      rest.removeFirst(sent)
      if rest.isEmpty { return }
      if answers[stream]?.reset != nil { throw HarnessError("the stream was reset") }
      try receive()
    }
  }

  func send(trailers: [(String, String)], on stream: UInt32) throws {
    var block = FieldBlock()
    for (name, value) in trailers {
      _ = block.append(name: Array(name.utf8).span, value: Array(value.utf8).span)
    }
    _ = connection.send(trailers: block, on: stream, workspace: &workspace, into: &output)
    try flush()
  }

  func reset(_ stream: UInt32, _ code: ErrorCode = .cancel) throws {
    connection.abortStream(stream, code, into: &output)
    connection.release(stream, workspace: &workspace, into: &output)
    try flush()
  }

  /// Credits `count` bytes of a stream in `unread`.
  func consume(_ count: Int, of stream: UInt32) throws {
    connection.consumed(count, of: stream, workspace: &workspace, into: &output)
    try flush()
  }

  func ping() throws {
    connection.sendPing(at: now, into: &output)
    try flush()
  }

  // MARK: Receiving

  private var received: [UInt8] = []

  /// Receives once; throws at the end of the connection.
  func receive() throws {
    guard try wire.receive() else { throw HarnessError("the connection ended: \(self.summary)") }
    received += try wire.take(wire.buffer.count)
    var position = 0
    while true {
      let step = connection.receive(
        received.span.extracting(position..<received.count), at: now, workspace: &workspace,
        into: &output)
      if step.event == .needsInput { break }
      note(step.event, from: position)
      position += step.consumed
      if error != nil { break }
    }
    received.removeFirst(position)
    try flush()
  }

  private func note(_ event: HTTP2Event, from position: Int) {
    switch event {
    case .response(let stream, _, let ends):
      let status = Int(workspace.response.status)
      if status < 200 {
        answers[stream]?.interims.append(status)
      } else {
        answers[stream]?.status = status
        answers[stream]?.fields = list(workspace.response.fields)
      }
      if ends { answers[stream]?.hasEnded = true }
    case .piece(let stream, let place, let ends):
      let bytes = received[(position + place.lowerBound)..<(position + place.upperBound)]
      answers[stream]?.body += bytes
      if !unread.contains(stream) {
        connection.consumed(bytes.count, of: stream, workspace: &workspace, into: &output)
      }
      if ends { answers[stream]?.hasEnded = true }
    case .end(let stream):
      answers[stream]?.hasEnded = true
    case .trailers(let stream):
      answers[stream]?.trailers = list(workspace.trailers)
      answers[stream]?.hasEnded = true
    case .reset(let stream, let code, let isUnprocessed):
      answers[stream]?.reset = code
      answers[stream]?.isUnprocessed = isUnprocessed
    case .goAway(let last, let code): goAways.append((last, code))
    case .broken(let error), .failed(_, let error): self.error = error
    case .settingsChanged: isFirst = false
    case .needsInput, .progress, .request, .excessive, .rejected, .pingAcknowledged: break
    }
  }

  private func list(_ fields: borrowing FieldBlock) -> [(name: String, value: String)] {
    (0..<fields.count).map { index in
      (
        String(decoding: fields.array(fields[index].name), as: UTF8.self),
        String(decoding: fields.array(fields[index].value), as: UTF8.self)
      )
    }
  }

  // MARK: Waiting

  /// Receives until the condition is true.
  func wait(_ what: String, _ condition: (HTTP2Peer) throws -> Bool) throws {
    while try !condition(self) {
      if let error { throw HarnessError("waiting for \(what): \(error)") }
      try receive()
    }
  }

  /// The answer on a stream, when nothing more comes on it.
  func answer(_ stream: UInt32) throws -> Answer {
    try wait("the answer on \(stream)") { $0.answers[stream]?.isOver ?? true }
    connection.release(stream, workspace: &workspace, into: &output)
    try flush()
    return answers[stream] ?? Answer()
  }

  func get(_ path: String = "/", _ fields: [(String, String)] = []) throws -> Answer {
    try answer(open("GET", path, fields))
  }

  /// Whether Martlet closes the connection, with what it sends before.
  func endsConnection() -> Bool {
    while true {
      do { try receive() } catch { return wire.isFinished }
      if error != nil { return true }
    }
  }

  var summary: String { "\(answers) \(goAways) \(error.map { "\($0)" } ?? "")" }
}
