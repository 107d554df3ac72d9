// Which pools use TLS to their backends, and whether their settings fit together.

import Primitives

extension Configuration {
  /// A pool whose backends are written with `https://` uses TLS. From here on the scheme of all its
  /// backends says so.
  mutating func completeBackendTLS(_ decoder: inout Decoder) {
    for index in pools.indices {
      let path = "pools[\(index)].backends"
      if !decoder.hasGap(in: "pools") && !decoder.hasGap(in: path) {
        checkSchemes(of: pools[index], path, &decoder)
      }
      if pools[index].tls == nil && pools[index].backends.contains(where: { $0.scheme == .https }) {
        pools[index].tls = BackendTLS()
      }
      for place in pools[index].backends.indices {
        pools[index].backends[place].adoptScheme(of: pools[index].tls)
      }
    }
  }

  private func checkSchemes(of pool: Pool, _ path: String, _ decoder: inout Decoder) {
    if pool.tls != nil {
      guard let plain = pool.backends.firstIndex(where: { $0.scheme == .http }) else { return }
      return decoder.report(
        key: "\(path)[\(plain)]",
        "the pool has a section tls, so all its backends use TLS, but this one is written with"
          + " http://",
        suggestion: "\"https://\(pool.backends[plain].endpoint)\"")
    }
    guard let secure = pool.backends.firstIndex(where: { $0.scheme == .https }),
      let plain = pool.backends.firstIndex(where: { $0.scheme != .https })
    else { return }
    decoder.report(
      key: "\(path)[\(plain)]",
      "this backend is plain HTTP, but backends[\(secure)] is written with https://; the backends"
        + " of a pool use TLS, or none does: write https:// here too, or use another pool")
  }

  func check(_ tls: BackendTLS?, of pool: Pool, _ path: String, _ decoder: inout Decoder) {
    if pool.protocol == .auto && tls == nil {
      decoder.report(
        key: "\(path).protocol", "auto needs TLS to the backends, since they choose by ALPN",
        suggestion: "\"h2\"")
    }
    guard let tls else { return }
    let hasUnixSocket = pool.backends.contains {
      if case .address(.unix) = $0.endpoint { true } else { false }
    }
    // Without a section, a socket is one of the plain backends that were reported.
    if tls.verification == .on && tls.serverName == nil && hasUnixSocket
      && decoder.has("\(path).tls")
    {
      decoder.report(
        key: "\(path).tls",
        "a Unix socket has no host name that its certificate could be verified for; set"
          + " server-name")
    }
    guard tls.verification == .off else { return }
    if !tls.isVerified {
      decoder.report(
        key: "\(path).tls.verify",
        "the certificates of the backends of \(pool.name) are not verified: anybody who can"
          + " intercept the connections can read and change everything; use ca or pins",
        severity: .warning)
    }
    if tls.authority != nil {
      decoder.report(
        key: "\(path).tls.ca", "it has no effect with \"verify\": \"off\"", severity: .warning)
    }
  }
}

extension Configuration.Backend {
  /// Takes over what the pool speaks. A Unix socket can't be written with a scheme.
  mutating func adoptScheme(of tls: Configuration.BackendTLS?) {
    if case .address(.unix) = endpoint {
      scheme = nil
    } else {
      scheme = tls == nil ? nil : .https
    }
  }

  /// A backend that is added to `pool`; nil if it is written with another scheme, or if its
  /// certificate couldn't be verified.
  public init?(_ address: Configuration.BackendAddress, addedTo pool: Configuration.Pool) {
    if let scheme = address.scheme, (scheme == .https) != (pool.tls != nil) { return nil }
    if let tls = pool.tls, tls.verification == .on, tls.serverName == nil,
      address.endpoint.serverName.isEmpty
    {
      return nil
    }
    self.init(address)
    adoptScheme(of: pool.tls)
  }
}
