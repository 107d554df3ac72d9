// Checks of several values together, and defaults that depend on other values. The form of a value
// checks the value itself.

import Primitives

extension Configuration {
  /// Sets dependent defaults, and reports values that don't fit together.
  mutating func complete(_ decoder: inout Decoder) {
    for index in listeners.indices where listeners[index].name.isEmpty {
      listeners[index].name = listeners[index].listen.first?.text ?? ""
    }
    // If items are missing, the indices differ from those in the text, and the missing item may
    // only be misspelt.
    if !decoder.hasGap(in: "listeners") { checkListeners(&decoder) }
    if !decoder.hasGap(in: "listeners") { completeTCP(&decoder) }
    completeUDP(&decoder)
    completeBackendTLS(&decoder)
    if !decoder.hasGap(in: "pools") { checkPools(&decoder) }
    if !decoder.hasGap(in: "routes") {
      if !decoder.hasGap(in: "pools") { completeActions(&decoder) }
      checkRoutes(&decoder)
      if !decoder.hasGap(in: "listeners") {
        checkTCP(&decoder)
        checkUDP(&decoder)
      }
      if !decoder.hasErrors { checkPoolsAreUsed(&decoder) }
    }
    checkAdmin(&decoder)
    checkProcess(&decoder)
  }

  // MARK: Process

  private func checkProcess(_ decoder: inout Decoder) {
    if process.group != nil && process.user == nil && !decoder.has("process.user") {
      decoder.report(
        key: "process.group", "without a user the group is not changed",
        suggestion: "\"user\": ... beside it")
    }
  }

  // MARK: Admin

  private func checkAdmin(_ decoder: inout Decoder) {
    if admin.listen == nil && admin.certificate != nil {
      decoder.report(key: "admin.certificate", "it has no effect without listen")
    }
    if admin.certificate == nil && admin.clientCA != nil {
      decoder.report(
        key: "admin.client-ca", "client certificates require TLS: add certificate to admin")
    }
    guard let listen = admin.listen, admin.tokenFile == nil, admin.clientCA == nil else { return }
    let isLoopback = listen.addresses.allSatisfy { $0.ip?.isLoopback == true }
    if !isLoopback {
      decoder.report(
        key: "admin.listen",
        "\(listen.text) is reachable from other machines: add token-file or client-ca, or use a"
          + " loopback address such as \"localhost:9091\"")
    }
  }

  private func checkAdminAddress(_ bound: BoundAddresses, _ decoder: inout Decoder) {
    for address in admin.listen?.addresses ?? [] {
      guard let other = bound.owner(overlapping: address) else { continue }
      decoder.report(
        key: "admin.listen",
        "\(address) is taken by the listener \"\(other.listener)\" (\(other.address))")
      return
    }
  }

  // MARK: Listeners

  private func checkListeners(_ decoder: inout Decoder) {
    reportDuplicates(
      listeners.enumerated().map { ($1.name, "listeners[\($0)].name") }, "listeners", &decoder)
    var bound = BoundAddresses()
    // TCP and UDP have ports of their own.
    var boundByUDP = BoundAddresses()
    for (index, listener) in listeners.enumerated() {
      let path = "listeners[\(index)]"
      for address in listener.addresses {
        let others = listener.protocol == .udp ? boundByUDP : bound
        if let other = others.owner(overlapping: address) {
          decoder.report(
            key: "\(path).listen",
            "\(address) is already used by the listener \"\(other.listener)\" (\(other.address))")
          break
        }
      }
      for address in listener.addresses {
        if listener.protocol == .udp {
          boundByUDP.insert(address, of: listener.name)
        } else {
          bound.insert(address, of: listener.name)
        }
      }
      reportRepeated(
        listener.protocols?.map(\.rawValue) ?? [], "\(path).protocols", "protocol", &decoder)
      check(listener.proxyProtocol, path, &decoder)
      // checkTCP and checkUDP say that these keys are about HTTP.
      if listener.protocol != .http { continue }
      if listener.tls != nil && listener.redirectToHTTPS != nil {
        decoder.report(
          key: "\(path).redirect-to-https",
          "not allowed together with tls: the redirect would lead to this listener again")
      }
      if listener.tls == nil && listener.hsts != nil && trustedProxies.isEmpty
        && !decoder.hasGap(in: "trusted-proxies")
      {
        decoder.report(
          key: "\(path).hsts",
          "it has no effect without tls: browsers ignore it on plain http (RFC 6797 7.2)")
      }
    }
    checkAdminAddress(bound, &decoder)
  }

  // MARK: Pools

  private func checkPools(_ decoder: inout Decoder) {
    reportDuplicates(
      pools.enumerated().map { ($1.name, "pools[\($0)].name") }, "pools", &decoder)
    if pools.isEmpty && !decoder.has("pools") && routes.isEmpty {
      decoder.report(
        key: "",
        "there is nothing to serve: add a pool with backends (pools in the file, or --backend),"
          + " or try --demo")
    } else if pools.isEmpty && routes.isEmpty {
      decoder.report(key: "pools", "the list is empty, and there are no routes")
    }
    let others = tcpPools.union(udpPools)
    for (index, pool) in pools.enumerated()
    where !decoder.hasGap(in: "pools[\(index)].backends") {
      check(pool, "pools[\(index)]", &decoder)
      if !others.contains(pool.name) && !decoder.hasError(at: "pools[\(index)].protocol") {
        checkGRPC(of: pool, "pools[\(index)]", &decoder)
      }
    }
    checkCookies(&decoder)
  }

  private func check(_ pool: Pool, _ path: String, _ decoder: inout Decoder) {
    var seen: [Endpoint: Int] = [:]
    for (index, backend) in pool.backends.enumerated() {
      if let first = seen[backend.endpoint] {
        decoder.report(
          key: "\(path).backends[\(index)]",
          "\(backend.endpoint) is already listed as backends[\(first)]; set weight to give it a"
            + " larger share")
      } else {
        seen[backend.endpoint] = index
      }
      let weightPath = "\(path).backends[\(index)].weight"
      if decoder.has(weightPath) && !pool.strategy.usesWeights {
        decoder.report(
          key: weightPath, "the strategy \(pool.strategy.rawValue) ignores weights",
          suggestion: "\"strategy\": \"weighted-round-robin\"", severity: .warning)
      }
    }
    checkBalancing(of: pool, path, &decoder)
    checkHealth(of: pool, path, &decoder)
    if pool.health?.port != nil
      && pool.backends.allSatisfy({ if case .address(.unix) = $0.endpoint { true } else { false } })
    {
      decoder.report(
        key: "\(path).health.port", "it has no effect, because all backends are Unix sockets",
        severity: .warning)
    }
    checkResilience(of: pool, path, &decoder)
    check(pool.tls, of: pool, path, &decoder)
    check(pool.proxyProtocol, of: pool, path, &decoder)
    checkSourceAddress(of: pool, path, &decoder)
    if let ejection = pool.ejection, ejection.base > ejection.max {
      decoder.report(
        key: "\(path).ejection.base",
        "\(durationText(ejection.base)) is longer than max, which is"
          + " \(durationText(ejection.max))")
    }
  }

  private func checkResilience(of pool: Pool, _ path: String, _ decoder: inout Decoder) {
    if pool.queue != nil && decoder.has("\(path).queue")
      && !pool.backends.contains(where: { $0.maxConnections != nil })
    {
      decoder.report(
        key: "\(path).queue", "it has no effect, because no backend has max-connections",
        severity: .warning)
    }
    if pool.slowStart != nil && pool.strategy.hasAffinity {
      decoder.report(
        key: "\(path).slow-start",
        "the strategy \(pool.strategy.rawValue) ignores it, because clients stay on their backend",
        severity: .warning)
    }
    guard let stickiness = pool.stickiness else { return }
    if stickiness.sameSite == .none && stickiness.secure == .never {
      decoder.report(
        key: "\(path).stickiness.same-site",
        "browsers reject SameSite=None without Secure; change same-site or secure")
    }
  }

  private func checkCookies(_ decoder: inout Decoder) {
    let sticky = pools.indices.filter { pools[$0].stickiness != nil }
    let sameCookie = Dictionary(grouping: sticky) {
      [pools[$0].stickiness?.cookie, pools[$0].stickiness?.path]
    }
    for indices in sameCookie.values where indices.count > 1 {
      for index in indices {
        guard let cookie = pools[index].stickiness?.cookie,
          let other = indices.prefix(2).first(where: { $0 != index })
        else { continue }
        decoder.report(
          key: "pools[\(index)].stickiness",
          "the pool \"\(pools[other].name)\" also uses the cookie \(cookie); on the same"
            + " host, one would overwrite the other", severity: .warning)
      }
    }
  }

  // MARK: Routes

  /// Lets routes without an action, and a file without routes, forward to the only pool.
  private mutating func completeActions(_ decoder: inout Decoder) {
    let others = tcpPools.union(udpPools)
    let served = pools.filter { !others.contains($0.name) }
    let only = served.count == 1 ? served.first : nil
    if routes.isEmpty && listeners.contains(where: { $0.protocol == .http }) {
      if let only {
        routes = [Route(.forward(pool: only.name))]
      } else if !served.isEmpty {
        decoder.report(
          key: "pools", "with \(served.count) pools, routes must select the pool of a request")
      }
    }
    for index in routes.indices {
      let path = "routes[\(index)]"
      let given = Route.actionKeys.filter { decoder.has("\(path).\($0)") }
      if given.count > 1 {
        decoder.report(
          key: "\(path).\(given[1])",
          "the route has \(given.joined(separator: " and ")); only one of them is allowed")
      } else if given.isEmpty && decoder.has(path) {
        if let only {
          routes[index].action = .forward(pool: only.name)
        } else {
          decoder.report(
            key: path,
            "the route has no action; add one of \(Route.actionKeys.joined(separator: ", "))")
        }
      }
    }
  }

  private func checkRoutes(_ decoder: inout Decoder) {
    let (knownListeners, knownPools) = (listeners.map(\.name), pools.map(\.name))
    let (listenerNames, poolNames) = (Set(knownListeners), Set(knownPools))
    // A listener without a readable address has no name either.
    let areNamed = !decoder.hasGap(below: "listeners") && !listenerNames.contains("")
    for (index, route) in routes.enumerated() {
      let path = "routes[\(index)]"
      for (position, name) in route.listeners.enumerated()
      where areNamed && !listenerNames.contains(name) && !decoder.hasGap(in: "\(path).listeners") {
        report(
          unknown: name, "listener", among: knownListeners,
          key: "\(path).listeners[\(position)]", &decoder)
      }
      switch route.action {
      case .forward(let name):
        if !poolNames.contains(name) && decoder.has("\(path).forward")
          && !decoder.hasGap(in: "pools")
        {
          report(
            unknown: name, "pool", among: knownPools, key: "\(path).forward", &decoder)
        }
      case .redirect(let redirect):
        if redirect.scheme == nil && redirect.host == nil && redirect.port == nil
          && redirect.path == nil
        {
          decoder.report(
            key: "\(path).redirect",
            "the redirect would lead to the same URL; set scheme, host, port or path")
        }
      case .respond(let response):
        // RFC 9110 15.3.5, 15.3.6, 15.4.5.
        let statuses = [response.status, response.drainingStatus].compactMap { $0 }
        for status in statuses where [204, 205, 304].contains(status) && !response.body.isEmpty {
          decoder.report(
            key: "\(path).respond.body", "a response with status \(status) can't have a body")
        }
      }
      checkStages(of: route, path, &decoder)
    }
    if !decoder.hasGap(below: "routes") { checkReach(&decoder) }
  }

  private func checkStages(of route: Route, _ path: String, _ decoder: inout Decoder) {
    if let fault = route.fault, fault.delay == nil && fault.abort == nil,
      !decoder.has("\(path).fault.delay"), !decoder.has("\(path).fault.abort")
    {
      decoder.report(key: "\(path).fault", "set delay or abort")
    }
    if let fault = route.fault, let status = fault.abort {
      decoder.report(
        key: "\(path).fault",
        "\(fault.abortPercent) % of the requests get status \(status) on purpose",
        severity: .warning)
    }
    if let fault = route.fault, let delay = fault.delay {
      decoder.report(
        key: "\(path).fault",
        "\(fault.delayPercent) % of the requests are delayed by \(durationText(delay)) on purpose",
        severity: .warning)
    }
    guard route.translatesGRPCWeb else { return }
    guard case .forward(let name) = route.action else {
      decoder.report(key: "\(path).grpc-web", "only a route with forward can translate gRPC-Web")
      return
    }
    if let index = pools.firstIndex(where: { $0.name == name }), pools[index].protocol == .http1,
      !decoder.hasError(at: "pools[\(index)].protocol")
    {
      decoder.report(
        key: "\(path).grpc-web",
        "gRPC needs HTTP/2: set \"protocol\": \"h2\" in the pool \"\(name)\"")
    }
  }

  /// Reports unreachable routes: earlier routes match all of their requests.
  private func checkReach(_ decoder: inout Decoder) {
    let count = RouteClaims.placeCount(of: self)
    if count > RouteClaims.placeMax {
      decoder.report(
        key: "routes",
        "the routes have \(count) entries, one for each host on each listener;"
          + " at most \(RouteClaims.placeMax) are allowed")
      return
    }
    var claims = RouteClaims()
    for (index, route) in routes.enumerated() {
      let earlier = claims.add(route, at: index)
      if earlier.isEmpty { continue }
      let names = earlier.prefix(3).map { "routes[\($0)]" }.joined(separator: " and ")
      decoder.report(
        key: "routes[\(index)]",
        "this route is never used: \(names) \(earlier.count == 1 ? "has" : "have") the same"
          + " listeners, host and path")
    }
  }

  private func checkPoolsAreUsed(_ decoder: inout Decoder) {
    let used = tcpPools.union(udpPools).union(
      routes.compactMap { if case .forward(let name) = $0.action { name } else { nil } })
    for (index, pool) in pools.enumerated() where !used.contains(pool.name) {
      decoder.report(
        key: "pools[\(index)]", "no route forwards to the pool \"\(pool.name)\"",
        severity: .warning)
    }
  }

  // MARK: Reports

  private func reportDuplicates(
    _ names: [(name: String, path: String)], _ what: String, _ decoder: inout Decoder
  ) {
    var seen: Set<String> = []
    for (name, path) in names where !name.isEmpty && !seen.insert(name).inserted {
      decoder.report(key: path, "two \(what) have the name \"\(name)\"; names must be unique")
    }
  }

  /// Reports the items of a list that stand in it before.
  func reportRepeated(
    _ items: [String], _ path: String, _ what: String, _ decoder: inout Decoder
  ) {
    if decoder.hasGap(in: path) { return }
    for (index, item) in items.enumerated() where items[..<index].contains(item) {
      decoder.report(key: "\(path)[\(index)]", "the \(what) \(item) is listed twice")
    }
  }

  func report(
    unknown name: String, _ what: String, among known: [String], key: String,
    _ decoder: inout Decoder
  ) {
    if decoder.isFull { return }
    let shown = 20
    let names = known.prefix(shown).map { JSON.quoted($0) }.joined(separator: ", ")
    let others = known.count > shown ? ", and \(known.count - shown) others" : ""
    decoder.report(
      key: key,
      "there is no \(what) \(JSON.quoted(name)); "
        + (known.isEmpty ? "no \(what) is defined" : "known: \(names)\(others)"),
      suggestion: nearestName(to: name, among: known).map { JSON.quoted($0) })
  }
}
