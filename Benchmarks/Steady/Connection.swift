// One connection of the load: its socket, its current request, and the state of the response.

import Reactor

struct Connection {
  enum State {
    case closed
    /// For a request, or for none when all connections are opened at the start.
    case dialling(Socket, Int?)
    case idle(Socket)
    /// The request or its response is in progress.
    case busy(Socket, Int)
  }

  var state = State.closed
  var reader = AnswerReader()
  /// Bytes that can only be parsed with the ones after them, usually a part of a head.
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

  /// The number of the current request.
  var request: Int? {
    switch state {
    case .closed, .idle: nil
    case .dialling(_, let request): request
    case .busy(_, let request): request
    }
  }
}
