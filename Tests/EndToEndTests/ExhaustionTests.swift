// No file descriptors left: Martlet neither spins nor ends, and current clients stay connected.

import Foundation
import Testing

@Suite(.serialized) struct ExhaustionTests {
  @Test func `without a free descriptor it doesn't spin, serves on, and recovers`() throws {
    let stub = try StubBackend("hello")
    let martlet = try MartletProcess(
      backends: [stub], pool: #""health": "off", "keep-alive": { "idle": "300s" }"#,
      flags: ["--workers", "1"])
    let established = try martlet.wire()
    #expect(try established.get().text == "hello")

    let process = martlet.process
    func limit(_ count: Int) throws {
      let result = try run(["prlimit", "--pid", "\(process.id)", "--nofile=\(count):"])
      #expect(result.status == 0, "\(result.errors)")
    }
    try limit(process.lowestFreeDescriptor)
    let waiting = try (0..<3).map { _ in try martlet.wire() }
    for wire in waiting { try wire.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n") }
    eventually("it says so") { martlet.log.contains("no file descriptors or memory left") }

    let before = process.processorTime
    usleep(1_500_000)
    #expect(process.processorTime - before < 0.4)
    for _ in 0..<5 { #expect(try established.get().text == "hello") }
    #expect(process.isRunning)
    let message = "no file descriptors or memory left"
    #expect(martlet.log.components(separatedBy: message).count == 2, "said once")

    try limit(200)
    for wire in waiting { #expect(try wire.takeResponse().text == "hello") }
    #expect(try martlet.get().text == "hello")
  }

  @Test func `without a free descriptor the admin interface doesn't spin either`() throws {
    let martlet = try MartletProcess(
      backends: [try StubBackend()], rest: #""admin": { "listen": "127.0.0.1:0" }"#,
      flags: ["--workers", "1"])
    let process = martlet.process
    func limit(_ count: Int) throws {
      let result = try run(["prlimit", "--pid", "\(process.id)", "--nofile=\(count):"])
      #expect(result.status == 0, "\(result.errors)")
    }
    try limit(process.lowestFreeDescriptor)
    let request = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    let waiting = try (0..<3).map { _ in try Wire(port: martlet.adminPort()) }
    for wire in waiting { try wire.send(request) }
    let before = process.processorTime
    usleep(1_500_000)
    #expect(process.processorTime - before < 0.4)
    try limit(200)
    for wire in waiting { #expect(try wire.takeResponse().text == "ok\n") }
  }

  @Test func `idle connections to backends leave room for others`() throws {
    let folder = TemporaryFolder()
    let stub = try StubBackend.halving(until: folder.path("go"))
    let martlet = try MartletProcess(
      backends: [stub], pool: #""health": "off""#,
      rest: #""admin": { "listen": "127.0.0.1:0" }"#, flags: ["--workers", "1"],
      wrapper: ["prlimit", "--nofile=100:100"])
    let wires = try (0..<20).map { _ in try martlet.wire() }
    for wire in wires { try wire.send("GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n") }
    eventually("all are under way") { stub.connectionCount == 20 }
    try folder.write("", to: "go")
    for wire in wires { #expect(try wire.takeResponse().text == "firstother") }
    let metrics = try Wire(port: martlet.adminPort()).exchange(
      "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
    // An eighth of the 60 descriptors for connections.
    #expect(metrics.text.contains("\nmartlet_upstream_connections_idle 7\n"))
  }

  @Test func `with few descriptors fewer clients are accepted, to keep some for backends`() throws {
    let stub = try StubBackend("hello")
    let martlet = try MartletProcess(
      backends: [stub], flags: ["--workers", "2"], wrapper: ["prlimit", "--nofile=100:100"])
    #expect(martlet.log.contains("only 100 file descriptors"), "\(martlet.log)")
    var served: [Wire] = []
    for _ in 0..<60 {
      let wire = try martlet.wire()
      if (try? wire.get().text) == "hello" { served.append(wire) }
    }
    // Of the 52 beyond its own needs, some are for idle connections to backends and for the admin
    // interface.
    #expect(served.count == 20)
    for wire in served { #expect(try wire.get().text == "hello") }
    #expect(!martlet.log.contains("no file descriptors or memory left"), "\(martlet.log)")
    served.removeAll()
    eventually("there is room again") { (try? martlet.get().text) == "hello" }
  }
}
