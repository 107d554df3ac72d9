// The meaning of a file without errors: its defaults, and that no value is lost.

import Foundation
import Primitives
import Testing

@testable import Configuration

/// The root of the repository.
let repository = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
  .deletingLastPathComponent()

@Suite("A configuration")
struct ConfigurationTests {
  @Test("the committed file has about ten lines, and is as the README describes it")
  func committed() throws {
    let data = try Data(contentsOf: repository.appending(path: "config.json"))
    #expect(data.split(separator: UInt8(ascii: "\n")).count <= 14)
    let reading = Configuration.read(Array(data), file: "config.json")
    #expect(reading.diagnostics == [])
    let configuration = try #require(reading.configuration)

    let listener = try #require(configuration.listeners.first)
    #expect(listener.addresses.map(\.description) == ["127.0.0.1:8443", "[::1]:8443"])
    #expect(listener.tls == .standard)
    let pool = try #require(configuration.pools.first)
    #expect(pool.strategy == .roundRobin)
    #expect(
      pool.backends.map(\.endpoint.description)
        == ["127.0.0.1:9001", "127.0.0.1:9002", "127.0.0.1:9003"])
    #expect(pool.health?.interval == .seconds(5))
    #expect(pool.timeouts.request == .seconds(60))
    #expect(configuration.routes == [Configuration.Route(.forward(pool: "default"))])
  }

  @Test("everything but the backends has a default")
  func smallest() throws {
    let read = try #require(configuration("{ \(somePools) }"))
    var expected = Configuration()
    let address = SocketAddress.ip(.loopbackV4, port: 9001)
    expected.pools = [Configuration.Pool(backends: [Configuration.Backend(.address(address))])]
    expected.routes = [Configuration.Route(.forward(pool: "default"))]
    #expect(read == expected)
  }

  @Test("the defaults are those in the documentation")
  func defaults() throws {
    let configuration = Configuration()
    #expect(configuration.upgrades == ["websocket"])
    #expect(configuration.via && !configuration.viaToBackends)
    #expect(configuration.forwardingField == .xForwardedFor)
    #expect(configuration.workers == nil)
    #expect(configuration.trustedProxies == [])
    #expect(configuration.limits.bodySize == 1 << 30)
    let pool = Configuration.Pool()
    #expect(pool.health?.check == .tcp)
    #expect(pool.health?.rise == 2)
    #expect(pool.health?.fall == 3)
    #expect(pool.ejection?.failures == 5)
    #expect(pool.ejection?.maxEjectedPercent == 50)
    #expect(pool.queue?.size == 100 && pool.queue?.timeout == .seconds(2))
    #expect(pool.slowStart == nil && pool.stickiness == nil)
    #expect(pool.retry.maxAttempts == 3)
    #expect(pool.retry.budgetPercent == 20)
    #expect(pool.retry.budgetMinimum == 3)
    // Less than the five seconds after which common servers close idle connections.
    #expect(pool.keepAlive.idle == .seconds(4))
    #expect(pool.whenAllDown == .refuse)
  }

  @Test("each key reaches its property")
  func everything() throws {
    let text = """
      {
        "listeners": [{
          "name": "web", "listen": ["127.0.0.1:8443", "[::1]:8443"], "backlog": 7,
          "tls": {
            "certificates": [
              { "chain": "a.crt", "key": "a.key" }, { "chain": "/b.crt", "key": "/b.key" }
            ],
            "minimum-version": "1.3", "policy": "modern",
            "tickets": { "key-files": ["t1", "t2"], "rotation": "1h" }
          },
          "hsts": { "max-age": "30d", "include-subdomains": true }, "desync": "monitor",
          "tcp-keep-alive": { "idle": "2m", "interval": "10s", "count": 9 },
          "half-close": "answer", "protocols": ["http/1.1"],
          "proxy-protocol": { "from": ["10.0.0.0/8", "2001:db8::1"] }
        }, { "listen": "*:80", "redirect-to-https": 8443 }, {
          "name": "db", "listen": "*:5432", "protocol": "tcp", "pool": "t", "alpn": ["x", "y"],
          "tls": { "certificates": [{ "chain": "d.crt", "key": "d.key" }] },
          "max-connections": 5, "max-connections-per-client": 2,
          "routes": [{ "sni": ["a.b", "*.c"], "alpn": "x", "pool": "t" }]
        }, {
          "name": "dns", "listen": "*:53", "protocol": "udp", "pool": "u", "max-sessions": 50,
          "max-sessions-per-client": 20, "idle": "9s", "responses": 2
        }, {
          "name": "syslog", "listen": "*:514", "protocol": "udp", "pool": "u",
          "per-datagram": true
        }],
        "pools": [{
          "name": "p", "strategy": "least-connections",
          "backends": [
            { "address": "10.0.0.1:80", "weight": 3, "max-connections": 9 },
            { "address": "unix:/run/s", "backup": true },
            { "address": "10.0.0.2:80", "tier": 2, "name": "two", "zone": "eu-1b" }
          ],
          "failover": { "factor": 1.25, "panic-percent": 40 }, "zone": "eu-1a",
          "health": {
            "check": "http", "path": "/up?x", "host": "h", "expect": [200, "300-302"],
            "interval": "7s", "fast-interval": "2s", "timeout": "3s", "rise": 4, "fall": 5,
            "initially": "down"
          },
          "ejection": {
            "failures": 6, "base": "1s", "max": "1m", "failure-percent": 30, "window": "3s",
            "minimum-requests": 9, "max-ejected-percent": 40
          },
          "queue": { "size": 5, "timeout": "3s" }, "slow-start": "30s",
          "stickiness": {
            "cookie": "c", "key": "k", "path": "/p", "domain": "d.e", "max-age": "1h",
            "same-site": "strict", "secure": "always", "http-only": false
          },
          "retry": {
            "max-attempts": 2, "statuses": [503],
            "grpc-statuses": ["unavailable", "data-loss"],
            "budget-percent": 10, "budget-minimum": 1,
            "replay-size": "1KiB"
          },
          "timeouts": {
            "connect": "1s", "response": "2s", "request": "3s", "idle": "4s", "relay-idle": "5s",
            "grpc-max": "9s"
          },
          "keep-alive": { "idle": "6s", "max-idle": 7, "max-age": "1h" }, "tcp-keep-alive": "off",
          "tls": {
            "ca": "ca.crt", "server-name": "App.Internal", "minimum-version": "1.3",
            "certificate": { "chain": "m.crt", "key": "/m.key" }
          },
          "when-all-down": "fail-open", "desync": "tolerant", "resolve-interval": "8s",
          "protocol": "auto"
        }, {
          "name": "q", "backends": ["https://q"], "protocol": "h2",
          "strategy": "maglev", "hash-key": "header:X-User", "bounded-load": 1.5,
          "health": { "check": "grpc", "service": "a.B" },
          "tls": { "verify": "off", "pins": ["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="] }
        }, {
          "name": "t", "backends": ["t:1"],
          "health": { "send": "PING\\r\\n", "reply": "+PONG\\u00ff" }
        }, {
          "name": "r", "backends": ["r:1"],
          "proxy-protocol": { "version": "v2", "tlvs": ["unique-id", "crc32c"] },
          "source-address": "client"
        }, { "name": "u", "backends": ["u:1"] }],
        "routes": [{
          "host": ["a.b", "*.c.d"], "path": "/x", "match": "exact", "listeners": ["web"],
          "forward": "p", "request": { "set": { "A": "b" }, "remove": ["C"] },
          "response": { "set": { "D": "e" } }, "error-pages": { "503": "busy.html" },
          "grpc-web": true,
          "fault": { "delay": "1s", "delay-percent": 3, "abort": 418, "abort-percent": 4 }
        }, {
          "path": "/r", "redirect": {
            "status": 301, "scheme": "http", "host": "H", "port": 81, "path": "/q?r"
          }
        }, {
          "path": "/s",
          "respond": {
            "status": 404, "draining-status": 503, "body": "b", "content-type": "t/s"
          }
        }, { "path": "/q", "forward": "q" }, { "path": "/t", "forward": "r" }],
        "error-pages": { "5xx": "/e/sorry.JSON", "404": "none.txt" },
        "limits": {
          "head-size": "2KiB", "field-count": 20, "target-size": "1KiB", "body-size": "off",
          "response-head-size": "3KiB", "response-field-count": 30, "linger": "8s",
          "chunk-extensions": "3KiB", "trailer-size": "4KiB", "memory": "5MiB",
          "minimum-rate": "6B", "rate-grace": "7s", "handshakes": 8,
          "connections-per-address": "off", "connections": 11,
          "requests-per-connection": 12, "streams-per-connection": 13, "handshake": "1s",
          "head": "2s",
          "body-idle": "3s", "keep-alive": "4s", "lame-duck": "5s", "drain": "6s",
          "upgrade": "7s", "collect-size": "0B", "collect-wait": "7ms"
        },
        "paths": { "encoded-slashes": "refuse", "dot-segments": "refuse" },
        "log": {
          "access": "text", "sample": 10, "slow": "2s", "redact-query": ["token"],
          "target": "access.log", "level": "debug", "format": "json",
          "process-target": "syslog:/l"
        },
        "tracing": { "endpoint": "http://c:1/x", "sample": 0.25, "service-name": "s" },
        "trusted-proxies": ["10.0.0.0/8"], "forwarding-field": "forwarded", "via": false,
        "via-to-backends": true, "request-id": "return",
        "upgrades": ["X/1.0"], "workers": 3, "zone": "eu-1b",
        "process": {
          "user": "u", "group": "g", "pid-file": "pid", "core-dumps": true,
          "exposed-keys": "refuse"
        },
        "admin": { "socket": "admin.sock", "listen": "localhost:9090", "token-file": "token",
          "certificate": { "chain": "admin.crt", "key": "admin.key" }, "client-ca": "us.crt" },
        "watch": false
      }
      """
    let reading = Configuration.read(Array(text.utf8), file: "d/c.json")
    // Its faults on purpose are worth a warning each.
    #expect(reading.diagnostics.map(\.severity) == [.warning, .warning])
    let read = try #require(reading.configuration)
    let tls = try #require(read.listeners[0].tls)
    #expect(tls.certificates.map(\.chain) == ["d/a.crt", "/b.crt"])
    #expect(tls.certificates.map(\.key) == ["d/a.key", "/b.key"])
    #expect(tls.tickets?.keyFiles == ["d/t1", "d/t2"])
    #expect(read.listeners[0].proxyProtocol?.from.map { "\($0)" } == ["10.0.0.0/8", "2001:db8::1"])
    #expect(read.pools[3].proxyProtocol?.tlvs == [.uniqueID, .crc32c])
    #expect(read.pools[3].sourceAddress == .client)
    let probes = try #require(read.listeners[0].tcpKeepAlive)
    #expect(probes.idle == .seconds(120) && probes.interval == .seconds(10) && probes.count == 9)
    #expect(read.listeners[1].tcpKeepAlive == Configuration.TCPKeepAlive())
    #expect(read.pools[0].tcpKeepAlive == nil)
    let secure = try #require(read.pools[0].tls)
    #expect(secure.authority == "d/ca.crt" && secure.serverName == "app.internal")
    #expect(secure.certificate == .init(chain: "d/m.crt", key: "/m.key"))
    #expect(secure.minimumVersion == .tls13 && secure.verification == .on)
    #expect(read.pools[1].tls?.pins.count == 1 && read.pools[1].tls?.verification == .off)
    #expect(read.pools[0].failover?.factor == 125 && read.pools[0].failover?.panicPercent == 40)
    #expect(read.pools[0].zone == "eu-1a" && read.zone == "eu-1b")
    #expect(read.pools[0].backends.map(\.tierInForce) == [0, 1, 2])
    #expect(read.pools[0].backends[2].name == "two")
    #expect(read.pools[1].hashKey == .header("X-User") && read.pools[1].boundedLoad == 150)
    #expect(read.listeners[1].name == "*:80")
    let places = read.places(on: read.listeners[2])
    #expect(places.map(\.description) == ["a.b (x)", "*.c (x)"])
    #expect(read.tcpPools == ["t"] && read.spoken(by: read.pools[2]) == "tcp")
    #expect(read.listeners[2].maxConnections == 5)
    #expect(read.udpPools == ["u"] && read.pools.last?.health == nil)
    let sessions = read.listeners[3].sessions
    #expect(sessions.max == 50 && sessions.maxPerClient == 20 && sessions.responses == 2)
    #expect(sessions.idleTime == .seconds(9) && read.listeners[4].sessions.perDatagram)
    #expect(read.listeners[4].sessions.idleTime == .seconds(120))
    #expect(read.listeners[2].maxConnectionsPerClient == 2)
    #expect(read.pools[2].health?.reply == "+PONG\u{FF}")
    #expect(read.log.target == .file("d/access.log"))
    #expect(read.pools[0].health?.expect == [200...200, 300...302])
    #expect(read.limits.bodySize == nil)
    #expect(read.tracing?.endpoint.path == "/x" && read.tracing?.sample == 0.25)
    #expect(read.admin.socket == .path("d/admin.sock") && read.admin.tokenFile == "d/token")
    #expect(read.admin.certificate?.key == "d/admin.key" && read.admin.clientCA == "d/us.crt")
    #expect(
      read.errorPages.map { "\($0.statuses) \($0.path) \($0.kind)" }
        == ["404...404 d/none.txt text", "500...599 /e/sorry.JSON json"])
    #expect(read.routes[0].errorPages.map(\.path) == ["d/busy.html"])
    #expect(read.routes[0].hosts == [.exact("a.b"), .below("c.d")])

    // No key has its default, so the written file contains every key; reading it returns the same
    // values.
    let written = read.json
    for section in Reference.sections {
      for key in section.keys where key.name != "$schema" {
        #expect(written.compact.contains("\"\(key.name)\": "), "\(section.title).\(key.name)")
      }
    }
    #expect(Configuration.read(Array(written.formatted().utf8), file: "x").configuration == read)
  }

  @Test("health checks, ejection and tickets can be off")
  func off() throws {
    let read = try #require(
      configuration(
        """
        { "pools": [{ "backends": ["a:1"], "health": "off", "ejection": "off" }],
          "listeners": [{ "listen": "*:1", "tls": {
            "certificates": [{ "chain": "c", "key": "k" }], "tickets": "off" } }] }
        """))
    #expect(read.pools[0].health == nil)
    #expect(read.pools[0].ejection == nil)
    #expect(read.listeners[0].tls?.tickets == nil)
  }

  @Test(
    "a collector has its port and its path",
    arguments: [
      ("http://c", "http://c:4318", "/v1/traces"), ("http://c/", "http://c:4318", "/v1/traces"),
      ("HTTP://10.0.0.1:9/", "http://10.0.0.1:9", "/v1/traces"),
      ("http://[::1]/a/b", "http://[::1]:4318/a/b", "/a/b"),
    ])
  func collector(_ text: String, _ written: String, _ path: String) throws {
    let read = try #require(
      configuration("{ \"tracing\": { \"endpoint\": \"\(text)\" }, \(somePools) }"))
    #expect(read.tracing?.endpoint.description == written)
    #expect(read.tracing?.endpoint.path == path)
    #expect(read.tracing?.sample == 1 && read.tracing?.serviceName == "martlet")
  }

  @Test("a route without an action forwards to the only pool, whatever its name")
  func onlyPool() throws {
    let read = try #require(
      configuration(
        """
        { "pools": [{ "name": "web", "backends": ["a:1"] }],
          "routes": [{ "response": { "set": { "A": "b" } } }] }
        """))
    #expect(read.routes.map(\.action) == [.forward(pool: "web")])
    #expect(read.pool(named: "web") == read.pools[0])
  }

  @Test("the summary of many backends stays on one screen")
  func longSummary() throws {
    let backends = (1...100).map { "\"10.0.0.\($0):80\"" }.joined(separator: ", ")
    let read = try #require(configuration("{ \"pools\": [{ \"backends\": [\(backends)] }] }"))
    #expect(
      read.summary().contains("10.0.0.12:80\n           ... and 88 more, which --all shows\n"))
    #expect(read.summary().split(separator: "\n").count < 24)
    let all = read.summary(all: true)
    #expect(all.contains("           10.0.0.100:80\n") && !all.contains("more"))
  }

  @Test("the summary names listeners, routes, backends and times")
  func summary() throws {
    let read = try #require(
      configuration(
        """
        { "listeners": [{ "listen": "*:80", "redirect-to-https": 443 }, { "listen": "*:81" }],
          "pools": [{ "strategy": "random", "health": { "check": "http" },
                      "backends": ["a:1", { "address": "b:2", "weight": 3, "backup": true }] }],
          "routes": [{}, { "host": "a.b", "path": "/ping", "match": "exact", "respond": {} }] }
        """))
    #expect(
      read.summary() == """
        listen   *:80  http  http/1.1
                   */ -> redirect 308 to https://(host):443(path)
        listen   *:81  http  http/1.1
                   a.b/ping$ -> respond 200
                   */ -> pool default
        pool     default  random  http/1.1
                   a:1
                   b:2  weight 3  backup
                   http check GET / every 5s, up after 2, down after 3; ejected after 5 failures
                   timeouts: request 1m, response 30s, connect 3s; max-attempts 3
        limits   20000 connections, heads of 32KiB, bodies of 1GiB
        log      access json to stdout, level info
        workers  one per processor

        """)
  }

  @Test("the summary has protocols, and what is set for gRPC")
  func summaryOfGRPC() throws {
    let read = try #require(
      configuration(
        """
        { "listeners": [{ "listen": "*:80", "protocols": ["h2"] }],
          "pools": [{ "backends": ["a:1"], "protocol": "h2", "timeouts": { "grpc-max": "5m" },
                      "health": { "check": "grpc", "service": "a.B" },
                      "retry": { "grpc-statuses": ["unavailable", "aborted"] } }],
          "routes": [{ "grpc-web": true }] }
        """))
    for part in [
      "*:80  http  h2\n", "*/ -> pool default, grpc-web\n", "  grpc check of a.B every 5s",
      "connect 3s, grpc-max 5m; max-attempts 3, also after grpc-statuses unavailable, aborted\n",
    ] {
      #expect(read.summary().contains(part), "\(read.summary())")
    }
  }
}
