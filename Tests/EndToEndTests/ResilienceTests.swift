// What keeps a site available while its backends are full, failing, or just back: the queue, slow
// start, stickiness, ejection by failure rate, failing open, the retry budget.

import Foundation
import Synchronization
import Testing

@Suite(.serialized) struct ResilienceTests {
  /// Responds to a request when the test releases its target, and counts concurrent requests.
  private final class Gated: Sendable {
    private final class State: Sendable {
      let open = Mutex(Set<String>())
      let count = Atomic(0)
      let most = Atomic(0)
    }

    let stub: StubBackend
    private let state: State

    init() throws {
      let state = State()
      self.state = state
      stub = try StubBackend { request, wire in
        let now = state.count.wrappingAdd(1, ordering: .relaxed).newValue
        state.most.max(now, ordering: .relaxed)
        let target = request.target
        _ = poll { state.open.withLock { $0.contains(target) || $0.contains("*") } }
        state.count.wrappingSubtract(1, ordering: .relaxed)
        try wire.send("HTTP/1.1 200 OK\r\nContent-Length: \(target.utf8.count)\r\n\r\n\(target)")
        return true
      }
    }

    /// `*` releases everything.
    func letGo(_ target: String) { _ = state.open.withLock { $0.insert(target) } }
    var targets: [String] { stub.requests.map(\.target) }
    var most: Int { state.most.load(ordering: .relaxed) }
  }

  /// One worker and one backend with one slot.
  private func narrow(_ gated: Gated, queue: String) throws -> MartletProcess {
    try MartletProcess(
      backends: [Detailed(backend: gated.stub, keys: #""max-connections": 1"#)],
      pool: #""queue": \#(queue), "health": "off""#,
      rest: #""routes": [{}, { "path": "/ping", "respond": { "status": 200 } }]"#,
      flags: ["--workers", "1"])
  }

  /// Sends a request without waiting for its response; when it returns, the only worker has handled
  /// it.
  private func begin(_ target: String, _ martlet: MartletProcess) throws -> Wire {
    let wire = try martlet.wire()
    try wire.send("GET \(target) HTTP/1.1\r\nHost: localhost\r\n\r\n")
    // Earlier requests are handled before this one is answered.
    #expect(try martlet.get("/ping").status == 200)
    return wire
  }

  private func lines(_ martlet: MartletProcess, failing name: String) throws -> [[String: Any]] {
    try martlet.accessLines().filter { $0["failure"] as? String == name }
  }

  // MARK: The queue

  @Test func `requests that find every backend full are served in the order of their arrival`()
    throws
  {
    let gated = try Gated()
    let martlet = try narrow(gated, queue: #"{ "size": 9, "timeout": "1h" }"#)
    let targets = ["/0", "/1", "/2", "/3"]
    let wires = try targets.map { try begin($0, martlet) }
    eventually("the first one has come to the backend") { !gated.targets.isEmpty }
    #expect(gated.targets == ["/0"])
    for (target, wire) in zip(targets, wires) {
      eventually("its turn has come") { gated.targets.last == target }
      gated.letGo(target)
      #expect(try wire.takeResponse().text == target)
    }
    #expect(gated.targets == targets)
    #expect(gated.most == 1)
    // The first one didn't wait; for the others, the log contains the time.
    let lines = try martlet.accessLines(atLeast: 8).filter { $0["target"] as? String != "/ping" }
    #expect(lines.map { $0["queued_ms"] != nil } == [false, true, true, true])
  }

  @Test func `a full queue is answered with 503 and named in the log`() throws {
    let gated = try Gated()
    let martlet = try narrow(gated, queue: #"{ "size": 1, "timeout": "1h" }"#)
    let first = try begin("/0", martlet)
    let second = try begin("/1", martlet)
    let refused = try martlet.get("/2")
    #expect(refused.status == 503 && refused["Retry-After"] != nil)
    gated.letGo("*")
    #expect(try first.takeResponse().text == "/0")
    #expect(try second.takeResponse().text == "/1")
    try eventually("it is named") { try lines(martlet, failing: "queue-full").count == 1 }
  }

  @Test func `a queue timeout is answered with 503 and named in the log`() throws {
    let gated = try Gated()
    let martlet = try narrow(gated, queue: #"{ "timeout": "300ms" }"#)
    let first = try begin("/0", martlet)
    let late = try martlet.get("/1")
    #expect(late.status == 503 && late["Retry-After"] != nil)
    gated.letGo("*")
    #expect(try first.takeResponse().text == "/0")
    #expect(gated.targets == ["/0"])
    try eventually("it is named") { try lines(martlet, failing: "queue-timeout").count == 1 }
    let line = try #require(try lines(martlet, failing: "queue-timeout").first)
    #expect(try #require(line["queued_ms"] as? Double) >= 300)
  }

  @Test func `without a queue it is 503 at once`() throws {
    let gated = try Gated()
    let martlet = try narrow(gated, queue: #""off""#)
    let first = try begin("/0", martlet)
    #expect(try martlet.get("/1").status == 503)
    gated.letGo("/0")
    #expect(try first.takeResponse().status == 200)
    try eventually("it is named") { try lines(martlet, failing: "all-full").count == 1 }
  }

  @Test func `a client that goes away leaves the queue`() throws {
    let gated = try Gated()
    let martlet = try narrow(gated, queue: #"{ "size": 1, "timeout": "1h" }"#)
    let first = try begin("/0", martlet)
    let second = try begin("/1", martlet)
    second.end()
    try eventually("it is noticed") { try lines(martlet, failing: "client-aborted").count == 1 }
    let third = try begin("/2", martlet)
    gated.letGo("*")
    #expect(try first.takeResponse().text == "/0")
    #expect(try third.takeResponse().text == "/2")
    #expect(gated.targets == ["/0", "/2"])
    let line = try #require(try lines(martlet, failing: "client-aborted").first)
    #expect(line["status"] as? Int == 499 && line["queued_ms"] != nil)
    #expect((line["attempts"] as? [Any])?.isEmpty == true)
  }

  @Test func `requests that wait for a backend are answered when it goes down`() throws {
    let isIll = Switch()
    let checked = try StubBackend { request, wire in
      if request.target == "/health" {
        let status = isIll.isOn ? "500 Ill" : "200 OK"
        try wire.send("HTTP/1.1 \(status)\r\nContent-Length: 0\r\n\r\n")
      } else {
        // Doesn't respond until Martlet closes the connection.
        _ = try wire.takeRest()
      }
      return false
    }
    let martlet = try MartletProcess(
      backends: [Detailed(backend: checked, keys: #""max-connections": 1"#)],
      pool: #"""
        "queue": { "timeout": "1h" }, "timeouts": { "response": "1h", "request": "1h" },
        "health": { "check": "http", "path": "/health", "interval": "100ms", "fall": 1 }
        """#,
      rest: #""routes": [{}, { "path": "/ping", "respond": { "status": 200 } }]"#,
      flags: ["--workers", "1"])
    let held = try begin("/0", martlet)
    let waiting = try begin("/1", martlet)
    isIll.turnOn()
    #expect(try waiting.takeResponse().status == 503)
    try eventually("it is named") { try lines(martlet, failing: "all-down").count == 1 }
    eventually("it is said") { martlet.log.contains("no backend is available") }
    held.end()
  }

  private final class Switch: Sendable {
    private let state = Atomic(false)
    var isOn: Bool { state.load(ordering: .acquiring) }
    func turnOn() { state.store(true, ordering: .releasing) }
  }

  @Test func `a slot that one worker releases goes to a request that waits on another`() throws {
    let gated = try Gated()
    gated.letGo("*")
    let martlet = try MartletProcess(
      backends: [Detailed(backend: gated.stub, keys: #""max-connections": 2"#)],
      pool: #""queue": { "timeout": "1h" }"#, flags: ["--workers", "4"])
    let load = Load(martlet, clients: 24, keepsAlive: false)
    eventually("nobody is forgotten", atMost: 60) { load.count.total >= 3_000 }
    let count = load.stop()
    #expect(count.errors == [])
    #expect(gated.most == 2)
    #expect(try martlet.accessLines().contains { $0["queued_ms"] != nil })
    // After the load, both slots are free again.
    #expect(try martlet.get("/after").text == "/after")
  }

  // MARK: Returning backends

  @Test func `a backend that comes back gets a tenth of its share at first`() throws {
    let nginxes = try ["a", "b"].map { try Nginx($0) }
    let martlet = try MartletProcess(
      backends: nginxes,
      pool: #"""
        "health": { "interval": "200ms", "fast-interval": "200ms", "rise": 1, "fall": 1 },
        "ejection": "off", "slow-start": "1h"
        """#)
    let load = Load(martlet)
    defer { load.stop() }
    // Not at process start.
    let first = load.nextAnswers(400)
    #expect(abs(first["a\n", default: 0] - first["b\n", default: 0]) < 40, "\(first)")
    nginxes[1].kill()
    eventually("it leaves") { martlet.log.contains("backend down") }
    try nginxes[1].start()
    eventually("it returns") { martlet.log.contains("backend up") }
    let then = load.nextAnswers(1_100)
    let share = Double(then["b\n", default: 0]) / Double(then.values.reduce(0, +))
    // One of eleven.
    #expect((0.06...0.13).contains(share), "\(then)")
    #expect(load.stop().errors == [])
  }

  // MARK: Stickiness

  private func cookie(_ answer: Message) -> String? {
    answer["Set-Cookie"].map { String($0.prefix(while: { $0 != ";" })) }
  }

  @Test func `a cookie keeps a client on its backend until the backend is down`() throws {
    let nginxes = try ["a", "b", "c"].map { try Nginx($0) }
    let martlet = try MartletProcess(
      backends: nginxes, pool: #""stickiness": "home", "health": "off""#)
    let first = try martlet.get()
    let cookie = try #require(self.cookie(first))
    #expect(cookie.wholeMatch(of: /home=[0-9a-f]{16}/) != nil)
    #expect(first["Set-Cookie"] == "\(cookie); Path=/; HttpOnly; SameSite=Lax")
    let home = first.text
    for _ in 0..<9 {
      let answer = try martlet.get("/", "Cookie: a=b; \(cookie)\r\n")
      #expect(answer.text == home)
      #expect(answer["Set-Cookie"] == nil)
    }
    // Other clients are balanced as usual; each gets the cookie of its backend.
    let others = try (0..<6).map { _ in try martlet.get() }
    #expect(Set(others.map(\.text)) == ["a\n", "b\n", "c\n"])
    #expect(Set(others.compactMap { self.cookie($0) }).count == 3)

    nginxes[["a\n", "b\n", "c\n"].firstIndex(of: home) ?? 0].kill()
    let moved = try martlet.get("/", "Cookie: \(cookie)\r\n")
    #expect(moved.status == 200 && moved.text != home)
    let newCookie = try #require(self.cookie(moved))
    #expect(newCookie != cookie)
    for _ in 0..<6 {
      let answer = try martlet.get("/", "Cookie: \(newCookie)\r\n")
      #expect(answer.text == moved.text && answer["Set-Cookie"] == nil)
    }
  }

  @Test func `of several cookies the one of an available backend is used`() throws {
    let stubs = try (0..<3).map { try StubBackend("\($0)") }
    let martlet = try MartletProcess(
      backends: stubs, pool: #""stickiness": "home", "health": "off""#)
    let first = try martlet.get()
    let valid = try #require(cookie(first))
    let stale = "home=0123456789abcdef"
    for cookies in ["\(stale); home=x; \(valid)", "a=b; \(stale)\r\nCookie: \(valid)"] {
      for _ in 0..<4 {
        let answer = try martlet.get("/", "Cookie: \(cookies)\r\n")
        #expect(answer.text == first.text && answer["Set-Cookie"] == nil)
      }
    }
  }

  @Test func `curl with a cookie jar stays, and over TLS the cookie is Secure`() throws {
    let stubs = try ["a", "b", "c"].map { try StubBackend($0) }
    let certificates = try Certificates()
    let martlet = try MartletProcess(
      backends: stubs, pool: #""stickiness": { "cookie": "home", "key": "secret" }"#,
      listener: #""tls": { "certificates": [\#(certificates.entry())] }"#)
    var answers: Set<String> = []
    for _ in 0..<4 {
      let result = try run(
        [
          "curl", "-sS", "--max-time", "20", "--cacert", certificates.authority, "-b", "jar",
          "-c", "jar", "https://localhost:\(martlet.port)/",
        ], in: martlet.folder.path)
      answers.insert(result.output)
    }
    #expect(answers.count == 1 && stubs.map { $0.requests.count }.sorted() == [0, 0, 4])
    let jar = martlet.folder.read("jar").split(separator: "\n").last.map(String.init) ?? ""
    let columns = jar.split(separator: "\t")
    #expect(columns.count == 7 && columns[3] == "TRUE" && columns[5] == "home", "\(jar)")
  }

  // MARK: Ejection

  @Test func `a backend that fails every other request is ejected`() throws {
    let turn = Mutex(0)
    let lame = try StubBackend { request, wire in
      let isLame = turn.withLock { turn in
        turn += 1
        return turn.isMultiple(of: 2)
      }
      if isLame { return false }
      try wire.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nlame")
      return false
    }
    let whole = try StubBackend("whole")
    let martlet = try MartletProcess(
      backends: [lame, whole],
      pool: #"""
        "health": "off", "ejection": { "window": "1h", "minimum-requests": 10, "base": "5m" }
        """#)
    // Clients get no error.
    for _ in 0..<60 { #expect(try martlet.get().status == 200) }
    eventually("it is ejected") { martlet.log.contains("backend down: ejected") }
    let before = lame.requests.count
    for _ in 0..<10 { #expect(try martlet.get().text == "whole") }
    #expect(lame.requests.count == before)
  }

  // MARK: Logs

  @Test func `a pool that fails open logs it`() throws {
    let stub = try StubBackend { request, wire in
      let status = request.target == "/health" ? "500 Ill" : "200 OK"
      try wire.send("HTTP/1.1 \(status)\r\nContent-Length: 0\r\n\r\n")
      return true
    }
    let martlet = try MartletProcess(
      backends: [stub],
      pool: #"""
        "health": { "check": "http", "path": "/health", "interval": "100ms", "fall": 1 },
        "when-all-down": "fail-open"
        """#)
    eventually("it is down") { martlet.log.contains("when-all-down: fail-open") }
    #expect(try martlet.get().status == 200)
    let line = try #require(try martlet.accessLines(atLeast: 1).last)
    let attempts = try #require(line["attempts"] as? [[String: Any]])
    #expect(attempts.last?["fail_open"] as? Bool == true)
  }

  @Test func `a retry that the budget refuses is logged`() throws {
    let stubs = try (0..<2).map { _ in
      try StubBackend { _, wire in
        try wire.send("HTTP/1.1 503 Ill\r\nContent-Length: 3\r\n\r\nill")
        return true
      }
    }
    let martlet = try MartletProcess(
      backends: stubs,
      pool: #"""
        "retry": { "statuses": [503], "budget-percent": 0, "budget-minimum": 0 }, "ejection": "off"
        """#)
    #expect(try martlet.get().text == "ill")
    let line = try #require(try martlet.accessLines(atLeast: 1).first)
    #expect(line["retry"] as? String == "budget-spent")
    #expect((line["attempts"] as? [Any])?.count == 1)
  }
}
