// A backend with HTTP/2 inside the test, with prior knowledge. Its codec is Martlet's own, in the
// role of a server. It stores every request, and responds as the test says.

import Foundation
import HTTP
import HTTP2
import Primitives
import Synchronization

final class HTTP2Stub: ConfiguredBackend {
  struct Request: Sendable {
    var method = ""
    var path = ""
    var authority = ""
    var fields: [String: String] = [:]
    var body: [UInt8] = []
    var trailers: [String: String] = [:]
    /// Whether it is an extended CONNECT, to which the stub responds at once.
    var isTunnel = false
    /// The number of its connection, from 1.
    var connection = 0
  }

  enum Reply: Sendable {
    case respond(
      status: UInt16 = 200, [(String, String)] = [], body: [UInt8] = [],
      trailers: [(String, String)]? = nil)
    case reset(ErrorCode)
    /// GOAWAY that excludes every stream.
    case leave(ErrorCode)
    case nothing
  }

  typealias Answer = @Sendable (Request) -> Reply

  let port: Int
  var address: String { "127.0.0.1:\(port)" }
  var json: String { "\"\(address)\"" }
  private let core: Core

  init(answer: @escaping Answer) throws {
    let listening = try Listening()
    port = listening.port
    let core = Core(listening: listening, answer: answer)
    self.core = core
    Thread.detachNewThread { core.accept() }
  }

  deinit { core.end() }

  var requests: [Request] { core.state.withLock { $0.requests } }
  var connectionCount: Int { core.state.withLock { $0.accepted } }
  /// The most streams that were reset on one connection.
  var mostResets: Int { core.state.withLock { $0.resets.values.max() ?? 0 } }

  fileprivate final class Core: Sendable {
    struct State {
      var requests: [Request] = []
      var accepted = 0
      var resets: [Int: Int] = [:]
      var open: [ObjectIdentifier: Wire] = [:]
    }

    let listening: Listening
    let answer: Answer
    let state = Mutex(State())

    init(listening: Listening, answer: @escaping Answer) {
      self.listening = listening
      self.answer = answer
    }

    func accept() {
      while let wire = listening.accept() {
        let number = state.withLock { state in
          state.accepted += 1
          state.open[ObjectIdentifier(wire)] = wire
          return state.accepted
        }
        Thread.detachNewThread { [self] in
          let session = Session(wire, number, self)
          while (try? session.receive()) == true {}
          wire.end()
          _ = state.withLock { $0.open.removeValue(forKey: ObjectIdentifier(wire)) }
        }
      }
    }

    func end() {
      listening.end()
      state.withLock { for wire in $0.open.values { wire.end() } }
    }
  }

  /// One connection.
  private final class Session {
    let wire: Wire
    let number: Int
    let core: Core
    private var connection: HTTP2Connection
    private var workspace = HTTP2Workspace()
    private var output = ByteBuffer()
    private let now = Instant(nanoseconds: 1_000_000_000)
    private var requests: [UInt32: Request] = [:]

    init(_ wire: Wire, _ number: Int, _ core: Core) {
      self.wire = wire
      self.number = number
      self.core = core
      connection = HTTP2Connection(role: .server, limits: HTTP2Limits(), at: now)
      connection.start(at: now, into: &output)
    }

    private func flush() throws {
      let bytes = output.array(0..<output.count)
      output.removeAll()
      if !bytes.isEmpty { try wire.send(bytes) }
    }

    /// Receives once; false at the end.
    func receive() throws -> Bool {
      try flush()
      guard try wire.receive() else { return false }
      let received = try wire.take(wire.buffer.count)
      rest += received
      var position = 0
      while true {
        let step = connection.receive(
          rest.span.extracting(position..<rest.count), at: now, workspace: &workspace,
          into: &output)
        if step.event == .needsInput { break }
        if case .broken = step.event {
          try flush()
          return false
        }
        take(step.event, from: position)
        position += step.consumed
      }
      rest.removeFirst(position)
      try flush()
      return true
    }

    private var rest: [UInt8] = []

    private func take(_ event: HTTP2Event, from position: Int) {
      switch event {
      case .request(let stream, _, let ends):
        requests[stream] = readRequest()
        if ends || requests[stream]?.isTunnel == true { reply(stream) }
      case .piece(let stream, let place, let ends):
        let range = (position + place.lowerBound)..<(position + place.upperBound)
        requests[stream]?.body += rest[range]
        connection.consumed(place.count, of: stream, workspace: &workspace, into: &output)
        if ends { reply(stream) }
      case .end(let stream): end(stream)
      case .trailers(let stream):
        for index in 0..<workspace.trailers.count {
          let field = workspace.trailers[index]
          requests[stream]?.trailers[text(field.name, workspace.trailers)] =
            text(field.value, workspace.trailers)
        }
        end(stream)
      case .reset(let stream, _, _):
        core.state.withLock { $0.resets[number, default: 0] += 1 }
        connection.release(stream, workspace: &workspace, into: &output)
      case .failed(let stream, _):
        connection.release(stream, workspace: &workspace, into: &output)
      default: break
      }
    }

    /// The request has ended, perhaps behind its response.
    private func end(_ stream: UInt32) {
      if requests[stream] != nil { return reply(stream) }
      connection.release(stream, workspace: &workspace, into: &output)
    }

    private func readRequest() -> Request {
      var request = Request(connection: number)
      request.method = "\(workspace.request.method.name)"
      request.path = text(workspace.request.target)
      request.authority = text(workspace.request.authority)
      request.isTunnel = !workspace.request.connectProtocol.isEmpty
      for index in 0..<workspace.request.fields.count {
        let field = workspace.request.fields[index]
        request.fields[text(field.name)] = text(field.value)
      }
      return request
    }

    private func text(_ slice: Slice) -> String { text(slice, workspace.request.fields) }

    private func text(_ slice: Slice, _ fields: borrowing FieldBlock) -> String {
      String(decoding: fields.array(slice), as: UTF8.self)
    }

    private func reply(_ stream: UInt32) {
      guard let request = requests.removeValue(forKey: stream) else { return }
      core.state.withLock { $0.requests.append(request) }
      switch core.answer(request) {
      case .nothing: return
      case .reset(let code): connection.abortStream(stream, code, into: &output)
      case .leave(let code):
        output.append([0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, UInt8(code.rawValue)].span)
        return
      case .respond(let status, let fields, let body, let trailers):
        var head = ResponseHead()
        head.status = status
        for (name, value) in fields {
          _ = head.fields.append(name: Array(name.utf8).span, value: Array(value.utf8).span)
        }
        let isEmpty = body.isEmpty && trailers == nil
        _ = connection.send(
          head, body: isEmpty ? .none : .streamed, on: stream, workspace: &workspace,
          into: &output)
        if isEmpty && !request.isTunnel { break }
        if isEmpty { return }
        if !body.isEmpty {
          _ = connection.send(body.span, ends: trailers == nil, on: stream, into: &output)
        }
        // The client still ends its side.
        if request.isTunnel { return }
        guard let trailers else { break }
        var block = FieldBlock()
        for (name, value) in trailers {
          _ = block.append(name: Array(name.utf8).span, value: Array(value.utf8).span)
        }
        _ = connection.send(trailers: block, on: stream, workspace: &workspace, into: &output)
      }
      connection.release(stream, workspace: &workspace, into: &output)
    }
  }
}
