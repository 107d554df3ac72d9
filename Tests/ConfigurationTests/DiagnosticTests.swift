// Golden diagnostics: the exact message and position for common mistakes.

import Testing

@testable import Configuration

private let kindsTable: [(String, String)] = [
  (
    #"[]"#,
    """
    1:1: error: a list is not an object; write { } with the keys listeners, pools, \
    routes, error-pages, limits, paths, log, tracing, trusted-proxies, forwarding-field, via, \
    via-to-backends, request-id, upgrades, zone, workers, process, admin, watch
    """
  ),
  (
    #"{"pools": {}}"#,
    """
    1:11: error: pools: an object is not a list; write [ ... ], where each item is an object \
    (did you mean [{ ... }]?)
    """
  ),
  (
    #"{"pools": [{}]}"#,
    """
    1:12: error: pools[0]: the key "backends" is missing: a list; write [ ... ], where each \
    item is the address of a backend
    """
  ),
  (
    #"{"pools": [{"backend": ["a:1"]}]}"#,
    """
    1:13: error: pools[0].backend: there is no such key; the keys here are name, strategy, \
    hash-key, bounded-load, backends, protocol, tls, health, ejection, queue, slow-start, \
    stickiness, retry, timeouts, keep-alive, tcp-keep-alive, when-all-down, failover, zone, \
    desync, proxy-protocol, source-address, resolve-interval (did you mean "backends"?)
    """
  ),
  (
    #"{"pools": [{"backends": []}]}"#,
    """
    1:25: error: pools[0].backends: the list is empty; at least one item is required
    """
  ),
  (
    #"{"listeners": [{"listen": "*:1", "tls": {}}], \#(somePools)}"#,
    """
    1:41: error: listeners[0].tls: the key "certificates" is missing: a list; write \
    [ ... ], where each item is an object
    """
  ),
  (
    #"{"error-pages": {"200": "a.html"}, \#(somePools)}"#,
    """
    1:18: error: error-pages.200: "200" is not the status of an error; write one from "400" to \
    "599", or "4xx" or "5xx" for a class
    """
  ),
  (
    #"{"error-pages": {"404": "a.php"}, \#(somePools)}"#,
    """
    1:25: error: error-pages.404: "a.php": unknown file type; the name must end in .html, .htm, \
    .txt, .json or .xml
    """
  ),
  (
    #"{"tracing": {"endpoint": "https://c"}, \#(somePools)}"#,
    """
    1:26: error: tracing.endpoint: "https://c": https to a collector is not supported; use http \
    to a collector on this machine that forwards the traces
    """
  ),
  (
    #"{"tracing": {"endpoint": "c:4318"}, \#(somePools)}"#,
    """
    1:26: error: tracing.endpoint: "c:4318" is not the URL of a collector; write \
    "http://localhost:4318" or "http://collector:4318/v1/traces"
    """
  ),
  (
    #"{"tracing": {"endpoint": "http://c", "sample": 2}, \#(somePools)}"#,
    """
    1:48: error: tracing.sample: 2 is not a fraction; write a number from 0 to 1, such as 0.01
    """
  ),
  (
    #"{"via": null, \#(somePools)}"#,
    """
    1:9: error: via: null is not a boolean; write true or false
    """
  ),
  (
    #"{"upgrades": ["websocket", "*"], \#(somePools)}"#,
    """
    1:28: error: upgrades[1]: "*" is not a wildcard; list each protocol, such as "websocket"
    """
  ),
  (
    #"{"upgrades": ["SPDY/3.1", "a/b/c"], \#(somePools)}"#,
    """
    1:27: error: upgrades[1]: "a/b/c" is not a protocol; write one such as "websocket" or \
    "SPDY/3.1"
    """
  ),
  (
    #"{"upgrades": ["HTTP/2.0"], \#(somePools)}"#,
    """
    1:15: error: upgrades[0]: "HTTP/2.0" is HTTP: its requests would bypass routes, limits and \
    logs
    """
  ),
  (
    #"{"workers": 0, \#(somePools)}"#,
    """
    1:13: error: workers: 0 is out of range; 1 to 1024 is allowed
    """
  ),
  (
    #"{"workers": 1.5, \#(somePools)}"#,
    """
    1:13: error: workers: 1.5 is not a whole number; 1 to 1024 is allowed
    """
  ),
  (
    #"{"trusted-proxies": ["10.0.0.1/8"], \#(somePools)}"#,
    """
    1:22: error: trusted-proxies[0]: "10.0.0.1/8" is not a block of addresses; write \
    "10.0.0.0/8", "2001:db8::/32" or one address; all bits after the prefix must be 0 (did you \
    mean "10.0.0.0/8"?)
    """
  ),
  (
    #"{"log": {"access": "jsn"}, \#(somePools)}"#,
    """
    1:20: error: log.access: "jsn" is not a format of the access log; one of json, \
    combined, text, off, or a template such as "$client $status" (did you mean "json"?)
    """
  ),
  (
    #"{"routes": [{"respond": {"status": 99}}]}"#,
    """
    1:36: error: routes[0].respond.status: 99 is out of range; 200 to 599 is allowed
    """
  ),
  (
    #"{"routes": [{"redirect": {"status": 304, "host": "a"}}]}"#,
    """
    1:37: error: routes[0].redirect.status: 304 is not a redirect status; one of 301, 302, \
    303, 307, 308
    """
  ),
  (
    #"{"routes": [{"fault": {"delay-percent": 3}}], \#(somePools)}"#,
    """
    1:23: error: routes[0].fault: set delay or abort
    """
  ),
  (
    #"{"routes": [{"grpc-web": true}], \#(somePools)}"#,
    """
    1:26: error: routes[0].grpc-web: gRPC needs HTTP/2: set "protocol": "h2" in the pool "default"
    """
  ),
  (
    #"{"routes": [{"respond": {}, "grpc-web": true}]}"#,
    """
    1:41: error: routes[0].grpc-web: only a route with forward can translate gRPC-Web
    """
  ),
  (
    #"{"routes": [{"respond": {}, "response": {"set": {"Connection": "x"}}}]}"#,
    """
    1:50: error: routes[0].response.set.Connection: "Connection" controls framing \
    or routing, so only Martlet may set it
    """
  ),
]

@Suite("Diagnostics")
struct DiagnosticTests {
  @Test("all mistakes of a file are reported at once, in the order of the text")
  func allAtOnce() {
    let text = """
      {
        "listeners": [{ "listen": "8443", "tsl": {} }],
        "pools": [
          {
            "strategy": "round-robbin",
            "backends": ["127.0.0.1:9001", { "weight": 257 }],
            "health": { "interval": 5, "rise": "2" },
            "timeouts": { "request": "50 s" }
          }
        ],
        "limits": { "body-size": "1GB", "max-body": 1 },
        "worker": 4 // one is missing
      }
      """
    #expect(
      diagnose(text) == [
        """
        c.json:2:29: error: listeners[0].listen: "8443" is not an address to listen on; write \
        "127.0.0.1:8443", "[::1]:8443", "localhost:8443" for both, or "*:8443" for all addresses \
        (did you mean "*:8443"?)
        """,
        """
        c.json:2:37: error: listeners[0].tsl: there is no such key; the keys here are name, \
        listen, protocol, pool, routes, alpn, max-connections, max-connections-per-client, \
        max-sessions, max-sessions-per-client, idle, responses, per-datagram, tls, \
        protocols, redirect-to-https, hsts, desync, half-close, backlog, \
        tcp-keep-alive, proxy-protocol (did you mean "tls"?)
        """,
        """
        c.json:5:19: error: pools[0].strategy: "round-robbin" is not a strategy; one of \
        round-robin, weighted-round-robin, least-connections, random, ip-hash, maglev, \
        power-of-two, least-time (did you mean "round-robin"?)
        """,
        """
        c.json:6:38: error: pools[0].backends[1]: the key "address" is missing: the address of a \
        backend; write "10.0.0.1:8080", "[2001:db8::1]:8080", "app.internal:8080" or \
        "unix:/run/app.sock"
        """,
        """
        c.json:6:50: error: pools[0].backends[1].weight: 257 is out of range; 1 to 256 is allowed
        """,
        """
        c.json:7:31: error: pools[0].health.interval: 5 is not a duration; write one such as \
        "250ms", "5s" or "2m", from 100ms to 1h (did you mean "5s"?)
        """,
        """
        c.json:7:42: error: pools[0].health.rise: "2" is not a whole number; 1 to 255 is allowed \
        (did you mean 2?)
        """,
        """
        c.json:8:32: error: pools[0].timeouts.request: "50 s" is not a duration; write one such \
        as "250ms", "5s" or "2m", from 10ms to 1d (did you mean "50s"?)
        """,
        """
        c.json:11:28: error: limits.body-size: "1GB" is not a size; write one such as "64KiB" or \
        "10MiB", from 0B to 1024TiB; or "off" (did you mean "1GiB"?)
        """,
        """
        c.json:11:35: error: limits.max-body: there is no such key; the keys here are head-size, \
        field-count, response-head-size, response-field-count, target-size, body-size, \
        chunk-extensions, trailer-size, connections, connections-per-address, memory, \
        requests-per-connection, streams-per-connection, handshakes, handshake, head, body-idle, \
        minimum-rate, rate-grace, keep-alive, linger, lame-duck, drain, upgrade, collect-size, \
        collect-wait
        """,
        """
        c.json:12:3: error: worker: there is no such key; the keys here are listeners, pools, \
        routes, error-pages, limits, paths, log, tracing, trusted-proxies, forwarding-field, via, \
        via-to-backends, request-id, upgrades, zone, workers, process, admin, watch (did you \
        mean "workers"?)
        """,
      ])
  }

  @Test("after a JSON error wrong values are still reported, without false errors")
  func broken() {
    #expect(
      diagnose(
        """
        {
          "pools": [{ "backends": [127.0.0.1], "strategy": "rr" }],
          "via": "yes",
        }
        """) == [
          """
          c.json:2:28: error: 127.0.0.1 is not a valid JSON number; text needs double quotes
          """,
          """
          c.json:2:52: error: pools[0].strategy: "rr" is not a strategy; one of round-robin, \
          weighted-round-robin, least-connections, random, ip-hash, maglev, power-of-two, \
          least-time
          """,
          """
          c.json:3:10: error: via: "yes" is not a boolean; write true or false (did you mean true?)
          """,
          "c.json:3:15: error: a comma is not allowed before a closing bracket",
        ])
  }

  @Test("each kind of value reports what it found and what is allowed", arguments: kindsTable)
  func kinds(_ text: String, _ expected: String) {
    #expect(diagnose(text) == ["c.json:" + expected])
  }

  @Test(
    "a value of the wrong type gets a suggestion where one is obvious",
    arguments: [
      (#""limits": {"body-size": 2147483648}"#, #""2GiB""#),
      (#""limits": {"head-size": 32768}"#, #""32KiB""#),
      (#""limits": {"head": 5}"#, #""5s""#), (#""limits": {"head": "5 sec"}"#, #""5s""#),
      (#""limits": {"connections": "500"}"#, "500"),
      (#""limits": {"body-size": false}"#, #""off""#),
      (#""log": {"access": false}"#, #""off""#), (#""via": "on""#, "true"), (#""via": 0"#, "false"),
      (#""request-id": false"#, #""off""#),
      (#""trusted-proxies": "10.0.0.0/8""#, #"["10.0.0.0/8"]"#),
      (#""trusted-proxies": ["2001:db8::1/32"]"#, #""2001:db8::/32""#),
      (#""listeners": [{"listen": 80}]"#, #""*:80""#),
      (#""listeners": [{"listen": "*:80", "name": 80}]"#, #""80""#),
      (#""routes": [{"host": "a.example:443"}]"#, #""a.example""#),
      (#""routes": [{"path": "api/*"}]"#, #""/api""#),
      (#""routes": [{"redirect": {"status": "301", "host": "a"}}]"#, "301"),
    ])
  func obvious(_ keys: String, _ suggestion: String) {
    let messages = diagnose("{\(keys), \(somePools)}")
    #expect(messages.count == 1)
    #expect(messages.first?.hasSuffix("(did you mean \(suggestion)?)") == true, "\(messages)")
  }

  @Test(
    "\"off\" is named among what is allowed, and only there",
    arguments: [
      (
        #""keep-alive": {"max-age": 5}"#,
        #"5 is not a duration; write one such as "5s" or "2m", from 1s to 7d; or "off""#
          + #" (did you mean "5s"?)"#
      ),
      (
        #""timeouts": {"grpc-max": "1ms"}"#,
        #""1ms" is out of range; 10ms to 7d or "off" is allowed"#
      ),
      (#""timeouts": {"idle": "1ms"}"#, #""1ms" is out of range; 10ms to 1d is allowed"#),
      (
        #""health": {"interval": true}"#,
        #"true is not a duration; write one such as "250ms", "5s" or "2m", from 100ms to 1h"#
      ),
      (#""retry": {"grpc-statuses": [14]}"#, #"(did you mean "unavailable"?)"#),
      (#""retry": {"grpc-statuses": ["14"]}"#, #"(did you mean "unavailable"?)"#),
      (
        #""retry": {"grpc-statuses": ["DEADLINE_EXCEEDED"]}"#,
        #"(did you mean "deadline-exceeded"?)"#
      ),
    ])
  func off(_ keys: String, _ ending: String) {
    let messages = diagnose(#"{"pools": [{"backends": ["a:1"], \#(keys)}]}"#)
    #expect(messages.count == 1 && messages.first?.hasSuffix(ending) == true, "\(messages)")
  }

  @Test("a version of TLS without its quotes, or a bare port of a backend, gets them")
  func unquoted() {
    let version = diagnose(
      #"{"listeners": [{"listen": "*:1", "tls": {"minimum-version": 1.3, "certificates":"#
        + #" [{"chain": "c", "key": "k"}]}}], \#(somePools)}"#)
    #expect(
      version == [
        """
        c.json:1:61: error: listeners[0].tls.minimum-version: 1.3 is not a TLS version; one of \
        "1.2", "1.3" (did you mean "1.3"?)
        """
      ])
    for port in ["8080", #""8080""#, #"":8080""#] {
      let messages = diagnose(#"{"pools": [{"backends": [\#(port)]}]}"#)
      #expect(messages.first?.hasSuffix(#"(did you mean "127.0.0.1:8080"?)"#) == true)
    }
  }

  @Test(
    "no suggestion is itself out of range",
    arguments: [
      #""limits": {"head-size": 1048576}"#, #""limits": {"head-size": "1MB"}"#,
      #""limits": {"head-size": 10}"#, #""limits": {"head": 301}"#,
      #""limits": {"head": "10 min"}"#, #""limits": {"field-count": "5"}"#, #""workers": "5000""#,
      #""trusted-proxies": ["10.0.0.1/33"]"#, #""listeners": [{"listen": 80000}]"#,
    ])
  func noSuggestion(_ keys: String) {
    let messages = diagnose("{\(keys), \(somePools)}")
    #expect(messages.count == 1)
    #expect(messages.first?.contains("did you mean") == false, "\(messages)")
  }

  @Test("the examples in a message are values that the key allows")
  func examples() {
    #expect(
      diagnose(#"{"limits": {"trailer-size": "1MB", "rate-grace": 1.5}, \#(somePools)}"#) == [
        """
        c.json:1:29: error: limits.trailer-size: "1MB" is not a size; write one such as "8KiB", \
        from 64B to 8KiB
        """,
        """
        c.json:1:50: error: limits.rate-grace: 1.5 is not a duration; write one such as "250ms", \
        "5s" or "2m", from 100ms to 1h
        """,
      ])
  }

  @Test("is printed with its position, if there is one, and its suggestion")
  func printing() {
    #expect(
      Diagnostic(.warning, at: .flag("--x"), key: "", "odd", suggestion: "1").description
        == "--x: warning: odd (did you mean 1?)")
    #expect(
      Diagnostic(.error, at: .file("f", line: 2, column: 3), key: "a.b", "bad").description
        == "f:2:3: error: a.b: bad")
    #expect(Diagnostic(.error, at: .nowhere, key: "", "bad").description == "error: bad")
  }

  @Test("a port that is too large has an error of its own, wherever an address is written")
  func largePorts() {
    for text in [
      #""pools": [{"backends": ["127.0.0.1:99999"]}]"#,
      #""listeners": [{"listen": "*:99999"}], \#(somePools)"#,
      #""log": {"target": "syslog:127.0.0.1:99999"}, \#(somePools)"#,
      #""log": {"process-target": "syslog:127.0.0.1:99999"}, \#(somePools)"#,
    ] {
      let errors = diagnose("{ \(text) }")
      #expect(errors.count == 1 && errors[0].hasSuffix(": the port 99999 is larger than 65535"))
    }
  }

  @Test(
    "a mistyped log target gets the nearest form; a file whose name looks like one, a warning",
    arguments: [
      ("target", "syslog:localhost", "error", "syslog:127.0.0.1:514"),
      ("target", "syslog:192.0.2.1", "error", "syslog:192.0.2.1:514"),
      ("target", "syslog:dev/log", "error", "syslog:/dev/log"),
      ("target", "sislog", "warning", "syslog"),
      ("target", "sislog:/dev/log", "warning", "syslog:/dev/log"),
      ("target", "stdot", "warning", "stdout"),
      ("process-target", "sislog", "error", "syslog"),
      ("process-target", "syslog:localhost", "error", "syslog:127.0.0.1:514"),
    ])
  func logTargets(_ key: String, _ text: String, _ severity: String, _ wanted: String) {
    let found = diagnose(#"{ "log": { "\#(key)": "\#(text)" }, \#(somePools) }"#)
    #expect(found.count == 1)
    #expect(found.first?.contains(": \(severity): log.\(key): ") == true, "\(found)")
    #expect(found.first?.hasSuffix("(did you mean \"\(wanted)\"?)") == true, "\(found)")
    #expect(diagnose(#"{ "log": { "target": "access.log" }, \#(somePools) }"#).isEmpty)
  }
}
