// More of everything than is healthy: handshakes, connections, requests on one connection.

import Foundation
import Testing

@Suite(.serialized) struct FloodTests {
  @Test func `silent handshakes beyond the limit give way to clients that mean it`() throws {
    let certificates = try Certificates()
    let martlet = try MartletProcess(
      backends: [try StubBackend("hello")],
      listener: #""tls": { "certificates": [\#(certificates.entry())] }"#,
      rest: #""limits": { "handshakes": 4, "handshake": "300s" }"#, flags: ["--workers", "1"])
    var silent: [Wire] = []
    for round in 0..<3 {
      // As many as there may be; a client's handshake takes the place of the oldest.
      while silent.count < 4 + round { silent.append(try martlet.wire()) }
      let result = try run(
        [
          "curl", "-sS", "--max-time", "20", "--cacert", certificates.authority,
          "https://localhost:\(martlet.port)/",
        ])
      #expect(result.output == "hello", "\(result.errors)")
      #expect(silent[round].endsQuietly())
    }
    for wire in silent[3...] { #expect(wire.isOpen) }
  }
}

extension Wire {
  /// Has neither an end nor a byte come?
  fileprivate var isOpen: Bool {
    var byte: UInt8 = 0
    return recv(descriptor, &byte, 1, Int32(MSG_PEEK | MSG_DONTWAIT)) < 0 && errno == EAGAIN
  }
}
