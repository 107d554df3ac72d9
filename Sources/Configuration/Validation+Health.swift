// Whether the keys of a pool's health checks fit the type of the check, and the keys for gRPC the
// protocol of the pool.

extension Configuration {
  /// The check that has this key.
  private static func check(with key: String) -> String {
    switch key {
    case "service": "grpc"
    case "send", "reply": "tcp"
    default: "http"
    }
  }

  /// A check for gRPC can't pass without HTTP/2, so it is an error. The other keys only have no
  /// effect on a service that speaks HTTP/1.1.
  func checkGRPC(of pool: Pool, _ path: String, _ decoder: inout Decoder) {
    guard pool.protocol == .http1 else { return }
    let unused = [
      ("timeouts.grpc-max", pool.timeouts.grpcMax != nil),
      ("retry.grpc-statuses", !pool.retry.grpcStatuses.isEmpty),
    ]
    for (key, isSet) in unused where isSet {
      decoder.report(
        key: "\(path).\(key)",
        "gRPC needs HTTP/2, and this pool has \"protocol\": \"http/1.1\"",
        suggestion: "\"protocol\": \"h2\"", severity: .warning)
    }
    if pool.health?.check == .grpc {
      decoder.report(
        key: "\(path).health.check",
        "gRPC needs HTTP/2, and this pool has \"protocol\": \"http/1.1\"",
        suggestion: "\"protocol\": \"h2\"")
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
    case .udp: (ignored, kind) = (["path", "host", "expect", "service"], "UDP")
    }
    if health.check == .udp && health.send == nil && !decoder.has("\(path).health.send") {
      decoder.report(
        key: "\(path).health",
        "a UDP check needs send: a datagram that the service expects; without checks, write"
          + " \"health\": \"off\"")
    }
    if health.check != .udp && health.send != nil && health.reply == nil {
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
  }
}
