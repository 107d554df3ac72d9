// One connection of the load: its socket, the request it carries, and what has come of the answer.

import Reactor

struct Connection {
  enum State {
    case closed
    /// For a request, or for none when all connections are opened at the start.
    case dialling(Socket, Int?)
    case idle(Socket)
    /// The request is on its way, or its answer is.
    case busy(Socket, Int)
  }

  var state = State.closed
  var reader = AnswerReader()
  /// Bytes of the answer that make sense only with those that follow: part of a head, mostly.
  var rest: [UInt8] = []

  mutating func begin(_ request: Int, on socket: Socket) {
    state = .busy(socket, request)
    reader = AnswerReader()
  }

  var socket: Socket? {
    switch state {
    case .closed: nil
    case .dialling(let socket, _), .idle(let socket), .busy(let socket, _): socket
    }
  }

  /// The number of the request that it carries.
  var request: Int? {
    switch state {
    case .closed, .idle: nil
    case .dialling(_, let request): request
    case .busy(_, let request): request
    }
  }
}
