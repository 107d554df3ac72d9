// A stop by SIGTERM: lame duck, drain, its timeout, and a second signal.

import Foundation
import Testing

@Suite(.serialized) struct StopTests {
  @Test func `after SIGTERM an exchange under way is finished, and the exit status is 0`() throws {
    let folder = TemporaryFolder()
    let stub = try StubBackend.halving(until: folder.path("go"))
    let martlet = try MartletProcess(backends: [stub])
    let wire = try martlet.wire()
    let idle = try martlet.wire()
    #expect(try idle.get().text == "ok")
    try wire.send("GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
    _ = try wire.takeHead()
    martlet.signal(SIGTERM)
    eventually("it accepts nothing more") { (try? Wire(port: martlet.port)) == nil }
    #expect(martlet.process.isRunning)
    // A request that arrives on an idle connection during the shutdown is still answered, as the
    // last.
    let last = try idle.get()
    #expect(last.text == "ok")
    #expect(last["Connection"] == "close")
    #expect(idle.endsQuietly())
    // Otherwise it would wait for this client to close its side too.
    idle.end()
    try folder.write("", to: "go")
    #expect(try wire.take(10) == Array("firstother".utf8))
    #expect(try martlet.process.waitForExit() == 0)
    #expect(try martlet.accessLines().count == 3)
  }

  @Test func `during lame duck Martlet still serves, and draining-status reports the shutdown`()
    throws
  {
    let martlet = try MartletProcess(
      backends: [try StubBackend()],
      rest: #"""
        "routes": [
          { "path": "/health", "respond": { "body": "me\n", "draining-status": 503 } }, {}
        ],
        "limits": { "lame-duck": "1h" }
        """#)
    let idle = try martlet.wire()
    #expect(try idle.get("/health").status == 200)
    martlet.signal(SIGTERM)
    try eventually("it says so") { try martlet.get("/health").status == 503 }
    #expect(try idle.get("/health").text == "me\n")
    let ordinary = try idle.get()
    #expect(ordinary.status == 200 && ordinary["Connection"] == nil)
    eventually("the log says so too") {
      martlet.log.contains("stopping: Martlet still accepts connections")
    }
    #expect(!martlet.log.contains("draining:"))
    martlet.signal(SIGTERM)
    _ = try martlet.process.waitForExit()
  }

  @Test func `the log has a line for the start of lame duck, and one for the drain`() throws {
    let martlet = try MartletProcess(
      backends: [try StubBackend()], rest: #""limits": { "lame-duck": "100ms" }"#)
    #expect(try martlet.terminate() == 0)
    let log = martlet.log
    let stopping = try #require(log.firstRange(of: "stopping: Martlet still accepts"))
    let draining = try #require(log.firstRange(of: "draining: "))
    #expect(stopping.lowerBound < draining.lowerBound)
  }

  @Test func `SIGTERM under load breaks no answer that has begun`() throws {
    let stub = try StubBackend("ok")
    let martlet = try MartletProcess(backends: [stub])
    let load = Load(martlet, clients: 4)
    _ = load.nextAnswers(100)
    #expect(try martlet.terminate() == 0)
    let errors = load.stop().errors
    // After that there is no listener: connects are refused, and there are no other errors.
    #expect(errors.allSatisfy { $0.contains("can't connect") }, "\(Set(errors))")
  }

  @Test func `a second signal ends at once, and the exit status reports cut connections`() throws {
    let folder = TemporaryFolder()
    let stub = try StubBackend.halving(until: folder.path("never"))
    let martlet = try MartletProcess(backends: [stub])
    let wire = try martlet.wire()
    try wire.send("GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
    _ = try wire.takeHead()
    martlet.signal(SIGTERM)
    eventually("it drains") { martlet.log.contains("draining") }
    martlet.signal(SIGTERM)
    #expect(try martlet.process.waitForExit(atMost: 5) == 70)
    let line = try #require(try martlet.accessLines().first)
    #expect(line["status"] as? Int == 200 && line["failure"] as? String == "stopped")
    try folder.write("", to: "never")
  }

  @Test func `draining ends at its timeout`() throws {
    let folder = TemporaryFolder()
    let stub = try StubBackend.halving(until: folder.path("never"))
    let martlet = try MartletProcess(backends: [stub], rest: #""limits": { "drain": "300ms" }"#)
    let wire = try martlet.wire()
    try wire.send("GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
    _ = try wire.takeHead()
    martlet.signal(SIGINT)
    #expect(try martlet.process.waitForExit(atMost: 5) == 70)
    let line = try #require(try martlet.accessLines().first)
    #expect(line["status"] as? Int == 200 && line["failure"] as? String == "drain-timeout")
    #expect(
      martlet.log.contains(" warning active requests were cut off at the stop requests=1"),
      "\(martlet.log)")
    let attempts = try #require(line["attempts"] as? [[String: Any]])
    #expect(attempts.map { $0["result"] as? String } == ["abandoned"])
    // The client can see that it is incomplete.
    #expect(throws: HarnessError.self) { try wire.take(10) }
    try folder.write("", to: "never")
  }

  @Test func `a client without a response at the end of the drain time gets 503`() throws {
    let silent = try StubBackend { _, wire in
      _ = try wire.takeRest()
      return false
    }
    let martlet = try MartletProcess(
      backends: [silent], pool: #""timeouts": { "response": "1h", "request": "1h" }"#,
      rest: #""limits": { "drain": "300ms" }"#)
    let wire = try martlet.wire()
    try wire.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    eventually("it is there") { silent.requests.count == 1 }
    martlet.signal(SIGTERM)
    let answer = try wire.takeResponse()
    #expect(answer.status == 503 && answer["Connection"] == "close")
    #expect(answer["Retry-After"] != nil && wire.endsQuietly())
    #expect(try martlet.process.waitForExit(atMost: 5) == 70)
    let line = try #require(try martlet.accessLines().first)
    #expect(line["status"] as? Int == 503 && line["failure"] as? String == "drain-timeout")
  }
}
