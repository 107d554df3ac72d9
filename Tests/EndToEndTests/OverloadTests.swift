// Shortage of memory and connections: current exchanges finish, other clients are told to wait.

import Foundation
import Synchronization
import Testing

/// Holds a backend's response until a test releases it.
private final class Gate: Sendable {
  let isOpen = Atomic(false)
}

@Suite(.serialized) struct OverloadTests {
  @Test func `without memory new requests get 503, and current ones continue`() throws {
    let gate = Gate()
    let stub = try StubBackend { request, wire in
      try wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
      if request.target == "/slow" { _ = poll { gate.isOpen.load(ordering: .relaxed) } }
      try wire.send("world")
      return true
    }
    func configuration(_ memory: String) -> String {
      MartletProcess.configuration(
        backends: [stub], rest: #""limits": { "memory": "\#(memory)" }"#)
    }
    let martlet = try MartletProcess(configuration("1TiB"))
    let slow = try martlet.wire()
    try slow.send("GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
    #expect(try slow.takeHead().status == 200)
    let idle = try martlet.wire()
    #expect(try idle.get().text == "helloworld")

    // Less than the process has at its start.
    try martlet.reload(configuration("1MiB"))
    eventually("it says so") { martlet.log.contains("overload: shedding-requests") }
    // The log reports it before the workers apply it.
    try eventually("it does so") { try martlet.get().status == 503 }
    let answers = try (0..<3).map { _ in try martlet.get() }
    for answer in answers {
      #expect(answer.status == 503)
      #expect(answer["Retry-After"] != nil)
      #expect(answer["Connection"] == "close")
    }
    #expect(idle.endsQuietly())
    gate.isOpen.store(true, ordering: .relaxed)
    #expect(try slow.take(10) == Array("helloworld".utf8))
    let lines = try martlet.accessLines(atLeast: 5)
    #expect(lines.count { $0["failure"] as? String == "overloaded" } >= 3)

    try martlet.reload(configuration("1TiB"))
    eventually("it is over") { martlet.log.contains("overload: normal") }
    try eventually("all is well") { try martlet.get().text == "helloworld" }
  }

  @Test func `memory is returned to the kernel after a flood`() throws {
    let certificates = try Certificates()
    let martlet = try MartletProcess(
      backends: [try StubBackend("hello")],
      listener: #""tls": { "certificates": [\#(certificates.entry())] }"#,
      rest: #""limits": { "handshake": "300s" }"#)
    let before = martlet.residentKiB
    // A record of 16 KiB without its last byte uses the buffers of OpenSSL and of Martlet.
    let hello = [22, 3, 1, 64, 0, 1, 0, 63, 252] + [UInt8](repeating: 3, count: 3000)
    var wires = try (0..<700).map { _ in try martlet.wire() }
    for wire in wires { try wire.send(hello) }
    eventually("it grows") { martlet.residentKiB > before + 15_000 }
    wires.removeAll()
    // The allocators of the sanitizers keep freed memory.
    if Installation.isSanitized { return }
    eventually("it shrinks") { martlet.residentKiB < before + 7_500 }
  }

  @Test func `with many connections idle ones are closed, and no answer is lost`() throws {
    let martlet = try MartletProcess(
      backends: [try StubBackend("hello")], rest: #""limits": { "connections": 20 }"#)
    let wires = try (0..<18).map { _ in
      let wire = try martlet.wire()
      #expect(try wire.get().text == "hello")
      return wire
    }
    eventually("it says so") { martlet.log.contains("overload: ending-connections") }
    try eventually("it does so") {
      let answer = try martlet.get()
      #expect(answer.text == "hello")
      return answer["Connection"] == "close"
    }
    for wire in wires { #expect(wire.endsQuietly()) }
    eventually("it is over") { martlet.log.contains("overload: normal") }
    try eventually("all is well") { try martlet.get()["Connection"] == nil }
    #expect(!martlet.log.contains("shedding"))
  }
}

extension MartletProcess {
  /// Its resident memory.
  fileprivate var residentKiB: Int {
    let status = try? String(contentsOfFile: "/proc/\(process.id)/status", encoding: .utf8)
    let line = status?.split(separator: "\n").first { $0.hasPrefix("VmRSS:") }
    return line.flatMap { Int($0.split(separator: " ").dropLast().last ?? "") } ?? 0
  }
}
