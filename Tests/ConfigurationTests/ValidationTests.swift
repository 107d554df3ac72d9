// Valid values that don't fit together.

import Testing

@testable import Configuration

private func pool(_ keys: String) -> String {
  #"{"pools": [{"backends": ["127.0.0.1:1", "127.0.0.1:2"], \#(keys)}]}"#
}

private let mistakesTable: [(String, String)] = [
  (
    #"{"listeners": [{"listen": "*:1", "proxy-protocol": "v1"}], \#(somePools)}"#,
    """
    1:52: error: listeners[0].proxy-protocol: "v1" is not an object; write { "from": [ ... ] }
    """
  ),
  (
    "{}",
    """
    1:1: error: there is nothing to serve: add a pool with backends (pools in the file, \
    or --backend), or try --demo
    """
  ),
  (
    #"{"pools": []}"#,
    """
    1:11: error: pools: the list is empty, and there are no routes
    """
  ),
  (
    #"{"listeners": [{"listen": "127.0.0.1:80"}, {"listen": "*:80"}], \#(somePools)}"#,
    """
    1:55: error: listeners[1].listen: 0.0.0.0:80 is already used by the listener \
    "127.0.0.1:80" (127.0.0.1:80)
    """
  ),
  (
    #"{"listeners": [{"listen": "*:1", "name": "a"}, {"listen": "*:2", "name": "a"}],"#
      + #" \#(somePools)}"#,
    """
    1:74: error: listeners[1].name: two listeners have the name "a"; names must be \
    unique
    """
  ),
  (
    #"{"listeners": [{"listen": "*:1", "hsts": {}}], \#(somePools)}"#,
    """
    1:42: error: listeners[0].hsts: it has no effect without tls: browsers ignore it on \
    plain http (RFC 6797 7.2)
    """
  ),
  (
    #"{"listeners": [{"listen": "*:1", "redirect-to-https": 443, "tls": {"certificates":"#
      + #" [{"chain": "c", "key": "k"}]}}], \#(somePools)}"#,
    """
    1:55: error: listeners[0].redirect-to-https: not allowed together with tls: the redirect \
    would lead to this listener again
    """
  ),
  (
    #"{"pools": [{"backends": ["a:1"]}, {"backends": ["b:1"]}], "routes": [{"forward":"#
      + #" "default"}]}"#,
    """
    1:35: error: pools[1].name: two pools have the name "default"; names must be unique
    """
  ),
  (
    #"{"pools": [{"backends": ["a:1", "A:1"]}]}"#,
    """
    1:33: error: pools[0].backends[1]: a:1 is already listed as backends[0]; set weight to \
    give it a larger share
    """
  ),
  (
    #"{"pools": [{"backends": [{"address": "a:1", "backup": true}]}]}"#,
    """
    1:25: error: pools[0].backends: all backends are backups; at least one must not be a backup
    """
  ),
  (
    #"{"pools": [{"backends": [{"address": "a:1", "weight": 2}]}]}"#,
    """
    1:55: warning: pools[0].backends[0].weight: the strategy round-robin ignores weights \
    (did you mean "strategy": "weighted-round-robin"?)
    """
  ),
  (
    pool(#""health": {"path": "/up"}"#),
    """
    1:76: warning: pools[0].health.path: a TCP check ignores it (did you mean "check": \
    "http"?)
    """
  ),
  (
    pool(#""protocol": "h2", "health": {"check": "grpc", "path": "/up"}"#),
    """
    1:111: warning: pools[0].health.path: a gRPC check ignores it (did you mean "check": \
    "http"?)
    """
  ),
  (
    pool(#""health": {"check": "http", "service": "a.B"}"#),
    """
    1:96: warning: pools[0].health.service: an HTTP check ignores it (did you mean "check": \
    "grpc"?)
    """
  ),
  (
    #"{"listeners": [{"listen": "*:1", "protocols": ["h2", "h2"]}], \#(somePools)}"#,
    """
    1:54: error: listeners[0].protocols[1]: the protocol h2 is listed twice
    """
  ),
  (
    pool(#""health": {"check": "grpc"}"#),
    """
    1:77: error: pools[0].health.check: gRPC needs HTTP/2, and this pool has "protocol": \
    "http/1.1" (did you mean "protocol": "h2"?)
    """
  ),
  (
    pool(#""timeouts": {"grpc-max": "1m"}"#),
    """
    1:82: warning: pools[0].timeouts.grpc-max: gRPC needs HTTP/2, and this pool has "protocol": \
    "http/1.1" (did you mean "protocol": "h2"?)
    """
  ),
  (
    pool(#""retry": {"grpc-statuses": ["unavailable"]}"#),
    """
    1:84: warning: pools[0].retry.grpc-statuses: gRPC needs HTTP/2, and this pool has \
    "protocol": "http/1.1" (did you mean "protocol": "h2"?)
    """
  ),
  (
    pool(#""ejection": {"base": "10m"}"#),
    """
    1:78: error: pools[0].ejection.base: 10m is longer than max, which is 5m
    """
  ),
  (
    pool(#""queue": {"size": 1}"#),
    """
    1:66: warning: pools[0].queue: it has no effect, because no backend has max-connections
    """
  ),
  (
    pool(#""strategy": "ip-hash", "slow-start": "5s""#),
    """
    1:94: warning: pools[0].slow-start: the strategy ip-hash ignores it, because clients stay on \
    their backend
    """
  ),
  (
    pool(#""strategy": "random", "hash-key": "source""#),
    """
    1:91: error: pools[0].hash-key: only the strategy maglev uses it (did you mean \
    "strategy": "maglev"?)
    """
  ),
  (
    pool(#""strategy": "maglev", "hash-key": "header""#),
    """
    1:91: error: pools[0].hash-key: "header" is not a hash key; write "source", "2-tuple", \
    "3-tuple", "5-tuple", "header:NAME", "cookie:NAME" or "query:NAME"
    """
  ),
  (
    pool(#""strategy": "random", "bounded-load": 1.5"#),
    """
    1:95: error: pools[0].bounded-load: only the strategies maglev and ip-hash use it; the \
    others balance the load anyway
    """
  ),
  (
    pool(#""strategy": "maglev", "bounded-load": 1.5, "stickiness": "c""#),
    """
    1:95: error: pools[0].bounded-load: not allowed together with stickiness: the cookie keeps a \
    client on its backend, whatever the load
    """
  ),
  (
    pool(#""strategy": "maglev", "bounded-load": 1.2"#),
    """
    1:95: error: pools[0].bounded-load: 1.2 is out of range; 1.25 to 2 is allowed
    """
  ),
  (
    pool(#""failover": {"factor": "1.4"}"#),
    """
    1:80: error: pools[0].failover.factor: "1.4" is not a factor; 1 to 10 is allowed, with at \
    most two decimals (did you mean 1.4?)
    """
  ),
  (
    pool(#""failover": {}"#),
    """
    1:69: warning: pools[0].failover: it has no effect, because all backends have the same tier
    """
  ),
  (
    #"{"pools": [{"backends": ["a:1", {"address": "b:1", "backup": true, "tier": 2}]}]}"#,
    """
    1:62: error: pools[0].backends[1].backup: not allowed together with tier; backup is the same \
    as "tier": 1
    """
  ),
  (
    #"{"pools": [{"backends": [{"address": "b:1", "tier": 2}]}]}"#,
    """
    1:25: error: pools[0].backends: no backend has tier 0; at least one backend needs it
    """
  ),
  (
    #"{"pools": [{"backends": [{"address": "b:1", "name": "x"}, {"address": "c:1", "name": "x"}"#
      + "]}]}",
    """
    1:86: error: pools[0].backends[1].name: backends[0] has the name "x" too; names must be \
    unique in a pool
    """
  ),
  (
    #"{"pools": [{"backends": ["a:1", {"address": "b:1", "zone": "x"}]}]}"#,
    """
    1:60: warning: pools[0].backends[1].zone: it has no effect without zone at the top level, \
    which says where this Martlet runs
    """
  ),
  (
    #"{"zone": "x", "pools": [{"strategy": "maglev", "backends": [{"address": "b:1", "zone":"#
      + #" "x"}]}]}"#,
    """
    1:38: warning: pools[0].strategy: nodes in different zones prefer different backends, so they \
    don't agree about the backend of a key
    """
  ),
  (
    pool(#""stickiness": {"cookie": "c", "same-site": "none", "secure": "never"}"#),
    """
    1:100: error: pools[0].stickiness.same-site: browsers reject SameSite=None without Secure; \
    change same-site or secure
    """
  ),
  (
    pool(#""protocol": "h2", "proxy-protocol": "v2""#),
    """
    1:93: error: pools[0].proxy-protocol: with HTTP/2 clients share the connections to a \
    backend, and a header is about one client (did you mean "protocol": "http/1.1"?)
    """
  ),
  (
    pool(#""protocol": "h2", "source-address": "client""#),
    """
    1:93: error: pools[0].source-address: with HTTP/2 clients share the connections to a \
    backend, and a connection has only one source address (did you mean "protocol": "http/1.1"?)
    """
  ),
  (
    #"{"pools": [{"backends": ["b:1", "unix:/s"], "source-address": "client"}]}"#,
    """
    1:33: error: pools[0].backends[1]: a Unix socket has no source address, which source-address \
    "client" asks for
    """
  ),
  (
    pool(#""proxy-protocol": {"version": "v1", "tlvs": ["alpn"]}"#),
    """
    1:101: error: pools[0].proxy-protocol.tlvs: v1 has no TLVs (did you mean "version": "v2"?)
    """
  ),
  (
    pool(#""proxy-protocol": {"version": "v2", "tlvs": ["alpn", "tls", "alpn"]}"#),
    """
    1:117: error: pools[0].proxy-protocol.tlvs[2]: the TLV alpn is listed twice
    """
  ),
  (
    #"{"listeners": [{"listen": "*:80", "proxy-protocol": {"from": ["::/0"]}}], \#(somePools)}"#,
    """
    1:63: warning: listeners[0].proxy-protocol.from[0]: everybody who can connect can claim any \
    address; write the addresses of the proxies
    """
  ),
  (
    #"{\#(somePools), "routes": [{"forward": "defualt"}]}"#,
    """
    1:72: error: routes[0].forward: there is no pool "defualt"; known: "default" (did you \
    mean "default"?)
    """
  ),
  (
    #"{\#(somePools), "routes": [{}, {"listeners": ["x"]}]}"#,
    """
    1:79: error: routes[1].listeners[0]: there is no listener "x"; known: \
    "localhost:8443"
    """
  ),
  (
    #"{\#(somePools), "routes": [{"forward": "default", "respond": {}}]}"#,
    """
    1:94: error: routes[0].respond: the route has forward and respond; only one of them \
    is allowed
    """
  ),
  (
    #"{"routes": [{"path": "/a"}]}"#,
    """
    1:13: error: routes[0]: the route has no action; add one of forward, redirect, respond
    """
  ),
  (
    #"{"routes": [{"redirect": {}}]}"#,
    """
    1:26: error: routes[0].redirect: the redirect would lead to the same URL; set scheme, host, \
    port or path
    """
  ),
  (
    #"{"routes": [{"respond": {"status": 204, "body": "x"}}]}"#,
    """
    1:49: error: routes[0].respond.body: a response with status 204 can't have a body
    """
  ),
  (
    #"{"routes": [{"path": "/a", "respond": {}}, {"path": "/a/", "respond": {}}]}"#,
    """
    1:44: error: routes[1]: this route is never used: routes[0] has the same \
    listeners, host and path
    """
  ),
  (
    #"{"routes": [{"host": "a", "respond": {}}, {"host": "b", "respond": {}},"#
      + #" {"host": ["a", "b"], "respond": {}}]}"#,
    """
    1:73: error: routes[2]: this route is never used: routes[0] and routes[1] have the same \
    listeners, host and path
    """
  ),
  (
    #"{"admin": {"listen": "127.0.0.1:80"}, "listeners": [{"listen": "*:80"}], \#(somePools)}"#,
    """
    1:22: error: admin.listen: 127.0.0.1:80 is taken by the listener "*:80" (0.0.0.0:80)
    """
  ),
  (
    #"{"process": {"group": "www"}, \#(somePools)}"#,
    """
    1:23: error: process.group: without a user the group is not changed (did you mean "user": \
    ... beside it?)
    """
  ),
  (
    #"{\#(somePools), "routes": [{"respond": {}}]}"#,
    """
    1:12: warning: pools[0]: no route forwards to the pool "default"
    """
  ),
]

@Suite("Validation")
struct ValidationTests {
  @Test(
    "reports what doesn't fit together, at the value that is to blame", arguments: mistakesTable)
  func mistakes(_ text: String, _ expected: String) {
    #expect(diagnose(text) == ["c.json:" + expected])
  }

  @Test(
    "takes what only looks like a mistake",
    arguments: [
      #"{"listeners": [{"listen": "127.0.0.1:80"}, {"listen": "[::1]:80"}], \#(somePools)}"#,
      #"{"listeners": [{"listen": "127.0.0.1:0"}, {"name": "b", "listen": "127.0.0.1:0"}], "#
        + somePools + "}",
      """
      {"routes": [{"path": "/a", "respond": {}}, {"path": "/a", "match": "exact", "respond": {}}]}
      """,
      #"{"routes": [{"host": "a", "respond": {}}, {"host": ["a", "b"], "respond": {}}]}"#,
      #"{"pools": [{"strategy": "random", "backends": [{"address": "a:1", "weight": 2}]}]}"#,
    ])
  func fine(_ text: String) {
    #expect(diagnose(text) == [])
  }

  @Test("a mistake in one list hides no mistake elsewhere, and makes none up")
  func gaps() {
    let text = """
      { "listeners": [{ "listen": "*:80" }, { "listen": "*:80", "name": "b" }],
        "pools": [{ "name": "a", "backends": ["no host", "127.0.0.1:1"] }],
        "routes": [{ "path": "/a", "forward": "a" }, { "path": "/b", "forward": "gone" },
          { "path": "/c", "listeners": ["c"], "forward": "a" }, { "path": "/a/", "forward": "a" }],
        "trusted-proxies": ["no block"] }
      """
    let found = diagnose(text).map { $0.prefix { $0 != " " } }
    #expect(
      found == [
        "c.json:1:51:", "c.json:2:41:", "c.json:3:75:", "c.json:4:35:", "c.json:4:59:",
        "c.json:5:23:",
      ], "\(diagnose(text))")
    for gap in [
      #"{ "pools": ["none"], "routes": [{ "forward": "app" }] }"#,
      #"{ \#(somePools), "routes": [{ "listeners": ["web"] }], "listeners": [5] }"#,
      #"{ \#(somePools), "routes": [{ "host": ["no host", "b"] }, { "host": "b" }] }"#,
      #"{ "listeners": [{ "listen": "*:1", "hsts": {} }], "trusted-proxies": [5], \#(somePools) }"#,
      #"{ "pools": [{ "backends": [5, { "address": "a:1", "backup": true }] }] }"#,
    ] {
      #expect(diagnose(gap).count == 1, "\(diagnose(gap))")
    }
  }

  @Test("a mistake in a value makes up none in others")
  func consequences() {
    for text in [
      pool(#""protocol": "h3", "health": { "check": "grpc" }"#),
      #"{ "pools": [{ "backends": ["a:1"], "protocol": "h3" }], "#
        + #""routes": [{ "grpc-web": true }] }"#,
      #"{ "listeners": [{ "listen": "*:1", "protocols": ["h2c", "h2", "h2"] }], \#(somePools) }"#,
    ] {
      #expect(diagnose(text).count == 1, "\(diagnose(text))")
    }
  }

  @Test("warnings are held back while there are errors, and counted")
  func heldBack() {
    let text = pool(#""strategy": "rundom", "health": { "path": "/x" }"#)
    let reading = Configuration.read(Array(text.utf8))
    #expect(reading.diagnostics.count == 1 && reading.heldBackCount == 1)
    #expect(reading.adding([]).heldBackCount == 1)
  }

  @Test("several pools need routes")
  func poolsWithoutRoutes() {
    let text = """
      {"pools": [{"name": "a", "backends": ["a:1"]}, {"name": "b", "backends": ["b:1"]}]}
      """
    #expect(
      diagnose(text).first
        == "c.json:1:11: error: pools: with 2 pools, routes must select the pool of a request")
    #expect(configuration(text) == nil)
  }
}
