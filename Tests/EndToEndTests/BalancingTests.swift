// The strategies over the whole process, whichever worker serves the request.

import Foundation
import Synchronization
import Testing

@Suite(.serialized) struct BalancingTests {
  /// Responds to `/hold` only when the test releases it, and to other targets at once.
  private final class Holding: Sendable {
    let stub: StubBackend
    private let gate: Gate

    init(_ name: String) throws {
      let gate = Gate()
      self.gate = gate
      stub = try StubBackend { request, wire in
        if request.target == "/hold" { gate.wait() }
        try wire.send("HTTP/1.1 200 OK\r\nContent-Length: \(name.utf8.count)\r\n\r\n\(name)")
        return true
      }
    }

    func letGo() { gate.open() }

    private final class Gate: Sendable {
      let isOpen = Atomic(false)
      func wait() { _ = poll { isOpen.load(ordering: .acquiring) } }
      func open() { isOpen.store(true, ordering: .releasing) }
    }
  }

  @Test(arguments: [1, 4])
  func `weights 5 1 1 are exact in every window of seven, over all workers`(
    _ workers: Int
  ) throws {
    let stubs = try ["a", "b", "c"].map { try StubBackend($0) }
    let martlet = try MartletProcess(
      backends: [Detailed(backend: stubs[0], keys: #""weight": 5"#), stubs[1], stubs[2]],
      pool: #""strategy": "weighted-round-robin""#, flags: ["--workers", "\(workers)"])
    // Each on a separate connection, which the kernel assigns to any worker.
    let answers = try (0..<70).map { _ in try martlet.get().text }
    for start in 0...(answers.count - 7) {
      let window = answers[start..<(start + 7)]
      #expect(window.count { $0 == "a" } == 5)
      #expect(window.count { $0 == "b" } == 1)
      #expect(window.count { $0 == "c" } == 1)
      // Smooth: the heavy one never gets a block of five.
      #expect(!window.joined().contains("aaaaa") || start % 7 != 0)
    }
  }

  @Test func `least connections goes to the idle one while another is busy`() throws {
    let busy = try Holding("a")
    let idle = try Holding("b")
    let martlet = try MartletProcess(
      backends: [busy.stub, idle.stub], pool: #""strategy": "least-connections""#)
    let held = try martlet.wire()
    try held.send("GET /hold HTTP/1.1\r\nHost: localhost\r\n\r\n")
    eventually("one is busy") { busy.stub.requests.count + idle.stub.requests.count == 1 }
    let (other, name) = busy.stub.requests.isEmpty ? (busy, "a") : (idle, "b")
    for _ in 0..<20 { #expect(try martlet.get().text == name) }
    #expect(other.stub.requests.count == 20)
    busy.letGo()
    idle.letGo()
    #expect(try held.takeResponse().status == 200)
    #expect(Set(try (0..<10).map { _ in try martlet.get().text }) == ["a", "b"])
  }

  @Test func `least connections respects weights`() throws {
    let a = try Holding("a")
    let b = try Holding("b")
    let martlet = try MartletProcess(
      backends: [Detailed(backend: a.stub, keys: #""weight": 3"#), b.stub],
      pool: #""strategy": "least-connections""#)
    var held: [Wire] = []
    for count in 1...8 {
      let wire = try martlet.wire()
      try wire.send("GET /hold HTTP/1.1\r\nHost: localhost\r\n\r\n")
      held.append(wire)
      eventually("it is there") { a.stub.requests.count + b.stub.requests.count == count }
    }
    #expect(a.stub.requests.count == 6)
    #expect(b.stub.requests.count == 2)
    a.letGo()
    b.letGo()
    for wire in held { #expect(try wire.takeResponse().status == 200) }
  }

  @Test func `random uses all backends`() throws {
    let stubs = try ["a", "b", "c"].map { try StubBackend($0) }
    let martlet = try MartletProcess(backends: stubs, pool: #""strategy": "random""#)
    let wire = try martlet.wire()
    let answers = try (0..<300).map { _ in try wire.get().text }
    // Twelve standard deviations in both directions.
    for name in ["a", "b", "c"] { #expect((20...200).contains(answers.count { $0 == name })) }
    // Not in a fixed order.
    #expect(zip(answers, answers.dropFirst(3)).contains { $0 != $1 })
  }

  @Test func `ip-hash keeps clients, and a failure moves only those of the failed one`() throws {
    let nginxes = try ["a", "b", "c"].map { try Nginx($0) }
    let martlet = try MartletProcess(
      backends: nginxes,
      pool: #"""
        "strategy": "ip-hash",
        "health": { "interval": "100ms", "fast-interval": "100ms", "rise": 1, "fall": 1 },
        "ejection": { "base": "100ms" }
        """#,
      rest: #""trusted-proxies": ["127.0.0.1"]"#)
    func backends() throws -> [String] {
      try (0..<60).map {
        try martlet.get("/", "X-Forwarded-For: 198.51.\($0 / 8).\($0 * 4 % 256)\r\n").text
      }
    }
    let before = try backends()
    #expect(Set(before).count == 3)
    #expect(try backends() == before)
    nginxes[1].kill()
    let during = try backends()
    for (old, new) in zip(before, during) {
      if old == "b\n" { #expect(new != "b\n") } else { #expect(new == old) }
    }
    // The clients that had to move are spread over both others.
    #expect(Set(zip(before, during).filter { $0.0 == "b\n" }.map(\.1)) == ["a\n", "c\n"])
    try nginxes[1].start()
    try eventually("everybody is back") { try backends() == before }
  }

  @Test func `max-connections is never exceeded, and the rest goes to the others`() throws {
    let small = try Holding("small")
    let large = try Holding("large")
    let martlet = try MartletProcess(
      backends: [Detailed(backend: small.stub, keys: #""max-connections": 2"#), large.stub],
      flags: ["--workers", "4"])
    var held: [Wire] = []
    for count in 1...12 {
      let wire = try martlet.wire()
      try wire.send("GET /hold HTTP/1.1\r\nHost: localhost\r\n\r\n")
      held.append(wire)
      eventually("it is there") { small.stub.requests.count + large.stub.requests.count == count }
    }
    #expect(small.stub.requests.count == 2)
    small.letGo()
    large.letGo()
    for wire in held { #expect(try wire.takeResponse().status == 200) }
    // The slots are free again.
    #expect(Set(try (0..<4).map { _ in try martlet.get().text }) == ["small", "large"])
  }

  @Test func `503 when every backend is at its limit`() throws {
    let only = try Holding("only")
    let martlet = try MartletProcess(
      backends: [Detailed(backend: only.stub, keys: #""max-connections": 1"#)])
    let held = try martlet.wire()
    try held.send("GET /hold HTTP/1.1\r\nHost: localhost\r\n\r\n")
    eventually("it is there") { only.stub.requests.count == 1 }
    let answer = try martlet.get()
    #expect(answer.status == 503)
    #expect(answer["Retry-After"] != nil)
    only.letGo()
    #expect(try held.takeResponse().text == "only")
    #expect(try martlet.get().text == "only")
  }

  @Test func `a backup serves only while no other backend is available`() throws {
    let main = try Nginx("main")
    let backup = try StubBackend("backup")
    let martlet = try MartletProcess(
      backends: [main, Detailed(backend: backup, keys: #""backup": true"#)],
      pool: #"""
        "health": { "interval": "100ms", "fast-interval": "100ms", "rise": 1, "fall": 1 },
        "ejection": { "base": "100ms" }
        """#)
    for _ in 0..<6 { #expect(try martlet.get().text == "main\n") }
    main.kill()
    for _ in 0..<6 { #expect(try martlet.get().text == "backup") }
    try main.start()
    try eventually("the main one is back") { try martlet.get().text == "main\n" }
    for _ in 0..<6 { #expect(try martlet.get().text == "main\n") }
  }
}
