// UDP listeners: their defaults, and keys that don't go together.

import Testing

@testable import Configuration

@Suite struct UDPListenerTests {
  private func file(_ keys: String, pool: String = "") -> String {
    """
    { "listeners": [{ "listen": "*:1", "protocol": "udp", \(keys) }],
      "pools": [{ "name": "a", "backends": ["a:1"] \(pool) },
        { "name": "web", "backends": ["w:1"] }], "routes": [{ "forward": "web" }] }
    """
  }

  private func found(_ text: String, _ severity: Diagnostic.Severity) -> [String] {
    Configuration.read(Array(text.utf8)).diagnostics.filter { $0.severity == severity }
      .map { "\($0)" }
  }

  @Test func aListenerWithOnePoolNeedsNoMore() throws {
    let read = try #require(
      configuration(
        #"{ "listeners": [{ "listen": "*:1", "protocol": "udp" }], \#(somePools) }"#))
    #expect(read.listeners[0].pool == "default" && read.routes.isEmpty)
    #expect(read.udpPools == ["default"] && read.tcpPools.isEmpty)
    #expect(read.spoken(by: read.pools[0]) == "udp")
    #expect(read.pools[0].health == nil)
    #expect(read.listeners[0].sessions == Configuration.Sessions())
    #expect(read.listeners[0].sessions.idleTime == .seconds(120))
    #expect(read.routes(on: read.listeners[0]).isEmpty)
  }

  @Test func theTimeIsShorterWithResponses() throws {
    let read = try #require(configuration(file(#""pool": "a", "responses": 1"#)))
    #expect(read.listeners[0].sessions.idleTime == .seconds(5))
  }

  @Test func tcpAndUDPHavePortsOfTheirOwn() throws {
    let text = """
      { "listeners": [
          { "name": "t", "listen": "*:53", "protocol": "tcp", "pool": "t" },
          { "name": "u", "listen": "*:53", "protocol": "udp", "pool": "u" }],
        "pools": [{ "name": "t", "backends": ["a:1"] }, { "name": "u", "backends": ["a:1"] }] }
      """
    #expect(found(text, .error).isEmpty)
    let twice = text.replacing("\"tcp\"", with: "\"udp\"")
    #expect(found(twice, .error).contains { $0.contains("already used by the listener \"t\"") })
  }

  @Test(arguments: [
    (#""name": "x""#, "", "a UDP listener needs a pool"),
    (#""pool": "c""#, "", "there is no pool \"c\""),
    (#""pool": "web""#, "", "belongs to a UDP listener"),
    (#""pool": "a", "routes": []"#, "", "has no routes"),
    (#""pool": "a", "max-connections": 4"#, "", "write max-sessions"),
    (
      #""pool": "a", "tls": { "certificates": [{ "chain": "c", "key": "k" }] }"#, "",
      "DTLS is not supported"
    ),
    (#""pool": "a""#, #", "stickiness": "c""#, "gets datagrams of a UDP listener"),
    (#""pool": "a""#, #", "protocol": "h2""#, "gets datagrams of a UDP listener"),
    (#""pool": "a""#, #", "tls": {}"#, "DTLS is not supported"),
    (#""pool": "a""#, #", "health": {}"#, "a UDP check needs send"),
    (#""pool": "a""#, #", "health": { "check": "grpc" }"#, "has no gRPC"),
    (#""pool": "a""#, #", "proxy-protocol": "v1""#, "v1 can't describe datagrams"),
    (
      #""pool": "a""#, #", "strategy": "maglev", "hash-key": "cookie:c""#,
      "no requests with cookie:c"
    ),
  ])
  func aMistakeIsReported(keys: String, pool: String, message: String) {
    let errors = found(file(keys, pool: pool), .error)
    #expect(errors.contains { $0.contains(message) }, "\(errors)")
  }

  @Test(arguments: ["desync", "backlog", "tcp-keep-alive"])
  func keysOfConnectionsHaveNoEffect(key: String) {
    let value = ["desync": #""monitor""#, "backlog": "9", "tcp-keep-alive": #""off""#][key] ?? ""
    let text = file(#""pool": "a", "\#(key)": \#(value)"#)
    #expect(found(text, .error).isEmpty)
    #expect(found(text, .warning).contains { $0.contains("has no connections") })
  }

  @Test(arguments: ["timeouts", "queue", "keep-alive"])
  func keysOfOtherPoolsHaveNoEffect(key: String) {
    let text = file(#""pool": "a""#, pool: #", "\#(key)": {}"#)
    #expect(found(text, .warning).contains { $0.contains("pools[0].\(key): it has no effect") })
  }

  @Test(arguments: ["http", "tcp"])
  func sessionsAreOfUDPOnly(spoken: String) {
    let text = """
      { "listeners": [{ "listen": "*:1", "protocol": "\(spoken)", "max-sessions": 4 }],
        "pools": [{ "backends": ["a:1"], "health": { "check": "udp", "send": "x" } }] }
      """
    let errors = found(text, .error)
    #expect(errors.contains { $0.contains("max-sessions: only UDP listeners have it") })
    #expect(errors.contains { $0.contains("only a pool of a UDP listener has it") })
  }

  @Test func aPoolHasOneKindOfListener() {
    let text = """
      { "listeners": [{ "listen": "*:1", "protocol": "udp" },
          { "listen": "*:2", "protocol": "tcp" }],
        \(somePools) }
      """
    #expect(found(text, .error).contains { $0.contains("a TCP and a UDP listener") })
  }
}
