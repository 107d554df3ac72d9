// TCP keep-alive on idle connections: which ones have it, according to the kernel's table.

import Foundation
import Testing

@Suite struct KeepAliveTests {
  private static let upgrade =
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"

  /// Accepts every upgrade and then sends nothing.
  private func quietBackend() throws -> StubBackend {
    try StubBackend { _, wire in
      try wire.send(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
      while try wire.receive() {}
      return false
    }
  }

  /// The timer of the established connection between two ports, on the side with port `local`: 0
  /// for none, 1 while data is unacknowledged, 2 for the next probe.
  private func timer(from local: Int?, to remote: Int?) -> Substring? {
    func matches(_ column: Substring, _ port: Int?) -> Bool {
      port.map { column.hasSuffix(":" + String(format: "%04X", $0)) } ?? true
    }
    // Columns: number, local address, remote address, state, queues, timer and its time.
    for line in connectionTable().split(separator: "\n").dropFirst() {
      let columns = line.split(separator: " ")
      if columns.count > 5, columns[3] == "01", matches(columns[1], local),
        matches(columns[2], remote)
      {
        return columns[5].prefix(2)
      }
    }
    return nil
  }

  /// Whether keep-alive is on for a WebSocket's connections: the client's, and the backend's.
  private func probed(_ martlet: MartletProcess, _ stub: StubBackend) throws -> [Bool] {
    let wire = try martlet.wire()
    try wire.send(Self.upgrade)
    #expect(try wire.takeHead().status == 101)
    var timers: [Substring?] = []
    eventually("all is acknowledged") {
      timers = [timer(from: martlet.port, to: nil), timer(from: nil, to: stub.port)]
      return timers.allSatisfy { $0 == "00" || $0 == "02" }
    }
    wire.end()
    eventually("it is over") {
      timer(from: martlet.port, to: nil) == nil && !hasEstablishedConnection(toPort: stub.port)
    }
    return timers.map { $0 == "02" }
  }

  @Test func `an upgrade that fails leaves the sockets as they were`() throws {
    let stub = try quietBackend()
    let taken = try Listening()
    let installed = try Installed()
    func configuration(_ listener: String, _ rest: String) -> String {
      installed.configuration(
        backends: [stub], pool: #""health": "off""#, listener: listener,
        rest: #""watch": false"# + rest)
    }
    let martlet = try installed.start(configuration(#""backlog": 7"#, ""), keeping: [stub])
    #expect(try probed(martlet, stub) == [true, true])
    // Every socket can be bound, except the one of the admin interface.
    try installed.folder.write(
      configuration(
        #""backlog": 9, "tcp-keep-alive": "off""#,
        #", "admin": { "listen": "127.0.0.1:\#(taken.port)" }"#), to: "config.json")
    #expect(try installed.upgrade().status == 70)
    #expect(martlet.log.contains("admin.listen: can't listen on 127.0.0.1:\(taken.port)"))
    #expect(try probed(martlet, stub) == [true, true])
    #expect(try backlogs(martlet) == ["7"])
    // A successful reload changes them.
    try installed.folder.write(
      configuration(#""backlog": 9, "tcp-keep-alive": "off""#, ""), to: "config.json")
    #expect(try installed.upgrade().status == 0, "\(martlet.log)")
    #expect(try martlet.process.waitForExit() == 0)
    #expect(try probed(martlet, stub) == [false, true])
    #expect(try backlogs(martlet) == ["9"])
  }

  /// The settings of the listening sockets.
  private func backlogs(_ martlet: MartletProcess) throws -> Set<Substring> {
    let lines = try run(["ss", "-Hltn", "sport", "=", ":\(martlet.port)"]).output
    return Set(lines.split(separator: "\n").map { $0.split(separator: " ")[2] })
  }

  @Test func `connections on both sides are probed, unless a reload turns that off`() throws {
    let stub = try quietBackend()
    // A fixed port, so that the listening sockets stay the same.
    let port = try freePort()
    func configuration(_ listener: String, _ pool: String) -> String {
      """
      { "listeners": [{ "listen": "127.0.0.1:\(port)"\(listener) }],
        "pools": [{ "backends": [\(stub.json)], "health": "off"\(pool) }], "watch": false,
        "log": { "target": "access.log" } }
      """
    }
    let off = #", "tcp-keep-alive": "off""#
    let martlet = try MartletProcess(configuration("", ""), keeping: [stub])
    #expect(try probed(martlet, stub) == [true, true])
    try martlet.reload(configuration(off, ""))
    #expect(try probed(martlet, stub) == [false, true])
    try martlet.reload(configuration(#", "tcp-keep-alive": { "idle": "5s" }"#, off))
    #expect(try probed(martlet, stub) == [true, false])
  }
}
