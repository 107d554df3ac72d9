// `martlet explain`: the route, the backends, and the answer without a backend.

import Foundation
import Testing

@Suite struct ExplainTests {
  /// Runs a command with this process's socket.
  private func command(_ martlet: MartletProcess, _ arguments: String...) throws -> CommandResult {
    try run(
      [Installation.binary] + arguments + ["--socket", martlet.folder.path("admin.sock")],
      in: martlet.folder.path)
  }

  @Test func `explain prints the route and why each backend can be selected`() throws {
    let (one, two) = (try StubBackend("one"), try StubBackend("two"))
    let martlet = try MartletProcess(backends: [one, two])
    #expect(try command(martlet, "drain", "default/\(one.address)").status == 0)
    let text = try command(martlet, "explain", "GET", "http://a/x/../y").output
    #expect(text.contains("\npool      default\n"), "\(text)")
    #expect(text.contains("  draining by an operator\n"), "\(text)")
    let result = try command(martlet, "explain", "--json", "GET", "http://a/x/../y")
    let value = try JSONSerialization.jsonObject(with: Data(result.output.utf8))
    let object = try #require(value as? [String: Any])
    #expect(object["path"] as? String == "/y" && object["pool"] as? String == "default")
    let candidates = try #require(object["candidates"] as? [[String: Any]])
    #expect(candidates.map { $0["backend"] as? String } == [two.address, one.address])
    #expect(candidates[1]["verdict"] as? String == "draining by an operator")
    #expect(one.requests.isEmpty && two.requests.isEmpty)
  }

  @Test func `without an available backend or a listener on the port explain says so`() throws {
    let dead = "127.0.0.1:\(try freePort())"
    let martlet = try MartletProcess(
      backends: [dead], pool: #""health": { "interval": "100ms", "fall": 1 }"#)
    func explain(_ url: String) throws -> String {
      try command(martlet, "explain", "GET", url).output
    }
    try eventually("it is down") {
      try explain("http://a:\(martlet.port)/").contains("503, no backend is available (all-down)")
    }
    #expect(!(try explain("http://a:\(martlet.port)/").contains("no listener")))
    #expect(try explain("http://a/").contains("no listener has port 80"))
    let path = try command(martlet, "explain", "GET", "/foo")
    #expect(
      path.errors.contains("'/foo' is not a whole URL; write one such as https://example.com/foo"))
  }

  @Test func `explain takes the listener that has the port of the URL`() throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(
      """
      { "listeners": [{ "name": "front", "listen": "127.0.0.1:0" },
          { "name": "back", "listen": "127.0.0.1:0" }],
        "pools": [{ "backends": ["\(stub.address)"] }],
        "routes": [{ "listeners": ["front"], "forward": "default" },
          { "listeners": ["back"], "respond": { "status": 200 } }] }
      """, keeping: [stub])
    func explain(_ url: String) throws -> CommandResult {
      try command(martlet, "explain", "GET", url)
    }
    let (front, back) = (martlet.ports[0], martlet.ports[1])
    #expect(try explain("http://a:\(front)/").output.contains("listener  front\n"))
    #expect(try explain("http://a:\(back)/").output.contains("listener  back\n"))
    let wrong = try explain("https://a:\(back)/")
    #expect(wrong.status == 70)
    #expect(wrong.errors.contains("the listener back on port \(back) speaks http"))
    let none = try explain("http://a:9/")
    #expect(none.status == 70 && none.errors.contains("no listener has port 9; there are http://"))
    // Clients may use another port than the one of the listener.
    #expect(try explain("http://a/").output.contains("listener  front\n"))
  }
}
