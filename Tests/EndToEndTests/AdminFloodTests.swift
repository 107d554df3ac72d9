// Clients of the admin address that try to exceed their limits: memory, connections, time, streams.

import Foundation
import Testing

@Suite struct AdminFloodTests {
  private let token = "a-token-of-some-length"

  private func start() throws -> MartletProcess {
    try MartletProcess(
      backends: [try StubBackend()],
      rest: #""admin": { "listen": "127.0.0.1:0", "token-file": "token" }"#, token: token)
  }

  private func request(_ target: String, _ fields: String = "", method: String = "GET") -> String {
    "\(method) \(target) HTTP/1.1\r\nHost: localhost\r\n\(fields)\r\n"
  }

  private var key: String { "Authorization: Bearer \(token)\r\n" }

  /// Waits until the admin thread has handled the other clients: each of these requests takes one
  /// turn.
  private func takeTurns(_ martlet: MartletProcess, _ count: Int = 20) throws {
    let wire = try Wire(port: martlet.adminPort())
    for _ in 0..<count { #expect(try wire.exchange(request("/healthz")).text == "ok\n") }
  }

  @Test func `unread answers don't use unlimited memory`() throws {
    let martlet = try start()
    let flood = String(repeating: request("/"), count: 1000)
    let deaf = try (0..<16).map { _ in
      let wire = try Wire(port: martlet.adminPort(), receiveBuffer: 4096)
      try wire.send(flood)
      return wire
    }
    try takeTurns(martlet)
    // The page has about 16 KiB, so all of them together would be 250 MiB.
    let most = (Installation.isSanitized ? 200 : 80) << 20
    #expect(martlet.process.peakMemory < most, "\(martlet.process.peakMemory >> 20) MiB")
    // A client that starts reading gets all responses, in order.
    for _ in 0..<50 { #expect(try deaf[0].takeResponse().status == 200) }
    #expect(try martlet.get().status == 200)
  }

  @Test func `unauthenticated clients on all connections don't lock others out`() throws {
    let martlet = try start()
    let strangers = try (0..<200).map { _ in
      let wire = try Wire(port: martlet.adminPort())
      try wire.send("G")
      return wire
    }
    let last = try Wire(port: martlet.adminPort())
    #expect(try last.exchange(request("/v1/state", key)).status == 200)
    // A client that has shown the token keeps its connection.
    let more = try (0..<200).map { _ in try Wire(port: martlet.adminPort()) }
    #expect(try last.exchange(request("/v1/state", key)).status == 200)
    withExtendedLifetime((strangers, more)) {}
  }

  @Test func `a head that arrives slowly has one deadline`() throws {
    let martlet = try start()
    let wire = try Wire(port: martlet.adminPort())
    eventually("it is closed", atMost: 30) {
      usleep(200_000)
      return (try? wire.send("G")) == nil
    }
    try takeTurns(martlet, 1)
  }

  @Test func `an unauthenticated body is refused unread, and the answer arrives`() throws {
    let martlet = try start()
    let wire = try Wire(port: martlet.adminPort())
    let length = 4 << 20
    try wire.send(request("/v1/diff", "Content-Length: \(length)\r\n", method: "POST"))
    // Send all of it before reading the response, as many clients do.
    try wire.send([UInt8](repeating: 0x20, count: length))
    let answer = try wire.takeResponse()
    #expect(answer.status == 401)
    #expect(answer["WWW-Authenticate"] == #"Bearer realm="martlet""#)
    #expect(wire.endsQuietly())
    let large = try Wire(port: martlet.adminPort())
    try large.send(request("/v1/diff", key + "Content-Length: \(length)\r\n", method: "POST"))
    try large.send([UInt8](repeating: 0x20, count: length))
    #expect(try large.takeResponse().status == 413)
    #expect(large.endsQuietly())
  }

  @Test func `a client that half-closes after the request gets the answer`() throws {
    let martlet = try start()
    for target in ["/healthz", "/", "/metrics"] {
      let wire = try Wire(port: martlet.adminPort())
      try wire.send(request(target, key))
      wire.finishSending()
      #expect(try wire.takeResponse().status == 200, "\(target)")
      #expect(wire.endsQuietly())
    }
    let reload = try Wire(port: martlet.adminPort())
    try reload.send(request("/v1/reload", key + "Content-Length: 0\r\n", method: "POST"))
    reload.finishSending()
    #expect(try reload.takeResponse().status == 200)
  }

  @Test func `the number of streams is limited`() throws {
    let martlet = try start()
    var streams: [Wire] = []
    for _ in 0..<24 {
      let wire = try Wire(port: martlet.adminPort())
      try wire.send(request("/v1/events", key))
      #expect(try wire.takeHead().line.contains("200"))
      streams.append(wire)
    }
    let wire = try Wire(port: martlet.adminPort())
    try wire.send(request("/v1/events", key))
    let refused = try wire.takeHead()
    #expect(refused.status == 503 && refused["Retry-After"] == "10")
    // The Unix socket has a separate limit.
    let local = try ChildProcess(
      [
        "curl", "-sN", "--unix-socket", martlet.folder.path("admin.sock"),
        "http://localhost/v1/events",
      ])
    eventually("it streams") { local.outputText.contains("data: ") }
    local.end()
    streams.removeLast()
    try eventually("there is a place again") {
      try Wire(port: martlet.adminPort()).exchange(request("/v1/events", key, method: "HEAD"))
        .status == 200
    }
  }

  // MARK: Requirements of RFC 9110

  @Test func `HEAD gets only a head, also of a stream, and the connection stays open`() throws {
    let martlet = try start()
    let wire = try Wire(port: martlet.adminPort())
    for target in ["/v1/events", "/v1/tap", "/metrics", "/"] {
      try wire.send(request(target, key, method: "HEAD"))
      let head = try wire.take(until: "\r\n\r\n")
      #expect(head.hasPrefix("HTTP/1.1 200") && head.contains("Date: "), "\(target)")
    }
    #expect(try wire.exchange(request("/healthz")).text == "ok\n")
  }

  @Test func `a client of HTTP/1.0 gets no chunks`() throws {
    let martlet = try start()
    let wire = try Wire(port: martlet.adminPort())
    try wire.send("GET /v1/events HTTP/1.0\r\n\(key)\r\n")
    let head = try wire.take(until: "\r\n\r\n")
    #expect(head.contains("Connection: close") && !head.contains("Transfer-Encoding"), "\(head)")
    #expect(try wire.take(6) == Array("data: ".utf8))
    let kept = try Wire(port: martlet.adminPort())
    try kept.send("GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    #expect(try kept.take(until: "\r\n\r\n").contains("Connection: keep-alive"))
  }

  @Test func `an unknown method gets a list of the allowed ones`() throws {
    let martlet = try start()
    for (method, target, allowed) in [
      ("GET", "/v1/reload", "POST"), ("POST", "/v1/state", "GET, HEAD"),
      ("DELETE", "/v1/log-level", "GET, HEAD, PUT"), ("GET", "/v1/pools/x/backends", "POST"),
    ] {
      let answer = try Wire(port: martlet.adminPort()).exchange(
        request(target, key + "Content-Length: 0\r\n", method: method))
      #expect(answer.status == 405 && answer["Allow"] == allowed, "\(target)")
    }
  }

  @Test func `a client that waits for 100 Continue gets it when its body is wanted`() throws {
    let martlet = try start()
    let wire = try Wire(port: martlet.adminPort())
    let fields = "Expect: 100-continue\r\nContent-Length: 2\r\n"
    try wire.send(request("/v1/diff", key + fields, method: "POST"))
    #expect(try wire.take(until: "\r\n\r\n").hasPrefix("HTTP/1.1 100"))
    try wire.send("{}")
    #expect(try wire.takeResponse().status == 422)
    let stranger = try Wire(port: martlet.adminPort())
    try stranger.send(request("/v1/diff", fields, method: "POST"))
    #expect(try stranger.takeResponse().status == 401)
  }
}
