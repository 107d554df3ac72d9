// A reload that is refused at its last step, after all others were prepared: no part of it applies.

import Foundation
import Testing

@Suite(.serialized) struct RefusedReloadTests {
  /// A configuration with a second listener. It is refused if the port is in use.
  private func configuration(
    _ backends: [any ConfiguredBackend], pool: String, taken: Listening? = nil
  ) -> String {
    let second = taken.map { #", { "listen": "127.0.0.1:\#($0.port)" }"# } ?? ""
    return """
      { "listeners": [{ "listen": "127.0.0.1:0" }\(second)],
        "pools": [{ "backends": [\(backends.map(\.json).joined(separator: ", "))], \(pool) }],
        "log": { "target": "access.log" }, "watch": false }
      """
  }

  private static func answers(_ status: String) -> StubBackend.Answer {
    { request, wire in
      let line = request.target == "/health" ? status : "200 OK"
      try wire.send("HTTP/1.1 \(line)\r\nContent-Length: 0\r\n\r\n")
      return true
    }
  }

  @Test func `it doesn't bring back a backend that checks have taken out`() throws {
    let broken = try StubBackend(answer: Self.answers("500 Broken"))
    let stub = try StubBackend(answer: Self.answers("200 OK"))
    let taken = try Listening()
    let checks = #""check": "http", "path": "/health", "interval": "100ms", "fall": 1"#
    let martlet = try MartletProcess(
      configuration([broken, stub], pool: #""health": { \#(checks) }"#),
      keeping: [broken, stub])
    func downs() -> Int { martlet.log.components(separatedBy: "backend down").count - 1 }
    eventually("it is down") { downs() == 1 }
    try martlet.reload(configuration([broken, stub], pool: #""health": "off""#, taken: taken))
    #expect(martlet.log.contains("can't listen on 127.0.0.1:\(taken.port)"))
    let count = broken.connectionCount
    eventually("it is still checked") { broken.connectionCount > count + 2 }
    #expect(downs() == 1)
    // When the configuration is in use, they no longer count.
    try martlet.reload(configuration([broken], pool: #""health": "off""#))
    try eventually("it serves") { try martlet.get().status == 200 }
  }

  @Test func `backends of a refused reload keep the health settings in force`() throws {
    let (old, new) = (try StubBackend("old"), try StubBackend("new"))
    let taken = try Listening()
    let hour = #""health": { "interval": "1h", "fast-interval": "1h""#
    let martlet = try MartletProcess(
      configuration([old], pool: hour + " }"), keeping: [old, new])
    try martlet.reload(
      configuration([new], pool: hour + #", "initially": "down" }"#, taken: taken))
    #expect(martlet.log.contains("the new configuration is refused"))
    try martlet.reload(configuration([new], pool: hour + " }"))
    try eventually("the new backend serves") { try martlet.get().text == "new" }
  }
}
