// TLS sessions with an error of the client: they end with an alert that reaches the client, even if
// it has sent more data, and other clients are not affected.

import Foundation
import Testing

@Suite(.serialized) struct AlertTests {
  /// Data that is sent after the handshake, and the alert for it (RFC 8446 6.2).
  enum Fault: String, Sendable, CaseIterable {
    case forged, changeCipherSpec, emptyAlert, zeroType, badKeyUpdate, unknownType

    func bytes(_ client: HostileTLS) -> [UInt8] {
      switch self {
      case .forged:
        var record = client.data("forged")
        record[record.count - 1] ^= 1
        return record
      case .changeCipherSpec: return [20, 3, 3, 0, 1, 1]
      case .emptyAlert: return client.sealed(type: 21, [])
      case .zeroType: return client.sealed(type: 0, [0, 0, 0])
      case .badKeyUpdate: return client.sealed(type: 22, [24, 0, 0, 1, 2])
      case .unknownType: return client.sealed(type: 99, [1])
      }
    }

    var alerts: Set<Int> {
      switch self {
      case .forged: [20]
      case .changeCipherSpec, .zeroType, .unknownType: [10]
      case .emptyAlert: [10, 50]
      case .badKeyUpdate: [47]
      }
    }
  }

  private let certificates: Certificates
  private var tls: String { #""tls": { "certificates": [\#(certificates.entry())] }"# }

  init() throws { certificates = try Certificates() }

  /// More than one read of a socket: closing the connection with this unread would cause a reset.
  private let more = [UInt8](repeating: 23, count: 300_000)

  private func hello(_ martlet: MartletProcess) throws -> String {
    let result = try run(
      ["curl", "-sS", "--max-time", "20", "--cacert", certificates.authority]
        + ["https://localhost:\(martlet.port)/"])
    return result.output + result.errors
  }

  @Test func `an invalid record is answered with its alert, between requests and within one`()
    throws
  {
    let martlet = try MartletProcess(backends: [try StubBackend("hello")], listener: tls)
    for request in ["", "GET / HTTP/1.1\r\nHost: a\r\n", "POST / HTTP/1.1\r\nHost: a\r\n"
      + "Content-Length: 30000\r\n\r\nabc"]
    {
      for fault in Fault.allCases {
        let client = try HostileTLS(martlet.wire(), .tls13)
        var bytes = request.isEmpty ? [] : client.data(request)
        bytes += fault.bytes(client)
        try client.wire.send(bytes + more)
        let ending = client.ending()
        #expect(
          ending.isOrderly && fault.alerts.contains(ending.alert ?? 0), "\(fault): \(ending)")
      }
    }
    #expect(try hello(martlet) == "hello")
    try eventually("they are counted") {
      try martlet.metrics().contains(
        "martlet_tls_session_failures_total{reason=\"other\"} \(3 * Fault.allCases.count)\n")
    }
  }

  @Test func `an invalid record is answered with its alert under TLS 1.2 as well`() throws {
    let martlet = try MartletProcess(backends: [try StubBackend("hello")], listener: tls)
    for fault in [Fault.forged, .changeCipherSpec] {
      let client = try HostileTLS(martlet.wire(), .tls12)
      try client.wire.send(fault.bytes(client) + more)
      let ending = client.ending()
      // There, a ChangeCipherSpec counts as an encrypted record, for which it is too short.
      let alert = fault == .forged ? 20 : 80
      #expect(ending.isOrderly && ending.alert == alert, "\(fault): \(ending)")
    }
    #expect(try hello(martlet) == "hello")
  }

  @Test func `an upgraded connection ends with the alert, and the backend's with it`() throws {
    let stub = try StubBackend { _, wire in
      try wire.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n")
      try wire.send("Upgrade: websocket\r\n\r\n")
      while try wire.receive() {}
      return false
    }
    let martlet = try MartletProcess(backends: [stub], listener: tls)
    let client = try HostileTLS(martlet.wire(), .tls13)
    try client.wire.send(
      client.data("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"))
    #expect(try client.read().hasPrefix("HTTP/1.1 101 "))
    try client.wire.send(Fault.badKeyUpdate.bytes(client) + more)
    #expect(client.ending() == HostileTLS.Ending(alert: 47, isOrderly: true))
    eventually("the backend's ends") { !hasEstablishedConnection(toPort: stub.port) }
  }

  @Test func `a handshake that fails is answered with its alert, whatever follows it`() throws {
    let martlet = try MartletProcess(backends: [try StubBackend("hello")], listener: tls)
    for _ in 0..<20 {
      let wire = try martlet.wire()
      // An invalid ClientHello.
      try wire.send([22, 3, 1, 0, 8, 1, 0, 0, 4, 9, 9, 9, 9] + more)
      let said = try wire.takeRest()
      #expect(said.count == 7 && said.prefix(1) == [21] && said[5] == 2, "\(said)")
    }
    #expect(try hello(martlet) == "hello")
  }

  @Test func `a ClientHello that announces more than any has is refused by its header`() throws {
    let martlet = try MartletProcess(backends: [try StubBackend("hello")], listener: tls)
    for byteCount in [16 * 1024 + 1, 0x01_FFF0, 0xFF_FFFF] {
      let wire = try martlet.wire()
      let length = [16, 8, 0].map { UInt8(truncatingIfNeeded: byteCount >> $0) }
      try wire.send([22, 3, 1, 64, 0, 1] + length + Array(repeating: 3, count: 12))
      #expect(try wire.takeRest() == [21, 3, 3, 0, 2, 2, 47])
    }
    #expect(try hello(martlet) == "hello")
    try eventually("they are counted") {
      try martlet.metrics().contains(
        "martlet_handshake_failures_total{reason=\"hello-too-long\"} 3\n")
    }
  }

  @Test func `a request in records of one byte is answered`() throws {
    let stub = try StubBackend("hello")
    let martlet = try MartletProcess(backends: [stub], listener: tls)
    let body = String(repeating: "b", count: 3000)
    let request =
      "POST / HTTP/1.1\r\nHost: a\r\nX-Long: \(String(repeating: "x", count: 3000))\r\n"
      + "Content-Length: \(body.count)\r\n\r\n" + body
    let client = try HostileTLS(martlet.wire(), .tls13)
    try client.wire.send(request.flatMap { client.data(String($0)) })
    #expect(try client.read().hasSuffix("hello"))
    #expect(stub.lastRequest?.text == body)
  }

  @Test func `the admin address sends its alerts too`() throws {
    let martlet = try MartletProcess(
      backends: [try StubBackend()],
      rest: #""admin": { "listen": "127.0.0.1:0", "certificate": \#(certificates.entry()) }"#)
    for fault in Fault.allCases {
      let client = try HostileTLS(Wire(port: martlet.adminPort()), .tls13)
      try client.wire.send(fault.bytes(client) + more)
      let ending = client.ending()
      #expect(ending.isOrderly && fault.alerts.contains(ending.alert ?? 0), "\(fault): \(ending)")
    }
    let flooding = try HostileTLS(Wire(port: martlet.adminPort()), .tls13)
    try? flooding.wire.send(flooding.keyUpdates(2000))
    let ending = flooding.ending()
    #expect(ending.isOrderly && ending.alert != nil, "\(ending)")
  }

  // MARK: Floods

  @Test func `a flood of KeyUpdates ends its connection and is counted; a few are served`() throws {
    let martlet = try MartletProcess(
      backends: [try StubBackend("hello")], listener: tls, flags: ["--workers", "1"])
    let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    let modest = try HostileTLS(martlet.wire(), .tls13)
    try modest.wire.send(modest.keyUpdates(100) + modest.data(request))
    #expect(try modest.read().hasPrefix("HTTP/1.1 200 "))

    for _ in 0..<3 {
      let flooding = try HostileTLS(martlet.wire(), .tls13)
      try? flooding.wire.send(flooding.keyUpdates(5000) + flooding.data(request))
      let ending = flooding.ending()
      #expect(ending.isOrderly && ending.alert != nil, "\(ending)")
      #expect(throws: HarnessError.self) { try flooding.read() }
    }
    try eventually("they are counted") {
      try martlet.metrics().contains(
        "martlet_tls_session_failures_total{reason=\"record-flood\"} 3\n")
    }
    #expect(try hello(martlet) == "hello")
  }
}
