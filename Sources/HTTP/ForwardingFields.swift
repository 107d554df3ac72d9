// The forwarding fields. They describe the original request: the client, host, scheme, port, path
// and user for which a proxy sends it. This list is used to remove or keep them, in heads and in
// trailers.
//
// Backends and their libraries trust many of them, so they must come from a trusted sender.
// Proxy/Forwarding.swift and Proxy/Trailers.swift remove or forward them. Add a new field here, and
// to the table in docs/SECURITY.md; a test compares the two.

extension KnownFieldSet {
  /// The fields that Martlet reads or writes.
  public static let forwarding: KnownFieldSet = [
    .forwarded, .xForwardedFor, .xForwardedProto, .xForwardedHost, .xForwardedPort, .xRealIP,
  ]
}

extension FieldNames {
  /// The fields that Martlet only removes or forwards.
  static let forwardingNames: [StaticString] =
    clientAddressNames + [
      // The client, by several addresses or without one.
      "Forwarded-For", "X-Forwarded", "X-Original-Forwarded-For",
      // The host and the path, by which frameworks route instead of the real ones.
      "X-Host", "X-Original-Host", "X-Original-URL", "X-Rewrite-URL",
      // The scheme.
      "Front-End-Https", "X-Scheme", "X-Url-Scheme",
      // The user.
      "Remote-User", "X-Remote-User",
      // The client's certificate.
      "X-SSL-Client-Cert",
    ]

  /// Such as -Scheme, -SSL, -Protocol, -User, -Email, -Prefix, -Server and -Client-Cert.
  static let forwardingPrefix: StaticString = "X-Forwarded-"

  static let clientAddressNames: [StaticString] = [
    "CF-Connecting-IP", "Client-IP", "Fastly-Client-IP", "Fly-Client-IP", "Proxy-Client-IP",
    "True-Client-IP", "WL-Proxy-Client-IP", "X-Appengine-User-IP", "X-Azure-ClientIP",
    "X-Client-IP", "X-Cluster-Client-IP", "X-Envoy-External-Address",
  ]
}
