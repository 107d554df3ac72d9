// Whether the keys of a pool's health checks fit the type of the check, and the type the protocol.

extension Configuration {
  /// The check that has this key.
  private static func check(with key: String) -> String {
    switch key {
    case "service": "grpc"
    case "send", "reply": "tcp"
    default: "http"
    }
  }

  func checkHealth(of pool: Pool, _ path: String, _ decoder: inout Decoder) {
    guard let health = pool.health else { return }
    let ignored: [String]
    let kind: String
    switch health.check {
    case .tcp: (ignored, kind) = (["path", "host", "expect", "service"], "TCP")
    case .http: (ignored, kind) = (["service", "send", "reply"], "HTTP")
    case .grpc: (ignored, kind) = (["path", "expect", "send", "reply"], "gRPC")
    }
    if health.send != nil && health.reply == nil {
      decoder.report(
        key: "\(path).health.send",
        "it is not sent without reply, since nothing would show that it was read",
        severity: .warning)
    }
    for name in ignored where decoder.has("\(path).health.\(name)") {
      decoder.report(
        key: "\(path).health.\(name)", "\(kind == "HTTP" ? "an" : "a") \(kind) check ignores it",
        suggestion: "\"check\": \"\(Self.check(with: name))\"", severity: .warning)
    }
    if health.check == .grpc && pool.protocol == .http1 {
      decoder.report(
        key: "\(path).health.check",
        "gRPC needs HTTP/2, and this pool has \"protocol\": \"http/1.1\"",
        suggestion: "\"protocol\": \"h2\"")
    }
  }
}
