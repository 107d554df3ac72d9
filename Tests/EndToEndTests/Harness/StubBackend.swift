// A backend inside the test: it stores every request, and responds exactly as the test says. Tests
// of realistic behaviour use nginx instead.

import Foundation
import Synchronization

final class StubBackend: Sendable {
  /// Responds to one request, whose body may not have been read yet; false closes the connection.
  typealias Answer = @Sendable (inout Message, Wire) throws -> Bool

  let port: Int
  /// As in a configuration.
  let address: String
  private let core: Core

  /// Reads the whole request, and responds with 200 and `name`.
  convenience init(_ name: String = "stub") throws {
    try self.init { request, wire in
      try wire.takeBody(of: &request, isResponse: false)
      let body = request.method == "HEAD" ? "" : name
      try wire.send("HTTP/1.1 200 OK\r\nContent-Length: \(name.utf8.count)\r\n\r\n\(body)")
      return true
    }
  }

  /// Responds to `/slow` in two halves, the second when `file` exists, and to other targets at
  /// once.
  static func halving(until file: String) throws -> StubBackend {
    try StubBackend { request, wire in
      if request.target == "/slow" {
        try wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
        _ = poll { FileManager.default.fileExists(atPath: file) }
        try wire.send("other")
      } else {
        try wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
      }
      return true
    }
  }

  /// On a port that the kernel chose, or on the Unix socket `socket`.
  init(socket: String? = nil, answer: @escaping Answer) throws {
    let listening = try socket.map { try Listening(path: $0) } ?? Listening()
    address = socket.map { "unix:\($0)" } ?? "127.0.0.1:\(listening.port)"
    let core = Core(listening: listening, answer: answer)
    self.core = core
    port = listening.port
    Thread.detachNewThread { core.accept() }
  }

  deinit { core.end() }

  /// The requests so far, with the part of the body that the response has read.
  var requests: [Message] { core.state.withLock { $0.requests } }
  /// The last request, with everything that the response has read of it.
  var lastRequest: Message? {
    // The client may have its response before the request is stored here.
    _ = poll(atMost: 2) { core.state.withLock { $0.unfinished == 0 } }
    return requests.last
  }
  /// The last request, possibly while its response is in progress.
  var lastRequestNow: Message? { requests.last }
  var connectionCount: Int { core.state.withLock { $0.accepted } }

  func forget() { core.state.withLock { $0.requests = [] } }

  private final class Core: Sendable {
    struct State {
      var requests: [Message] = []
      var unfinished = 0
      var accepted = 0
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
        state.withLock {
          $0.accepted += 1
          $0.open[ObjectIdentifier(wire)] = wire
        }
        Thread.detachNewThread { [self] in
          try? serve(wire)
          _ = state.withLock { $0.open.removeValue(forKey: ObjectIdentifier(wire)) }
        }
      }
    }

    private func serve(_ wire: Wire) throws {
      defer { wire.end() }
      while true {
        var request = try wire.takeHead()
        let index = state.withLock {
          $0.requests.append(request)
          $0.unfinished += 1
          return $0.requests.count - 1
        }
        let goesOn = Result { try answer(&request, wire) }
        state.withLock {
          if index < $0.requests.count { $0.requests[index] = request }
          $0.unfinished -= 1
        }
        if try !goesOn.get() { return }
      }
    }

    func end() {
      listening.end()
      state.withLock { for wire in $0.open.values { wire.end() } }
    }
  }
}
