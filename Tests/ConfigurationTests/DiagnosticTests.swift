// Golden diagnostics: the exact message and position for common mistakes.

import Testing

@testable import Configuration

private let kindsTable: [(String, String)] = [
  (
    #"[]"#,
    """
    1:1: error: a list is not an object; write { } with the keys listeners, pools, \
    routes, error-pages, limits, paths, log, tracing, trusted-proxies, forwarding-field, via, \
    via-to-backends, request-id, upgrades, workers, process, admin, watch
    """
  ),
  (
    #"{"pools": {}}"#,
    """
    1:11: error: pools: an object is not a list; it stands in [ ], and each item is an \
    object
    """
  ),
  (
    #"{"pools": [{}]}"#,
    """
    1:12: error: pools[0]: the key "backends" is missing: a list; it stands in [ ], and \
    each item is the address of a backend
    """
  ),
  (
    #"{"pools": [{"backend": ["a:1"]}]}"#,
    """
    1:13: error: pools[0].backend: there is no such key; the keys here are name, strategy, \
    backends, health, ejection, queue, slow-start, stickiness, retry, timeouts, keep-alive, \
    tcp-keep-alive, when-all-down, desync, resolve-interval (did you mean "backends"?)
    """
  ),
  (
    #"{"pools": [{"backends": []}]}"#,
    """
    1:25: error: pools[0].backends: the list is empty; at least one item is needed
    """
  ),
  (
    #"{"listeners": [{"listen": "*:1", "tls": {}}], \#(somePools)}"#,
    """
    1:41: error: listeners[0].tls: the key "certificates" is missing: a list; it stands \
    in [ ], and each item is an object
    """
  ),
  (
    #"{"error-pages": {"200": "a.html"}, \#(somePools)}"#,
    """
    1:18: error: error-pages.200: "200" is not the status of an error; write one such as "503", \
    from 400 to 599, or "4xx" or "5xx" for all of them
    """
  ),
  (
    #"{"error-pages": {"404": "a.php"}, \#(somePools)}"#,
    """
    1:25: error: error-pages.404: "a.php": what it is can't be told from its name, which has to \
    end in .html, .htm, .txt, .json or .xml
    """
  ),
  (
    #"{"tracing": {"endpoint": "https://c"}, \#(somePools)}"#,
    """
    1:26: error: tracing.endpoint: "https://c": https to a collector isn't offered; run one on \
    this machine that passes traces on
    """
  ),
  (
    #"{"tracing": {"endpoint": "c:4318"}, \#(somePools)}"#,
    """
    1:26: error: tracing.endpoint: "c:4318" is not the address of a collector; write \
    "http://localhost:4318" or "http://collector:4318/v1/traces"
    """
  ),
  (
    #"{"tracing": {"endpoint": "http://c", "sample": 2}, \#(somePools)}"#,
    """
    1:48: error: tracing.sample: 2 is not a part; write a number from 0 to 1, such as 0.01
    """
  ),
  (
    #"{"via": null, \#(somePools)}"#,
    """
    1:9: error: via: null is not a flag; write true or false
    """
  ),
  (
    #"{"upgrades": ["websocket", "*"], \#(somePools)}"#,
    """
    1:28: error: upgrades[1]: "*" stands for no other protocols; name each one, such as \
    "websocket"
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
    1:15: error: upgrades[0]: "HTTP/2.0" is HTTP itself, whose requests would pass by routes, \
    limits and logs
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
    "10.0.0.0/8", "2001:db8::/32" or one address; no bit may be set behind the prefix
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
    1:37: error: routes[0].redirect.status: 304 is not the status of a redirect; one of \
    301, 302, 303, 307, 308
    """
  ),
  (
    #"{"routes": [{"respond": {}, "response": {"set": {"Connection": "x"}}}]}"#,
    """
    1:50: error: routes[0].response.set.Connection: "Connection" frames or routes \
    messages, so only Martlet itself sets it
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
        listen, tls, redirect-to-https, hsts, desync, half-close, backlog, tcp-keep-alive (did you \
        mean "tls"?)
        """,
        """
        c.json:5:19: error: pools[0].strategy: "round-robbin" is not a strategy; one of \
        round-robin, weighted-round-robin, least-connections, random, ip-hash (did you mean \
        "round-robin"?)
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
        "250ms", "5s" or "2m", 100ms to 1h (did you mean "5s"?)
        """,
        """
        c.json:7:42: error: pools[0].health.rise: "2" is not a whole number; 1 to 255 is allowed \
        (did you mean 2?)
        """,
        """
        c.json:8:32: error: pools[0].timeouts.request: "50 s" is not a duration; write one such \
        as "250ms", "5s" or "2m", 10ms to 1d
        """,
        """
        c.json:11:28: error: limits.body-size: "1GB" is not a size; write one such as "64KiB" or \
        "10MiB", 0B to 1024TiB (did you mean "1GiB"?)
        """,
        """
        c.json:11:35: error: limits.max-body: there is no such key; the keys here are head-size, \
        field-count, response-head-size, response-field-count, target-size, body-size, \
        chunk-extensions, trailer-size, connections, connections-per-address, memory, \
        requests-per-connection, handshakes, handshake, head, body-idle, minimum-rate, \
        rate-grace, keep-alive, linger, lame-duck, drain, upgrade, collect-size, collect-wait
        """,
        """
        c.json:12:3: error: worker: there is no such key; the keys here are listeners, pools, \
        routes, error-pages, limits, paths, log, tracing, trusted-proxies, forwarding-field, via, \
        via-to-backends, request-id, upgrades, workers, process, admin, watch (did you mean \
        "workers"?)
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
          c.json:2:28: error: 127.0.0.1 is not a number as JSON writes them; text needs double \
          quotes
          """,
          """
          c.json:2:52: error: pools[0].strategy: "rr" is not a strategy; one of round-robin, \
          weighted-round-robin, least-connections, random, ip-hash
          """,
          """
          c.json:3:10: error: via: "yes" is not a flag; write true or false
          """,
          "c.json:3:15: error: a comma may not stand before the closing bracket",
        ])
  }

  @Test("each kind of value reports what it found and what is allowed", arguments: kindsTable)
  func kinds(_ text: String, _ expected: String) {
    #expect(diagnose(text) == ["c.json:" + expected])
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
}
