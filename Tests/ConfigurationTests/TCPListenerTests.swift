// TCP listeners: the order of their routes, and keys that don't go together.

import Testing

@testable import Configuration

@Suite struct TCPListenerTests {
  private static let pools = """
    "pools": [{ "name": "a", "backends": ["a:1"] }, { "name": "b", "backends": ["b:1"] },
      { "name": "web", "backends": ["w:1"] }], "routes": [{ "forward": "web" }]
    """

  private func file(_ keys: String, more: String = "") -> String {
    """
    { "listeners": [{ "listen": "*:1", "protocol": "tcp", \(keys) }\(more)], \(Self.pools) }
    """
  }

  private func errors(_ text: String) -> [String] {
    Configuration.read(Array(text.utf8)).diagnostics.filter { $0.severity == .error }
      .map { "\($0)" }
  }

  private func warnings(_ text: String) -> [String] {
    Configuration.read(Array(text.utf8)).diagnostics.filter { $0.severity == .warning }
      .map { "\($0)" }
  }

  @Test func aListenerWithOnePoolNeedsNoMore() throws {
    let read = try #require(
      configuration(
        #"{ "listeners": [{ "listen": "*:1", "protocol": "tcp" }], \#(somePools) }"#))
    #expect(read.listeners[0].pool == "default" && read.routes.isEmpty)
    #expect(read.tcpPools == ["default"])
    #expect(read.pools[0].timeouts.relayIdleTime(isTCP: true) == .seconds(300))
    #expect(read.pools[0].timeouts.relayIdleTime(isTCP: false) == .seconds(3600))
    #expect(read.pools[0].timeouts.idleTime(isTCP: true) == .seconds(30))
    #expect(read.pools[0].timeouts.idleTime(isTCP: false) == .seconds(60))
  }

  @Test func theMostSpecificRouteComesFirst() throws {
    let read = try #require(
      configuration(
        file(
          """
          "pool": "a", "routes": [
            { "sni": "*.example.com", "pool": "a" }, { "alpn": "x", "pool": "b" },
            { "sni": "*.long.example.com", "pool": "b" },
            { "sni": ["db.example.com", "e.f"], "pool": "a" },
            { "sni": "*.example.com", "alpn": ["h2", "x"], "pool": "b" }]
          """)))
    #expect(
      read.places(on: read.listeners[0]).map { "\($0) \($0.pool)" } == [
        "db.example.com a", "e.f a", "*.long.example.com b", "*.example.com (h2) b",
        "*.example.com (x) b", "*.example.com a", "* (x) b",
      ])
    #expect(read.routes(on: read.listeners[0]).isEmpty)
  }

  @Test(arguments: [
    (#""name": "x""#, "needs a pool, or routes"),
    (#""pool": "c""#, "there is no pool \"c\""),
    (#""routes": [{ "sni": "x.y", "pool": "c" }]"#, "there is no pool \"c\""),
    (#""pool": "web""#, "belongs to a TCP listener"),
    (#""routes": [{ "pool": "a" }]"#, "matches every connection"),
    (
      #""routes": [{ "sni": "x.y", "pool": "a" }, { "sni": ["z.y", "X.y"], "pool": "b" }]"#,
      "same match: x.y"
    ),
    (#""pool": "a", "alpn": ["x"]"#, "without tls"),
    (#""pool": "a", "routes": [{ "alpn": "a b", "pool": "a" }]"#, "not the name of a protocol"),
    (
      #""tls": { "certificates": [{ "chain": "c", "key": "k" }] }, "alpn": ["x"],"#
        + #" "routes": [{ "alpn": "y", "pool": "a" }]"#,
      "can't agree on \"y\""
    ),
  ])
  func aMistakeIsReported(keys: String, message: String) {
    let found = errors(file(keys))
    #expect(found.contains { $0.contains(message) }, "\(found)")
  }

  @Test func keysOfTheOtherProtocolHaveNoEffect() {
    let tcp = warnings(file(#""pool": "a", "desync": "monitor""#))
    #expect(tcp.contains { $0.contains("listeners[0].desync: it has no effect") }, "\(tcp)")
    let tls = #""tls": { "certificates": [{ "chain": "c", "key": "k" }] }"#
    for keys in [#""hsts": {}"#, #""redirect-to-https": 443, \#(tls)"#] {
      let text = file(#""pool": "a", \#(keys)"#)
      #expect(errors(text).isEmpty)
      #expect(warnings(text).contains { $0.contains("a TCP listener has no HTTP") })
    }
    for (key, value) in [
      ("pool", #""default""#), ("routes", #"[{ "sni": "x.y", "pool": "default" }]"#),
      ("alpn", #"["x"]"#), ("max-connections", "3"), ("max-connections-per-client", "3"),
    ] {
      let http = errors(
        #"{ "listeners": [{ "listen": "*:1", "\#(key)": \#(value) }], \#(somePools) }"#)
      #expect(http.count == 1 && http[0].contains("\(key): only TCP listeners have it"), "\(http)")
      #expect(http[0].contains(#"did you mean "protocol": "tcp" beside it?"#), "\(http)")
    }
  }

  @Test(arguments: [
    // A misspelt protocol, and names that can't be read.
    #""protocol": "tpc", "pool": "a""#,
    #""protocol": "tcp", "pool": "a", "routes": [{ "sni": "*.*.test", "pool": "a" }]"#,
    #""protocol": "tcp", "pool": "a", "routes": [{ "sni": "a.test:443", "pool": "a" }]"#,
    #""protocol": "tcp", "pool": "a", "routes": [{ "alpn": "a b", "pool": "a" }]"#,
  ])
  func aMistakeIsReportedOnce(keys: String) {
    let found = errors(#"{ "listeners": [{ "listen": "*:1", \#(keys) }], \#(Self.pools) }"#)
    #expect(found.count == 1, "\(found)")
  }

  @Test func aPoolIsForConnectionsOrForRequests() {
    let listener =
      #"{ "listeners": [{ "name": "t", "listen": "*:1", "protocol": "tcp", "pool": "a" }"#
    for (keys, message) in [
      (#""protocol": "h2""#, "no requests"), (#""stickiness": "c""#, "no requests"),
      (#""health": { "check": "grpc" }"#, "has no gRPC"),
      (#""strategy": "maglev", "hash-key": "header:X""#, "no requests with header:X"),
      (#""strategy": "maglev", "hash-key": "cookie:x""#, "no requests with cookie:x"),
      (#""strategy": "maglev", "hash-key": "query:x""#, "no requests with query:x"),
    ] {
      let found = errors(
        #"\#(listener)], "pools": [{ "name": "a", "backends": ["a:1"], \#(keys) }] }"#)
      #expect(found.count == 1 && found[0].contains(message), "\(found)")
    }
    for keys in [
      #""timeouts": { "grpc-max": "1s" }"#, #""retry": { "grpc-statuses": ["unavailable"] }"#,
      #""retry": { "statuses": [503] }"#, #""timeouts": { "response": "1s" }"#,
      #""keep-alive": { "max-age": "1h" }"#, #""desync": "tolerant""#,
    ] {
      let text = #"\#(listener)], "pools": [{ "name": "a", "backends": ["a:1"], \#(keys) }] }"#
      #expect(errors(text).isEmpty)
      let found = warnings(text)
      #expect(found.count == 1 && found[0].contains("no requests"), "\(found)")
    }
    let routed = errors(
      #"\#(listener), { "listen": "*:2" }], "pools": [{ "name": "a", "backends": ["a:1"] },"#
        + #" { "name": "b", "backends": ["b:1"] }],"#
        + #" "routes": [{ "forward": "b", "listeners": ["t"] }] }"#)
    #expect(routed.contains { $0.contains("\"t\" is a TCP listener") }, "\(routed)")
  }

  @Test func anHTTPListenerWithoutARouteIsReported() {
    let tcp = #"{ "listen": "*:1", "protocol": "tcp" }"#
    let lonely = warnings(#"{ "listeners": [\#(tcp), { "listen": "*:2" }], \#(somePools) }"#)
    #expect(lonely.count == 1, "\(lonely)")
    #expect(lonely.first?.contains("listeners[1]: no route is for this") == true)
    let other = warnings(
      #"{ "listeners": [{ "name": "a", "listen": "*:1" }, { "listen": "*:2" }], \#(somePools), "#
        + #""routes": [{ "listeners": ["a"] }] }"#)
    #expect(other.count == 1 && other[0].contains("each request gets 404"), "\(other)")
    for keys in [#""redirect-to-https": 443"#, #""backlog": 5"#] {
      let text = #"{ "listeners": [{ "listen": "*:1", \#(keys) }], \#(somePools) }"#
      #expect(warnings(text).isEmpty)
    }
  }

  @Test func theSummaryHasWhatConnectionsUse() throws {
    let read = try #require(
      configuration(
        """
        { "listeners": [{ "listen": "*:1", "protocol": "tcp", "alpn": ["x"], "max-connections": 9,
            "tls": { "certificates": [{ "chain": "c", "key": "k" }] } }],
          "zone": "z", "pools": [{ "name": "a", "strategy": "maglev", "hash-key": "5-tuple",
            "bounded-load": 1.25, "backends": ["a:1", { "address": "b:1", "zone": "z" }],
            "failover": { "factor": 2, "panic-percent": 30 }, "when-all-down": "fail-open",
            "health": { "send": "PING\\r\\n", "reply": "+PONG", "port": 7 } }] }
        """))
    let summary = read.summary()
    for part in [
      "listen   *:1  tcp  ALPN x  TLS 1.2 and later, c\n", "           max-connections 9\n",
      "pool     a  maglev of 5-tuple, bounded-load 1.25  tcp\n",
      "failover factor 2; health is ignored if fewer than 30 % are healthy; own zone z;"
        + " when-all-down fail-open\n",
      #"tcp check of port 7 of "PING\r\n" for the reply "+PONG" every 5s"#,
      "timeouts: connect 3s, relay-idle 5m, idle 30s after one side has finished; max-attempts 3\n",
    ] {
      #expect(summary.contains(part), "\(summary)")
    }
    #expect(!summary.contains("response 30s"))
  }

  @Test func aCheckMaySendBytesAndExpectThem() throws {
    let file = { (keys: String) in
      #"{ "pools": [{ "backends": ["a:1"], "health": { \#(keys) } }] }"#
    }
    let read = try #require(configuration(file(#""send": "\u0000\u00ff", "reply": "N""#)))
    #expect(read.pools[0].health?.send == "\u{0}\u{FF}")
    #expect(warnings(file(#""send": "x""#)).contains { $0.contains("without reply") })
    let foreign = errors(file(#""reply": "\u0100""#))
    #expect(foreign.contains { $0.contains("each character is a byte") })
    #expect(
      warnings(file(#""check": "http", "reply": "x""#)).contains { $0.contains("ignores it") })
  }
}
