// The source address of the connections to the backends of a pool.

import Primitives

extension Configuration {
  /// From which address backends are connected.
  public enum SourceAddress: String, Choice {
    /// One of this machine, as the kernel selects it.
    case own
    /// That of the client whose connection or request it is for.
    case client
    static var noun: String { "a source address" }
    static var meant: [String: SourceAddress] { ["transparent": .client, "clientip": .client] }
  }

  /// Whether a pool uses the clients' addresses, which needs a capability.
  public var usesClientAddresses: Bool { pools.contains { $0.sourceAddress == .client } }

  func checkSourceAddress(of pool: Pool, _ path: String, _ decoder: inout Decoder) {
    guard pool.sourceAddress == .client else { return }
    if pool.protocol != .http1 {
      decoder.report(
        key: "\(path).source-address",
        "with HTTP/2 clients share the connections to a backend, and a connection has only one"
          + " source address",
        suggestion: "\"protocol\": \"http/1.1\"")
    }
    for (index, backend) in pool.backends.enumerated() {
      guard case .address(.unix) = backend.endpoint else { continue }
      decoder.report(
        key: "\(path).backends[\(index)]",
        "a Unix socket has no source address, which source-address \"client\" asks for")
    }
  }
}
