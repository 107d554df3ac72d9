// The fields that say who asked and how: for which client, host, scheme, port, path and user a
// proxy speaks. One list for whoever removes or keeps them, in heads and in trailers.
//
// Backends and their libraries believe many of them, so they are only worth what their sender is.
// What becomes of them is decided in Proxy/Forwarding.swift and Proxy/Trailers.swift. A field that
// belongs here is added here, and to the table in docs/SECURITY.md; a test compares the two.

extension KnownFieldSet {
  /// Those that Martlet reads or writes itself.
  public static let forwarding: KnownFieldSet = [
    .forwarded, .xForwardedFor, .xForwardedProto, .xForwardedHost, .xForwardedPort, .xRealIP,
  ]
}

extension FieldNames {
  /// Those that Martlet only removes or passes on.
  static let forwardingNames: [StaticString] =
    clientAddressNames + [
      // The client, by several addresses or by none.
      "Forwarded-For", "X-Forwarded", "X-Original-Forwarded-For",
      // The scheme.
      "Front-End-Https", "X-Scheme", "X-Url-Scheme",
      // The user.
      "Remote-User", "X-Remote-User",
    ]

  /// -Scheme, -SSL, -Protocol, -User, -Email, -Prefix, -Server, -Client-Cert and whatever else.
  static let forwardingPrefix: StaticString = "X-Forwarded-"

  static let clientAddressNames: [StaticString] = [
    "CF-Connecting-IP", "Client-IP", "Fastly-Client-IP", "True-Client-IP", "X-Client-IP",
    "X-Cluster-Client-IP",
  ]
}
