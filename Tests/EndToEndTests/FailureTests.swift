// Backends that die, freeze and come back under load, without an error for clients.

import Foundation
import Synchronization
import Testing

@Suite(.serialized) struct FailureTests {
  private func share(_ name: String, of answers: [String: Int]) -> Double {
    let total = answers.values.reduce(0, +)
    return total == 0 ? 0 : Double(answers[name] ?? 0) / Double(total)
  }

  /// Whether these responses are spread evenly over exactly these backends.
  private func isEven(_ answers: [String: Int], over names: [String]) -> Bool {
    Set(answers.keys) == Set(names)
      && names.allSatisfy { abs(share($0, of: answers) - 1 / Double(names.count)) < 0.02 }
  }

  @Test(arguments: [true, false])
  func `a killed backend causes no error, and comes back into rotation`(
    _ keepsAlive: Bool
  ) throws {
    let nginxes = try ["a", "b", "c"].map { try Nginx($0) }
    let martlet = try MartletProcess(
      backends: nginxes,
      pool: #"""
        "health": { "interval": "200ms", "fast-interval": "200ms", "rise": 2, "fall": 3 },
        "ejection": { "base": "200ms" }
        """#)
    let load = Load(martlet, keepsAlive: keepsAlive)
    defer { load.stop() }
    #expect(isEven(load.nextAnswers(600), over: ["a\n", "b\n", "c\n"]))

    nginxes[1].kill()
    let killed = seconds()
    eventually("it leaves the rotation") { martlet.log.contains("backend down") }
    // fall x interval is 0.6 s, plus or minus a tenth; passive ejection may be faster.
    #expect(seconds() - killed < 3)
    eventually("the other two share evenly") {
      isEven(load.nextAnswers(600), over: ["a\n", "c\n"])
    }

    try nginxes[1].start()
    let started = seconds()
    eventually("it is back in the rotation") { load.nextAnswers(60)["b\n"] != nil }
    #expect(seconds() - started < 5)
    eventually("all three share evenly") {
      isEven(load.nextAnswers(600), over: ["a\n", "b\n", "c\n"])
    }
    #expect(load.stop().errors == [])
  }

  /// Otherwise the client may assume that the connection was closed while idle, and send it again.
  @Test func `an answer that is cut off is delivered as far as it came`() throws {
    let folder = TemporaryFolder()
    let dying = try StubBackend { _, wire in
      _ = poll { FileManager.default.fileExists(atPath: folder.path("go")) }
      try wire.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort")
      wire.end()
      try folder.write("", to: "done")
      return false
    }
    let martlet = try MartletProcess(backends: [dying])
    let wire = try martlet.wire()
    try wire.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
    eventually("it is under way") { dying.lastRequestNow != nil }
    // So that Martlet reads the response and its end in the same loop iteration.
    martlet.signal(SIGSTOP)
    defer { martlet.signal(SIGCONT) }
    try folder.write("", to: "go")
    eventually("the answer is cut") { FileManager.default.fileExists(atPath: folder.path("done")) }
    martlet.signal(SIGCONT)
    #expect(try wire.takeHead().status == 200)
    #expect(try wire.take(5) == Array("short".utf8))
    #expect(wire.endsQuietly())
  }

  @Test func `an answer that is cut off doesn't damage the one before it`() throws {
    let whole = String(repeating: "x", count: 100_000)
    let stub = try StubBackend { request, wire in
      if request.target == "/whole" {
        try wire.send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + whole)
        return true
      }
      try wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
      return false
    }
    let martlet = try MartletProcess(backends: [stub])
    // It reads very little until the end, so Martlet still holds most of the response then.
    let wire = try Wire(port: martlet.port, receiveBuffer: 4096)
    try wire.send(
      "GET /whole HTTP/1.1\r\nHost: localhost\r\n\r\n"
        + "GET /half HTTP/1.1\r\nHost: localhost\r\n\r\n")
    _ = try martlet.accessLines(atLeast: 2)
    #expect(try wire.takeResponse().text == whole)
    _ = try wire.takeHead()
    #expect(try wire.take(5) == Array("first".utf8))
    #expect(wire.endsQuietly())
  }

  /// An HTTP/1.0 response without a length is complete when the connection ends.
  @Test func `an answer that the second signal cuts off does not look complete`() throws {
    let whole = String(repeating: "x", count: 160_000)
    let stub = try StubBackend { _, wire in
      try wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
      try wire.send("\(String(whole.utf8.count, radix: 16))\r\n\(whole)\r\n0\r\n\r\n")
      return true
    }
    let martlet = try MartletProcess(backends: [stub])
    let wire = try Wire(port: martlet.port, receiveBuffer: 4096)
    try wire.send("GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
    // The exchange is complete, but the kernel's buffers can't hold all of it.
    _ = try martlet.accessLines(atLeast: 1)
    martlet.signal(SIGTERM)
    eventually("it drains") { martlet.log.contains("draining") }
    martlet.signal(SIGTERM)
    _ = try martlet.process.waitForExit()
    #expect(throws: HarnessError.self) { try wire.takeRest() }
  }

  @Test func `a backend that fails during a response breaks only that response`() throws {
    let whole = try StubBackend("whole")
    let dying = try StubBackend { _, wire in
      try wire.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort")
      return false
    }
    let martlet = try MartletProcess(backends: [whole, dying], pool: #""ejection": "off""#)
    var failures = 0
    for _ in 0..<10 {
      do {
        #expect(try martlet.get().text == "whole")
      } catch {
        failures += 1
      }
    }
    // Nothing is retried after the client has received a byte of the response.
    #expect(failures == 5)
    #expect(dying.requests.count == 5)
  }

  @Test func `a frozen backend leaves the rotation although it still accepts, and comes back`()
    throws
  {
    let nginxes = try ["a", "b", "c"].map { try Nginx($0) }
    let martlet = try MartletProcess(
      backends: nginxes,
      pool: #"""
        "health": { "interval": "100ms", "fast-interval": "100ms" },
        "ejection": { "failures": 3, "base": "500ms", "max": "500ms" },
        "timeouts": { "response": "300ms", "request": "10s" },
        "retry": { "budget-percent": 100, "budget-minimum": 100 }
        """#)
    let load = Load(martlet)
    defer { load.stop() }
    #expect(isEven(load.nextAnswers(300), over: ["a\n", "b\n", "c\n"]))

    nginxes[1].signal(SIGSTOP)
    eventually("it is ejected") { martlet.log.contains("backend down: ejected") }
    #expect(martlet.log.contains("reason=response-timeout"), "\(martlet.log)")
    // Occasional trial requests may still go to the frozen backend, but it answers none.
    eventually("the other two share evenly") {
      isEven(load.nextAnswers(600), over: ["a\n", "c\n"])
    }
    // Its connect checks always pass, and must not bring it back.
    let down = martlet.log.components(separatedBy: "backend up").count
    #expect(down == 1, "\(martlet.log)")

    nginxes[1].signal(SIGCONT)
    eventually("all three share evenly") {
      isEven(load.nextAnswers(600), over: ["a\n", "b\n", "c\n"])
    }
    #expect(load.stop().errors == [])
  }

  @Test func `a request that isn't idempotent is never sent twice`() throws {
    let dying = try StubBackend { request, wire in
      try wire.takeBody(of: &request, isResponse: false)
      return false
    }
    let whole = try StubBackend("whole")
    let martlet = try MartletProcess(backends: [dying, whole], pool: #""ejection": "off""#)
    var statuses: [Int] = []
    for _ in 0..<6 {
      statuses.append(
        try martlet.answer(
          "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi").status)
    }
    #expect(statuses.sorted() == [200, 200, 200, 502, 502, 502])
    #expect(dying.requests.count == 3)
    #expect(whole.requests.count == 3)
    // Idempotent requests are retried, and the client gets no error.
    for _ in 0..<6 {
      #expect(
        try martlet.answer(
          "PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi").status == 200)
    }
    #expect(whole.requests.count == 9)
    #expect(whole.lastRequest?.text == "hi")
  }

  @Test func `a POST goes to another backend when nothing of it was sent`() throws {
    let whole = try StubBackend("whole")
    let martlet = try MartletProcess(
      backends: ["127.0.0.1:\(try freePort())", whole],
      pool: #""ejection": "off", "health": "off""#)
    for _ in 0..<6 {
      #expect(
        try martlet.answer(
          "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi").status == 200)
    }
    #expect(whole.requests.count == 6)
    let lines = try martlet.accessLines(atLeast: 6)
    #expect(lines.contains { ($0["attempts"] as? [Any])?.count == 2 })
  }

  @Test func `a configured status is retried elsewhere`() throws {
    let ill = try StubBackend { _, wire in
      try wire.send("HTTP/1.1 503 Ill\r\nContent-Length: 3\r\n\r\nill")
      return true
    }
    let well = try StubBackend("well")
    let martlet = try MartletProcess(
      backends: [ill, well], pool: #""retry": { "statuses": [503] }, "ejection": "off""#)
    for _ in 0..<6 { #expect(try martlet.get().text == "well") }
    #expect(ill.requests.count >= 3)
    #expect(well.requests.count == 6)
    let attempts = try martlet.accessLines(atLeast: 6).compactMap {
      $0["attempts"] as? [[String: Any]]
    }
    #expect(attempts.contains { $0.first?["status"] as? Int == 503 && $0.count == 2 })
  }

  @Test func `a backend that was too slow isn't tried again`() throws {
    let silent = try StubBackend { _, wire in
      _ = try wire.takeRest()
      return false
    }
    let dead = "127.0.0.1:\(try freePort())"
    for backends in [[silent], [silent, dead]] as [[any ConfiguredBackend]] {
      silent.forget()
      let martlet = try MartletProcess(
        backends: backends,
        pool: #"""
          "health": "off", "ejection": "off", "timeouts": { "response": "200ms", "request": "1h" }
          """#)
      let status = try martlet.get().status
      // The last attempt goes to a backend that refuses connections, if there is one.
      #expect(status == (backends.count == 1 ? 504 : 502))
      #expect(silent.requests.count == 1)
    }
  }

  @Test func `a status of the only backend is passed on, and not retried there`() throws {
    let ill = try StubBackend { _, wire in
      try wire.send("HTTP/1.1 503 Ill\r\nContent-Length: 3\r\n\r\nill")
      return true
    }
    let martlet = try MartletProcess(
      backends: [ill], pool: #""retry": { "statuses": [503] }, "ejection": "off""#)
    let answer = try martlet.get()
    #expect(answer.status == 503 && answer.text == "ill")
    #expect(ill.requests.count == 1)
    let line = try #require(try martlet.accessLines(atLeast: 1).first)
    #expect(line["retry"] == nil)
  }

  @Test func `a client that leaves ends the request at the backend, without blame`()
    throws
  {
    let cancelled = Mutex(0)
    let slow = try StubBackend { _, wire in
      // No more bytes follow, so this returns when Martlet closes the connection.
      _ = try wire.takeRest()
      cancelled.withLock { $0 += 1 }
      return false
    }
    let martlet = try MartletProcess(
      backends: [slow],
      pool: #"""
        "ejection": { "failures": 1 }, "health": "off",
        "timeouts": { "response": "1h", "request": "1h" }
        """#)
    for count in 1...3 {
      let wire = try martlet.wire()
      try wire.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
      eventually("it is there") { slow.requests.count == count }
      wire.end()
      eventually("the backend is told") { cancelled.withLock { $0 } == count }
    }
    let lines = try martlet.accessLines(atLeast: 3)
    for line in lines {
      #expect(line["status"] as? Int == 499)
      #expect(line["failure"] as? String == "client-aborted")
    }
    #expect(!martlet.log.contains("backend down"))
  }
}
