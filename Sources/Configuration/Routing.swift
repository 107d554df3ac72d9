// What a listener does with requests, as one list: the file's routes, and those that follow from
// `redirect-to-https` and `hsts`, so that whoever serves knows only routes.

extension Configuration {
  /// Where a certificate authority looks for its challenge (RFC 8555 8.3).
  public static let challengePath = "/.well-known/acme-challenge"

  /// Whether `listener` has routes of its own for clients who came by TLS to a trusted proxy.
  public func distinguishesTLS(on listener: Listener) -> Bool {
    listener.tls == nil && !trustedProxies.isEmpty
      && (listener.redirectToHTTPS != nil || listener.hsts != nil)
  }

  /// The routes of `listener`, the most specific first: the first that matches decides. A request
  /// that none matches has no route.
  ///
  /// With `byTLS` those for clients who came by TLS, here or to a trusted proxy: these are not sent
  /// to https.
  public func routes(on listener: Listener, byTLS: Bool = false) -> [Route] {
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
    // One entry for each host, since hosts of one route may differ in how specific they are.
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
    // A route for all listeners may have a twin that names this one and hides it.
    var claims = RouteClaims()
    return order.compactMap { index in
      var route = split[index]
      route.listeners = []
      return claims.add(route, at: index).isEmpty ? split[index] : nil
    }
  }
}

extension Configuration.Route {
  /// A prefix means the same with a slash at its end.
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
