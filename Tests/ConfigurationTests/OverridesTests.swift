// Flags override the file, and the file overrides the defaults.

import Primitives
import Testing

@testable import Configuration

private func flags(_ set: (inout Overrides) -> Void) -> Overrides {
  var overrides = Overrides()
  set(&overrides)
  return overrides
}

@Suite("Overrides")
struct OverridesTests {
  @Test("flags alone are a configuration, on top of the defaults")
  func noFile() throws {
    let overrides = flags {
      $0.listen = "127.0.0.1:8080"
      $0.plainHTTP = true
      $0.backends = ["10.0.0.1:80", "app:81,weight=3", "b:82,backup,max-connections=5"]
      $0.strategy = "random"
      $0.requestTimeout = "7s"
      $0.healthInterval = "300ms"
      $0.workers = "2"
    }
    let read = try #require(configuration(nil, overrides))
    #expect(read.listeners.count == 1)
    #expect(read.listeners[0].addresses.map(\.description) == ["127.0.0.1:8080"])
    #expect(read.listeners[0].tls == nil)
    let pool = read.pools[0]
    #expect(pool.backends.map(\.endpoint.description) == ["10.0.0.1:80", "app:81", "b:82"])
    #expect(pool.backends.map(\.weight) == [1, 3, 1])
    #expect(pool.backends[2].isBackup && pool.backends[2].maxConnections == 5)
    #expect(pool.strategy == .random)
    #expect(pool.timeouts.request == .seconds(7))
    #expect(pool.health?.interval == .milliseconds(300))
    #expect(read.workers == 2)
    #expect(read.routes.map(\.action) == [.forward(pool: "default")])
  }

  @Test("without flags and file the default listener has certificates, but no pool")
  func nothing() {
    let reading = Configuration.read(nil)
    #expect(reading.configuration == nil)
    #expect(
      reading.diagnostics.map(\.description) == [
        """
        error: there is nothing to serve: add a pool with backends (pools in the file, or \
        --backend), or try --demo
        """
      ])
  }

  @Test("a flag replaces what the file says, and leaves the rest")
  func overFile() throws {
    let text = """
      { "listeners": [{ "name": "x", "listen": "*:443", "hsts": {}, "tls": {
          "certificates": [{ "chain": "a", "key": "b" }], "policy": "modern" } }],
        "pools": [{ "name": "p", "backends": ["a:1", "b:1"],
          "timeouts": { "request": "1s", "connect": "1s" }, "health": "off" }] }
      """
    let read = try #require(
      configuration(
        text,
        flags {
          $0.listen = "localhost:1"
          $0.certificate = "c.crt"
          $0.key = "c.key"
          $0.backends = ["c:1"]
          $0.requestTimeout = "2s"
          $0.healthInterval = "2s"
        }))
    #expect(read.listeners[0].name == "x")
    #expect(read.listeners[0].listen.map(\.text) == ["localhost:1"])
    #expect(read.listeners[0].tls?.certificates == [.init(chain: "c.crt", key: "c.key")])
    #expect(read.listeners[0].tls?.policy == .modern)
    #expect(read.pools[0].name == "p")
    #expect(read.pools[0].backends.map(\.endpoint.description) == ["c:1"])
    #expect(read.pools[0].timeouts.request == .seconds(2))
    #expect(read.pools[0].timeouts.connect == .seconds(1))
    #expect(read.pools[0].health?.interval == .seconds(2))

    let plain = try #require(configuration(text, flags { $0.plainHTTP = true }))
    #expect(plain.listeners[0].tls == nil && plain.listeners[0].hsts == nil)
  }

  @Test("relative paths start at the working directory in flags, at the file's in the file")
  func paths() throws {
    let bytes = Array("{ \(somePools) }".utf8)
    let read = Configuration.read(
      bytes, file: "/etc/c.json",
      overrides: flags {
        $0.certificate = "a.crt"
        $0.key = "a.key"
      })
    #expect(read.configuration?.listeners[0].tls?.certificates.first?.chain == "a.crt")
    let unchanged = Configuration.read(bytes, file: "/etc/c.json").configuration
    let pair = Configuration.CertificateFiles(
      chain: "/etc/certs/server.crt", key: "/etc/certs/server.key")
    #expect(unchanged?.listeners[0].tls?.certificates == [pair])
  }

  @Test("mistakes in flags are reported by the name of the flag, before those of the file")
  func mistakes() {
    let overrides = flags {
      $0.strategy = "randm"
      $0.backends = ["a:1,weight=x", "https://b/c"]
      $0.workers = "many"
      $0.listen = "1"
      $0.certificate = "c"
    }
    #expect(
      diagnose(#"{ "via": 1 }"#, overrides) == [
        "--certificate: error: --key is missing; give both or none",
        """
        --listen: error: "1" is not an address to listen on; write \
        "127.0.0.1:8443", "[::1]:8443", "localhost:8443" for both, or "*:8443" for all addresses \
        (did you mean "*:1"?)
        """,
        """
        --backend: error: weight: "x" is not a whole number; 1 to 256 is \
        allowed
        """,
        """
        --backend: error: "https://b/c" is not the address of a backend; \
        write "10.0.0.1:8080", "[2001:db8::1]:8080", "app.internal:8080" or \
        "unix:/run/app.sock"
        """,
        """
        --strategy: error: "randm" is not a strategy; one of round-robin, \
        weighted-round-robin, least-connections, random, ip-hash, maglev, power-of-two, \
        least-time (did you mean "random"?)
        """,
        """
        --workers: error: "many" is not a whole number; 1 to 1024 is allowed
        """,
        "c.json:1:10: error: via: 1 is not a boolean; write true or false (did you mean true?)",
      ])
  }

  @Test("a flag that doesn't say which listener or pool it means is refused")
  func ambiguity() {
    let text = """
      { "listeners": [{ "listen": "*:1" }, { "listen": "*:2" }],
        "pools": [{ "name": "a", "backends": ["a:1"] }, { "name": "b", "backends": ["b:1"] }],
        "routes": [{ "forward": "a" }, { "path": "/b", "forward": "b" }] }
      """
    #expect(
      diagnose(
        text,
        flags {
          $0.listen = "*:3"
          $0.backends = ["c:1"]
        }) == [
          """
          --listen: error: listeners: not allowed: the file has 2 listeners; edit the file instead
          """,
          "--backend: error: pools: not allowed: the file has 2 pools; edit the file instead",
        ])
    #expect(
      diagnose(
        text,
        flags {
          $0.certificate = "c"
          $0.key = "k"
        }) == ["--certificate: error: no listener of the file has tls"])
  }

  @Test("flags don't trap, whatever the file contains")
  func strangeFiles() {
    let overrides = flags {
      $0.listen = "*:1"
      $0.certificate = "c"
      $0.key = "k"
      $0.backends = [",,=", ""]
      $0.healthInterval = "1s"
      $0.demo = true
    }
    for text in [
      "[]", "1", "{", #"{"listeners": 1, "pools": 2}"#, #"{"listeners": [1], "pools": [2, []]}"#,
      #"{"listeners": [{"tls": 1}], "pools": [{"health": 1}]}"#, #"{"pools": []}"#,
    ] {
      #expect(!diagnose(text, overrides).isEmpty, "\(text)")
    }
  }
}
