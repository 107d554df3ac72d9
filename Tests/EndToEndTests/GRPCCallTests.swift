// Calls of gRPC through the real binary to a backend with HTTP/2 that isn't ours: deadlines,
// retries by status, quiet streams, metrics. The client is ours, since it must see each frame.

import Foundation
import HTTP
import HTTP2
import Testing

@Suite(.serialized) struct GRPCCallTests {
  private static let grpc = [("content-type", "application/grpc"), ("te", "trailers")]

  private func start(
    _ backends: [HTTP2Server], _ pool: String = "", rest: String = ""
  ) throws -> MartletProcess {
    try MartletProcess(
      backends: backends, pool: #""protocol": "h2", "health": "off""# + pool,
      listener: #""protocols": ["h2"]"#, rest: rest)
  }

  /// Begins a call with one message; without `ends` more could follow.
  private func begin(
    _ peer: HTTP2Peer, _ method: String, _ message: String = "message", timeout: String? = nil,
    ends: Bool = true
  ) throws -> UInt32 {
    let fields = Self.grpc + (timeout.map { [("grpc-timeout", $0)] } ?? [])
    let stream = try peer.open("POST", "/test.Echo/\(method)", fields, body: .streamed)
    try peer.send(Array(message.utf8), on: stream, ends: ends)
    return stream
  }

  private func call(
    _ peer: HTTP2Peer, _ method: String, _ message: String = "message", timeout: String? = nil
  ) throws -> HTTP2Peer.Answer {
    try peer.answer(begin(peer, method, message, timeout: timeout))
  }

  private func status(_ answer: HTTP2Peer.Answer) -> String? {
    answer["grpc-status"] ?? answer.trailers.first { $0.name == "grpc-status" }?.value
  }

  // MARK: Deadlines

  @Test func `a call without an answer ends at its deadline, also at the backend`() throws {
    let backend = try HTTP2Server()
    let martlet = try start([backend], #", "ejection": { "failures": 1 }"#)
    let peer = try HTTP2Peer(martlet)
    let answer = try call(peer, "Silent", timeout: "200m")
    #expect(answer.status == 200 && answer.body.isEmpty && answer.trailers.isEmpty)
    #expect(answer["grpc-status"] == "4" && answer["content-type"] == "application/grpc")
    let message = answer["grpc-message"] ?? ""
    #expect(message.hasPrefix("the call did not end before its deadline"), "\(message)")
    // 8 is CANCEL.
    eventually("the backend is told") { backend.events("reset").map { $0["code"] as? Int } == [8] }
    // The backend got the time that was left, in microseconds.
    let told = try #require(backend.requests.first?["grpc-timeout"])
    let left = try #require(Int(told.dropLast()))
    #expect(told.last == "u" && left > 100_000 && left <= 200_000, "\(told)")
    let line = try #require(try martlet.accessLines(atLeast: 1).first)
    #expect(line["failure"] as? String == "deadline-exceeded" && line["status"] as? Int == 504)
    #expect(line["grpc_status"] as? Int == 4 && line["reason"] as? String == "grpc-timeout")
    #expect(!martlet.log.contains("ejected"))
  }

  @Test func `a response that has begun ends with the status in trailers`() throws {
    let martlet = try start([try HTTP2Server()])
    let answer = try call(try HTTP2Peer(martlet), "Begin", timeout: "300m")
    #expect(answer.status == 200 && answer.text == "message" && answer.reset == nil)
    #expect(answer["grpc-status"] == nil && status(answer) == "4")
  }

  @Test func `the pool's maximum is the deadline of calls with none, or with a later one`() throws {
    let backend = try HTTP2Server()
    let martlet = try start([backend], #", "timeouts": { "grpc-max": "200ms" }"#)
    let peer = try HTTP2Peer(martlet)
    for timeout in [nil, "1H"] {
      #expect(status(try call(peer, "Silent", timeout: timeout)) == "4")
    }
    let lines = try martlet.accessLines(atLeast: 2)
    #expect(lines.allSatisfy { $0["reason"] as? String == "grpc-max" })
    for request in backend.requests {
      let left = try #require(Int(request["grpc-timeout"]?.dropLast() ?? ""))
      #expect(request["grpc-timeout"]?.last == "u" && left <= 200_000)
    }
  }

  @Test func `the log has the same words if the client ends a call at its deadline`() throws {
    let martlet = try start([try HTTP2Server()])
    let peer = try HTTP2Peer(martlet)
    // Within the leeway, a twentieth of the time, or long before.
    for (timeout, pause, status, failure) in [
      ("1S", 960, 4, "deadline-exceeded"), ("1H", 0, 1, "client-aborted"),
    ] {
      let stream = try begin(peer, "Silent", timeout: timeout)
      Thread.sleep(forTimeInterval: Double(pause) / 1000)
      try peer.reset(stream)
      let lines = try martlet.accessLines(atLeast: status == 4 ? 1 : 2)
      let line = try #require(lines.last)
      #expect(line["failure"] as? String == failure && line["grpc_status"] as? Int == status)
      #expect(line["reason"] as? String == (status == 4 ? "grpc-timeout" : nil))
      #expect(line["status"] as? Int == (status == 4 ? 504 : 499))
    }
  }

  @Test(arguments: ["response", "request"])
  func `a timeout of the pool ends a call, and the log names it`(_ key: String) throws {
    let martlet = try start(
      [try HTTP2Server(), try HTTP2Server()],
      #", "timeouts": { "\#(key)": "200ms" }, "retry": { "max-attempts": 1 }"#)
    let answer = try call(try HTTP2Peer(martlet), "Silent")
    #expect(answer["grpc-status"] == "4")
    #expect(answer["grpc-message"]?.hasPrefix("the service did not respond in time") == true)
    let line = try #require(try martlet.accessLines(atLeast: 1).first)
    #expect(line["failure"] as? String == "response-timeout" && line["reason"] as? String == key)
    #expect(line["grpc_status"] as? Int == 4)
  }

  @Test func `an invalid deadline is refused, and one of zero is over`() throws {
    let backend = try HTTP2Server()
    let martlet = try start([backend])
    let peer = try HTTP2Peer(martlet)
    for invalid in ["", "1", "S", "123456789S", "1s", "-1S", "1.5S", "1 S", "1S, 2S"] {
      #expect(status(try call(peer, "Echo", timeout: invalid)) == "13", "\(invalid)")
    }
    #expect(status(try call(peer, "Echo", timeout: "0n")) == "4")
    #expect(backend.requests.isEmpty)
    let line = try #require(try martlet.accessLines(atLeast: 10).first)
    #expect(line["reason"] as? String == "bad-grpc-timeout")
    #expect(status(try call(peer, "Echo", timeout: "99999999H")) == "0")
  }

  // MARK: Retries

  private static let unavailable = #", "retry": { "grpc-statuses": ["unavailable"] }"#

  @Test func `a call that failed with a listed status is tried at another backend`() throws {
    let (bad, good) = (try HTTP2Server(fails: 14), try HTTP2Server())
    let martlet = try start([bad, good], Self.unavailable + #", "ejection": "off""#)
    let peer = try HTTP2Peer(martlet)
    for _ in 0..<4 {
      let answer = try call(peer, "Echo", timeout: "30S")
      #expect(status(answer) == "0" && answer.text == "message")
    }
    let lines = try martlet.accessLines(atLeast: 4)
    let attempts = lines.compactMap { $0["attempts"] as? [[String: Any]] }
    let retried = attempts.filter { $0.count == 2 }
    #expect(!retried.isEmpty && attempts.allSatisfy { $0.count <= 2 })
    for attempt in retried.map({ $0[0] }) {
      #expect(attempt["result"] as? String == "grpc-status")
      #expect(attempt["status"] as? Int == 200 && attempt["grpc_status"] as? Int == 14)
    }
    // Each attempt was told what was left of the time.
    #expect((bad.requests + good.requests).allSatisfy { $0["grpc-timeout"]?.last == "u" })
  }

  @Test func `the status counts as a failure of the backend only where it is listed`() throws {
    let ejection = #", "ejection": { "failures": 2 }"#
    let listed = try start(
      [try HTTP2Server(fails: 14), try HTTP2Server()], Self.unavailable + ejection)
    let other = try start([try HTTP2Server(fails: 14), try HTTP2Server()], ejection)
    for martlet in [listed, other] {
      let peer = try HTTP2Peer(martlet)
      for _ in 0..<6 { _ = try call(peer, "Echo") }
    }
    eventually("the backend is ejected") { listed.log.contains("ejected") }
    #expect(!other.log.contains("ejected"))
  }

  @Test(arguments: [
    ("", "retry", true), ("0", "retry", true), ("50", "retry", false), ("-1", "retry", false),
    ("x", "retry", false), ("", "ejection", false),
  ])
  func `a server may forbid a retry, or ask to wait`(
    _ pushback: String, _ section: String, _ isRetried: Bool
  ) throws {
    let pool =
      section == "retry" ? #", "retry": { "grpc-statuses": ["resource-exhausted"] }"# : ""
    let backends = [
      try HTTP2Server(fails: 8, pushback: pushback), try HTTP2Server(fails: 8, pushback: pushback),
    ]
    let martlet = try start(backends, pool)
    let answer = try call(try HTTP2Peer(martlet), "Echo")
    #expect(status(answer) == "8")
    #expect(answer["grpc-retry-pushback-ms"] == (pushback.isEmpty ? nil : pushback))
    #expect(backends.map(\.requests.count).reduce(0, +) == (isRetried ? 2 : 1))
  }

  @Test func `a status after a message, or a request that isn't kept, is final`() throws {
    let backends = [try HTTP2Server(fails: 14), try HTTP2Server(fails: 14)]
    let martlet = try start(
      backends,
      #", "retry": { "grpc-statuses": ["unavailable"], "replay-size": "1KiB" }, "ejection": "off""#)
    let peer = try HTTP2Peer(martlet)
    let late = try call(peer, "Late")
    #expect(late.text == "message" && status(late) == "14")
    #expect(status(try call(peer, "Echo", String(repeating: "x", count: 5000))) == "14")
    #expect(backends.map(\.requests.count).reduce(0, +) == 2)
    let lines = try martlet.accessLines(atLeast: 2)
    #expect(lines.map { $0["retry"] as? String } == [nil, "body-not-kept"])
  }

  // MARK: Quiet streams

  @Test func `a stream that is quiet for too long ends with a status`() throws {
    let backend = try HTTP2Server()
    let martlet = try start(
      [backend], #", "timeouts": { "idle": "300ms" }, "ejection": { "failures": 1 }"#)
    let peer = try HTTP2Peer(martlet)
    let answer = try peer.answer(begin(peer, "Begin", ends: false))
    #expect(answer.text == "message" && status(answer) == "4" && answer.reset != .internalError)
    // Before the head, it is Trailers-Only.
    let early = try peer.answer(begin(peer, "Silent", ends: false))
    #expect(early["grpc-status"] == "4" && early.body.isEmpty)
    #expect(early["grpc-message"]?.hasPrefix("the service did not respond in time") == true)
    eventually("the backend is told") { backend.events("reset").count == 2 }
    #expect(!martlet.log.contains("ejected"))
  }

  @Test func `the minimum rate doesn't end a quiet stream`() throws {
    let martlet = try start(
      [try HTTP2Server()], rest: #""limits": { "rate-grace": "1s", "body-idle": "1s" }"#)
    let peer = try HTTP2Peer(martlet)
    let stream = try begin(peer, "Echo", "one ", ends: false)
    // The other stream ends after both limits have passed.
    #expect(status(try call(peer, "Silent", timeout: "2500m")) == "4")
    try peer.send(Array("two".utf8), on: stream, ends: true)
    let answer = try peer.answer(stream)
    #expect(answer.text == "one two" && status(answer) == "0")
  }

  // MARK: Metrics

  private func counts(_ martlet: MartletProcess) throws -> [String: Int] {
    let page = try run([
      "curl", "-sS", "--unix-socket", martlet.folder.path("admin.sock"), "http://localhost/metrics",
    ]).output
    var counts: [String: Int] = [:]
    for line in page.split(separator: "\n") where line.hasPrefix("martlet_grpc_calls_total{") {
      guard let space = line.lastIndex(of: " ") else { continue }
      counts[String(line[..<space].dropFirst(24))] = Int(line[line.index(after: space)...])
    }
    return counts
  }

  @Test func `calls are counted by method and status, and nothing is without them`() throws {
    let martlet = try start([try HTTP2Server()])
    let peer = try HTTP2Peer(martlet)
    #expect(try peer.get("/plain").text == "plain")
    #expect(try counts(martlet) == [:])
    for method in ["Echo", "Echo", "Late", "Missing", "Echo"] { _ = try call(peer, method) }
    _ = try call(peer, "Echo", timeout: "0n")
    // No call of this method, of Late and of Missing has succeeded, so they have no place.
    _ = try call(peer, "Silent", timeout: "50m")
    _ = try martlet.accessLines(atLeast: 8)
    #expect(
      try counts(martlet) == [
        #"{service="test.Echo",method="Echo",status="ok"}"#: 3,
        #"{service="test.Echo",method="Echo",status="deadline-exceeded"}"#: 1,
        #"{service="other",method="other",status="unavailable"}"#: 1,
        #"{service="other",method="other",status="missing"}"#: 1,
        #"{service="other",method="other",status="deadline-exceeded"}"#: 1,
      ])
  }
}
