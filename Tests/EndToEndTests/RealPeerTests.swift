// Real clients and real backends with HTTP/2 and gRPC: Chaos/real_clients.py and a short run of
// Chaos/real_backends.py, on the real binary.

import Foundation
import Testing

@Suite(.serialized) struct RealPeerTests {
  /// Debian's Python: packages from PyPI were installed for it.
  private func chaos(_ script: String, _ arguments: String...) throws -> String {
    let command = ["/usr/bin/python3", Installation.root + "/Chaos/" + script]
    let result = try run(
      command + ["--binary", Installation.binary] + arguments, atMost: 400)
    #expect(result.status == 0, "\(result.output)\(result.errors)")
    return result.output
  }

  @Test(arguments: ["curl", "nghttp", "h2load", "httpx", "node", "chromium", "grpcio"])
  func `a client works`(_ client: String) throws {
    let output = try chaos("real_clients.py", "--clients", client)
    #expect(output.contains("| ok |"), "\(output)")
  }

  @Test(arguments: ["nginx", "node", "grpcio"])
  func `no request is lost when backends end`(_ server: String) throws {
    let output = try chaos("real_backends.py", "--seconds", "5", "--servers", server)
    #expect(output.contains("| **lost**, although it could be answered | 0 |"))
    #expect(output.contains("| kills | "))
  }
}
