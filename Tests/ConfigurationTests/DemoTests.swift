// Demo backends are listeners that respond with their name.

import Testing

@testable import Configuration

@Suite("Demo backends")
struct DemoTests {
  private var demo: Overrides {
    var overrides = Overrides()
    overrides.demo = true
    return overrides
  }

  @Test("three of them are all that a run without file and flags needs")
  func alone() throws {
    let read = try #require(configuration(nil, demo))
    #expect(
      read.listeners.flatMap(\.addresses).map(\.description) == ["127.0.0.1:8443", "[::1]:8443"])
    #expect(read.listeners[0].tls == .standard)
    #expect(read.pools[0].backends.count == 3)
    #expect(read.routes(on: read.listeners[0]).map(\.action) == [.forward(pool: "default")])
    // They are not part of the configuration of the load balancer.
    let demo = try #require(read.ofDemoBackends)
    #expect(
      demo.listeners.flatMap(\.addresses).map(\.description)
        == ["127.0.0.1:9001", "127.0.0.1:9002", "127.0.0.1:9003"])
    #expect(demo.listeners.allSatisfy { $0.tls == nil } && demo.log.access == .off)
    var response = Configuration.Response()
    response.body = "Hello from backend-2\n"
    #expect(demo.routes(on: demo.listeners[1]).map(\.action) == [.respond(response)])
  }

  @Test("they listen on the addresses of backends that are on this machine, once each")
  func fromFile() throws {
    let read = try #require(
      configuration(
        """
        { "pools": [{ "name": "a", "backends": ["127.0.0.1:7", "10.0.0.1:8", "localhost:9"] },
                    { "name": "b", "backends": ["[::1]:7", "127.0.0.1:7"] }],
          "routes": [{ "forward": "a" }, { "path": "/b", "forward": "b" }] }
        """, demo))
    #expect(
      read.demoBackends.map(\.address.description)
        == ["127.0.0.1:7", "127.0.0.1:9", "[::1]:7"])
  }

  @Test("they are refused where they can't listen")
  func refused() {
    #expect(
      diagnose(#"{ "pools": [{ "backends": ["10.0.0.1:8"] }] }"#, demo) == [
        """
        --demo: error: no backend has a loopback address for a demo backend, such as 127.0.0.1:9001
        """
      ])
    #expect(
      diagnose(#"{ "pools": [{ "backends": ["127.0.0.1:8443"] }] }"#, demo) == [
        "--demo: error: 127.0.0.1:8443 is already used by the listener \"localhost:8443\""
      ])
  }

  @Test("one alone is a configuration too")
  func single() throws {
    let one = try #require(Configuration.demoBackend(name: "one", listen: "127.0.0.1:0"))
    #expect(one.listeners.map(\.name) == ["one"])
    guard case .respond(let response) = one.routes(on: one.listeners[0]).first?.action else {
      Issue.record("no response")
      return
    }
    #expect(response.status == 200)
    #expect(response.body == "Hello from one\n")
    #expect(Configuration.demoBackend(name: "one", listen: "nowhere") == nil)
  }
}
