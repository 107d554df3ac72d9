// What clients of the admin interface send: heads and bodies, as far as they have come.

import HTTP
import HTTP1
import Primitives
import Reactor
import TLS

/// What follows a step of a connection.
enum AdminStep {
  case again
  /// More must come first.
  case wait
  /// A request is answered: it is the turn of others.
  case giveWay
}

extension AdminServer {
  mutating func step(_ handle: Handle) -> AdminStep {
    do throws(HTTP1Error) {
      switch connections[handle].phase {
      case .awaitingHead:
        // Whoever doesn't read the last answer gets no other.
        if !connections[handle].transport.isFlushed { return .wait }
        var head = RequestHead()
        if try takeHead(handle, into: &head) {
          begin(handle, head, try head.framing())
          return .giveWay
        }
      case .receivingBody(let request, let decoder):
        if try takeBody(handle, request, decoder) { return .giveWay }
      case .awaitingControl, .ending: return .wait
      case .stateEvents, .tap: connections[handle].transport.inbound.removeAll()
      case .lingering, .refused: return discard(handle)
      }
    } catch {
      refuse(handle, .error(error.status, "\(error.name)"))
      return .wait
    }
    return receive(handle)
  }

  private mutating func receive(_ handle: Handle) -> AdminStep {
    switch connections[handle].transport.receive(&io, &buffers) {
    case .bytes:
      return .again
    case .nothing:
      return .wait
    case .failed(.tls(.plaintextHTTP)):
      connections[handle].transport.abandonTLS(&buffers)
      refuse(handle, .error(400, "this address speaks https"))
      return .wait
    case .failed(.tls):
      // Nothing that comes is heard any more; a reset would take the alert along that says why.
      connections[handle].phase = .refused
      connections[handle].transport.flush(&io, &buffers)
      io.shutdownSending(connections[handle].transport.socket)
      return .again
    case .finished, .failed:
      close(handle)
      return .wait
    }
  }

  private mutating func discard(_ handle: Handle) -> AdminStep {
    switch connections[handle].transport.discard(&io, &buffers) {
    case .received: return .again
    case .wouldBlock: return .wait
    case .finished, .failed:
      close(handle)
      return .wait
    }
  }

  private mutating func takeHead(
    _ handle: Handle, into head: inout RequestHead
  ) throws(HTTP1Error) -> Bool {
    // A slab's element is one access, and parser and buffer are two of its parts.
    var parser = connections[handle].parser
    defer { connections[handle].parser = parser }
    if connections[handle].transport.inbound.isEmpty { return false }
    return try parser.take(from: &connections[handle].transport.inbound, into: &head)
  }

  private mutating func begin(
    _ handle: Handle, _ head: borrowing RequestHead, _ framing: BodyFraming
  ) {
    connections[handle].requestBegan()
    let request = AdminRequest(head, persists: head.persists)
    if framing == .none || framing == .length(0) { return answer(handle, request) }
    // Strangers get their answer before a byte of the body is kept.
    if right(of: request, connections[handle].access) != .change {
      return answer(handle, request.last)
    }
    if head.expect == .continue { writeContinue(handle) }
    connections[handle].phase = .receivingBody(request, BodyDecoder(framing))
  }

  /// False when more of the body must come.
  private mutating func takeBody(
    _ handle: Handle, _ request: AdminRequest, _ decoder: BodyDecoder
  ) throws(HTTP1Error) -> Bool {
    var decoder = decoder
    var trailers = FieldBlock()
    let limit =
      connections[handle].access.isLocal
      ? AdminLimits.localBodyByteCountMax : AdminLimits.bodyByteCountMax
    while true {
      let step = try decoder.next(
        in: connections[handle].transport.inbound, limit: limit, trailers: &trailers)
      switch step {
      case .piece(let skip, let count):
        if connections[handle].body.count + count > limit {
          refuse(handle, .error(413, "the body is larger than \(limit / 1024) KiB"))
          return true
        }
        connections[handle].keep(skip..<(skip + count))
      case .needsInput(let consumed):
        connections[handle].transport.inbound.consume(consumed)
        connections[handle].phase = .receivingBody(request, decoder)
        return false
      case .end(let consumed):
        connections[handle].transport.inbound.consume(consumed)
        var whole = request
        swap(&whole.body, &connections[handle].body)
        answer(handle, whole)
        return true
      }
    }
  }
}

extension AdminConnection {
  /// Moves a piece of the body out of the buffer.
  fileprivate mutating func keep(_ range: Range<Int>) {
    body += transport.inbound.array(range)
    transport.inbound.consume(range.upperBound)
  }
}

extension AdminRequest {
  /// The same with no other behind it on its connection.
  fileprivate var last: AdminRequest {
    var request = self
    request.persists = false
    return request
  }
}
