// Clients that send or read very slowly, to occupy resources.

import Foundation
import Testing

@Suite(.serialized) struct SlowClientTests {
  /// Sends single bytes with pauses, until there is a response or the connection breaks.
  private func drip(_ byte: String, into wire: Wire) -> Bool {
    poll {
      guard (try? wire.send(byte)) != nil else { return true }
      usleep(20_000)
      var event = pollfd(fd: wire.descriptor, events: Int16(POLLIN), revents: 0)
      return Foundation.poll(&event, 1, 0) > 0
    }
  }

  @Test func `408 for a head that arrives byte by byte`() throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(backends: [stub], rest: #""limits": { "head": "500ms" }"#)
    let wire = try martlet.wire()
    try wire.send("GET / HTTP/1.1\r\nX: ")
    #expect(drip("x", into: wire))
    #expect(try wire.takeResponse().status == 408)
    #expect(stub.requests.isEmpty)
  }

  @Test func `408 for a body below the minimum rate, although it never stops`() throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(
      backends: [stub],
      rest: #"""
        "limits": { "minimum-rate": "10KiB", "rate-grace": "500ms", "body-idle": "300s",
                    "collect-wait": "0s" }
        """#)
    let wire = try martlet.wire()
    try wire.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n")
    #expect(drip("x", into: wire))
    #expect(try wire.takeResponse().status == 408)
    let line = try #require(try martlet.accessLines(atLeast: 1).first)
    #expect(line["failure"] as? String == "request-timeout")
    #expect(try martlet.get().status == 200)
  }

  @Test func `a slow body is accepted when no minimum is set`() throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(
      backends: [stub],
      rest: #""limits": { "minimum-rate": "off", "rate-grace": "100ms", "collect-wait": "0s" }"#)
    let wire = try martlet.wire()
    try wire.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20\r\n\r\n")
    for _ in 0..<20 {
      try wire.send("x")
      usleep(20_000)
    }
    #expect(try wire.takeResponse().status == 200)
  }

  @Test func `a client that reads its answer below the minimum rate is cut off`() throws {
    let nginx = try Nginx("a")
    let size = 30_000_000
    try nginx.folder.write(String(repeating: "x", count: size), to: "root/files/large")
    let martlet = try MartletProcess(
      backends: [nginx],
      rest: #"""
        "limits": { "minimum-rate": "1MiB", "rate-grace": "300ms", "body-idle": "300s" }
        """#)
    let wire = try Wire(port: martlet.port, receiveBuffer: 4096)
    try wire.send("GET /files/large HTTP/1.1\r\nHost: localhost\r\n\r\n")
    // Reads a little from time to time, so that the connection is never idle for long.
    var taken = 0
    #expect(
      poll {
        var byte = [UInt8](repeating: 0, count: 100)
        let count = recv(wire.descriptor, &byte, byte.count, Int32(MSG_DONTWAIT))
        taken += max(0, count)
        usleep(20_000)
        return martlet.accessLog.contains("client-stalled")
      })
    #expect(taken < size)
    // Meanwhile, other clients get all of it at their own speed.
    #expect(try martlet.get("/files/large").body.count == size)
  }

  @Test func `a client that reads its answer slowly but steadily gets all of it`() throws {
    let nginx = try Nginx("a")
    let size = 3_000_000
    try nginx.folder.write(String(repeating: "x", count: size), to: "root/files/large")
    let martlet = try MartletProcess(
      backends: [nginx],
      rest: #"""
        "limits": { "minimum-rate": "1KiB", "rate-grace": "1200ms", "body-idle": "2s" }
        """#)
    let wire = try Wire(port: martlet.port, receiveBuffer: 4096)
    try wire.send("GET /files/large HTTP/1.1\r\nHost: localhost\r\n\r\n")
    // At this rate Martlet's kernel buffer stays full for longer than the idle timeout. Only the
    // bytes that the client has acknowledged show that it still reads.
    var taken = 0
    var piece = [UInt8](repeating: 0, count: 1000)
    let end = seconds() + 5
    while seconds() < end {
      taken += max(0, recv(wire.descriptor, &piece, piece.count, Int32(MSG_DONTWAIT)))
      usleep(50_000)
    }
    #expect(taken < 200_000)
    // The last byte of the body; the head comes in addition.
    #expect(try wire.take(size - taken).count == size - taken)
    #expect(!martlet.accessLog.contains("client-stalled"))
  }

  @Test func `an idle WebSocket has no minimum rate`() throws {
    let stub = try StubBackend { _, wire in
      try wire.send(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
      try wire.send(try wire.take(5))
      return false
    }
    let martlet = try MartletProcess(
      backends: [stub], rest: #""limits": { "minimum-rate": "1MiB", "rate-grace": "100ms" }"#)
    let wire = try martlet.wire()
    try wire.send(
      "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    #expect(try wire.takeHead().status == 101)
    for byte in "hello" {
      usleep(150_000)
      try wire.send(String(byte))
    }
    #expect(try wire.take(5) == Array("hello".utf8))
  }
}
