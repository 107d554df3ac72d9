// The routes of a listener as one list: the routes of the file, and those that implement
// `redirect-to-https` and `hsts`. So the server only has to know routes.

extension Configuration {
  /// Where a certificate authority requests its challenge (RFC 8555 8.3).
  public static let challengePath = "/.well-known/acme-challenge"

  /// Whether `listener` has different routes for clients that used TLS to reach a trusted proxy.
  public func distinguishesTLS(on listener: Listener) -> Bool {
    listener.tls == nil && !trustedProxies.isEmpty
      && (listener.redirectToHTTPS != nil || listener.hsts != nil)
  }

  /// The routes of `listener`, the most specific first: the first match wins. A request without a
  /// match has no route.
  ///
  /// With `byTLS` the routes for clients that used TLS to reach Martlet or a trusted proxy, which
  /// are not redirected to HTTPS.
  public func routes(on listener: Listener, byTLS: Bool = false) -> [Route] {
    if listener.protocol != .http { return [] }
    var result = routes.filter { $0.listeners.isEmpty || $0.listeners.contains(listener.name) }
    if let port = listener.redirectToHTTPS, !byTLS {
      let challenges = Self.challengePath + "/"
      result.removeAll { !($0.path + "/").hasPrefix(challenges) }
      var redirect = Redirect()
      redirect.scheme = .https
      redirect.port = port
      result.append(Route(.redirect(redirect)))
    }
    if listener.tls != nil || byTLS, let hsts = listener.hsts {
      let field = Field(name: "Strict-Transport-Security", value: hsts.fieldValue)
      for index in result.indices { result[index].responseEdits.set.append(field) }
    }
    // One entry per host, because some hosts of a route may be more specific than others.
    let split = result.flatMap { route -> [Route] in
      if route.hosts.count < 2 { return [route] }
      return route.hosts.map { host in
        var single = route
        single.hosts = [host]
        return single
      }
    }
    // Stable, so that the order doesn't depend on the sorting.
    let ranks = split.map(\.specificity)
    let order = split.indices.sorted { left, right in
      ranks[left] == ranks[right]
        ? left < right : ranks[right].lexicographicallyPrecedes(ranks[left])
    }
    // A route for all listeners may be hidden by the same route for this listener.
    var claims = RouteClaims()
    return order.compactMap { index in
      var route = split[index]
      route.listeners = []
      return claims.add(route, at: index).isEmpty ? split[index] : nil
    }
  }
}

extension Configuration.Route {
  /// A prefix has the same meaning with a slash at its end.
  var pathKey: Substring {
    match == .prefix && path.hasSuffix("/") ? path.dropLast() : path[...]
  }

  /// Compared from the front: the larger number goes first.
  fileprivate var specificity: [Int] {
    let host =
      switch hosts.first {
      case .exact: Int.max
      case .below(let suffix): suffix.utf8.count
      case nil: 0
      }
    let length = path.utf8.count - (path.hasSuffix("/") ? 1 : 0)
    return [listeners.isEmpty ? 0 : 1, host, match == .exact ? 1 : 0, length]
  }
}
