// Makes a snapshot of a configuration whose files are loaded: finds backends again in the registry,
// makes TLS contexts, compiles routes.
//
// It runs on the control thread, at start and at each reload, and throws the first failure. Nothing
// that is in force changes. New entries of the registry are taken back by the caller then.

import Balancing
import Configuration
import HTTP1
import HTTP2
import Metrics
import Primitives
import Proxy
import Reactor
import TLS

/// What outlives every snapshot.
struct SnapshotBuilder: Sendable {
  let registry = BackendRegistry()
  let traffic: MetricsRegistry
  let ticketRings = TicketRings()
  let upstreamContexts = UpstreamContexts()
  let tcpAdmissions = TCPAdmissions()
  let workerCount: Int
  /// For cookies of pools that have no key of their own: drawn once, and handed on in an upgrade.
  var cookieKey = [randomSeed(), randomSeed()].flatMap { seed in
    (0..<8).map { UInt8(truncatingIfNeeded: seed >> UInt64(8 * $0)) }
  }
  /// What the process has descriptors for, whatever is configured.
  let descriptors: DescriptorBudget

  init(workerCount: Int, descriptors: DescriptorBudget = .unlimited) {
    self.workerCount = workerCount
    self.descriptors = descriptors
    traffic = MetricsRegistry(workerCount: workerCount)
  }

  /// Certificates of a listener by the listener's name.
  typealias Certificates = [String: [Certificate]]

  /// - Parameters:
  ///   - upstreams: the files of pools with TLS, by name.
  ///   - names: the addresses of backends that are given by name, as last looked up.
  ///   - pages: by path.
  ///   - exporter: for spans, if there are to be any.
  func build(
    _ configuration: Configuration, certificates: Certificates,
    upstreams: [String: UpstreamFiles] = [:], names: NameTable,
    pages: [String: ErrorPage] = [:], exporter: SpanExporter? = nil
  ) throws(ServerFailure) -> Snapshot {
    let errorPages = ErrorPages(configuration.errorPages, from: pages)
    var poolIndices: [String: Int] = [:]
    var pools: [PoolSettings] = []
    let (tcpPools, udpPools) = (configuration.tcpPools, configuration.udpPools)
    for pool in configuration.pools {
      poolIndices[pool.name] = pools.count
      let spoken: BackendProtocol =
        if tcpPools.contains(pool.name) {
          .tcp
        } else if udpPools.contains(pool.name) {
          .udp
        } else {
          BackendProtocol(pool.protocol)
        }
      let tls = try upstreamTLS(of: pool, upstreams[pool.name] ?? UpstreamFiles(), spoken)
      pools.append(
        settings(
          of: pool, configuration.limits, zone: configuration.zone ?? "", names, tls, spoken))
    }
    upstreamContexts.keep(Set(configuration.pools.map(\.name)))
    tcpAdmissions.keep(Set(configuration.listeners.map(\.name)))
    var listeners: [ListenerSettings] = []
    for listener in configuration.listeners {
      listeners.append(
        try settings(
          of: listener, configuration, certificates[listener.name] ?? [], poolIndices
        ) { ErrorPages($0.errorPages, from: pages, over: errorPages) })
    }
    var settings = Settings(
      configuration, workerCount: workerCount, descriptors: descriptors)
    if let exporter, let tracing = configuration.tracing {
      settings.tracing = Tracing(exporter: exporter, sampling: tracing.sample)
    }
    return Snapshot(
      settings: settings,
      listeners: listeners, pools: pools, errorPages: errorPages)
  }

  // MARK: Listeners and routes

  private func settings(
    of listener: Configuration.Listener, _ configuration: Configuration,
    _ certificates: [Certificate], _ pools: [String: Int],
    errorPages: (Configuration.Route) -> ErrorPages
  ) throws(ServerFailure) -> ListenerSettings {
    func rules(byTLS: Bool) -> RouteRules {
      let routes = configuration.routes(on: listener, byTLS: byTLS)
      return RouteRules(
        table: RouteTable(routes.map(RouteMatch.init)),
        routes: routes.map { route in
          RouteSettings(
            route, of: listener, pools, errorPages(route), configuration.stages(of: route), traffic)
        })
    }
    var contexts: [TLSContext] = []
    if let tls = listener.tls {
      for _ in 0..<workerCount {
        do throws(TLSFailure) {
          contexts.append(
            try TLSContext(
              certificates: certificates, policy: TLSPolicy(tls),
              ticketKeys: try ticketRings.keys(of: listener.name), listenerName: listener.name,
              protocols: ListenerProtocols.names(of: listener)))
        } catch {
          throw ServerFailure("listener \(listener.name): \(error)")
        }
      }
    }
    return ListenerSettings(
      name: Array(listener.name.utf8), contexts: contexts, rules: rules(byTLS: false),
      tlsRules: configuration.distinguishesTLS(on: listener) ? rules(byTLS: true) : nil,
      protocols: ListenerProtocols(listener), desync: DesyncMode(listener.desync),
      answersHalfClosed: listener.halfClose == .answer,
      tcp: listener.protocol == .tcp ? tcpRules(of: listener, configuration, pools) : nil,
      udp: listener.protocol == .udp ? sessionRules(of: listener, pools) : nil,
      proxies: listener.proxyProtocol?.from,
      traffic: traffic.blocks(for: .listener(listener.name)))
  }

  // MARK: Pools

  private func upstreamTLS(
    of pool: Configuration.Pool, _ files: UpstreamFiles, _ spoken: BackendProtocol
  ) throws(ServerFailure) -> UpstreamTLS? {
    guard let tls = pool.tls else { return nil }
    do throws(TLSFailure) {
      var files = files
      if tls.verification == .on && files.trust == nil { files.trust = try TrustStore() }
      return try upstreamContexts.contexts(
        of: pool.name, tls, files, spoken, workerCount: workerCount)
    } catch {
      throw ServerFailure("pool \(pool.name): \(error)")
    }
  }

  private func settings(
    of pool: Configuration.Pool, _ limits: Configuration.Limits, zone: String,
    _ names: NameTable, _ tls: UpstreamTLS?, _ spoken: BackendProtocol
  ) -> PoolSettings {
    let health = HealthPolicy(pool)
    var budget = RetryBudget()
    budget.percent = pool.retry.budgetPercent
    budget.floor = pool.retry.budgetMinimum
    let balanced = Pool(
      registry.pool(pool.name), strategy: Strategy(pool.strategy),
      members: members(of: pool, names), affinityKey: AffinityKey(pool.hashKey),
      boundPercent: pool.boundedLoad, failover: FailoverPolicy(pool, zone: zone), health: health,
      allDown: AllDownPolicy(pool.whenAllDown, spoken), budget: budget,
      queueMax: pool.queue?.size ?? 0, slowStart: pool.slowStart)
    var retry = RetryPolicy()
    retry.maxAttempts = pool.retry.maxAttempts
    retry.statuses = pool.retry.statuses.flatMap { $0.map { UInt16(clamping: $0) } }
    retry.grpcStatuses = pool.retry.grpcStatuses.map(\.code)
    let times = pool.timeouts
    return PoolSettings(
      pool: balanced, retry: retry,
      limits: ExchangeLimits(
        queue: pool.queue?.timeout ?? .zero, connect: times.connect, response: times.response,
        total: times.request, clientIdle: limits.bodyIdle,
        idle: times.idleTime(isTCP: spoken == .tcp),
        relayIdle: times.relayIdleTime(isTCP: spoken == .tcp), clientRate: MinimumRate(limits)),
      callTimeMax: times.grpcMax,
      check: pool.health.map { ActiveCheck($0, of: pool, tlsID: tls?.id ?? 0) },
      replayByteCount: pool.retry.replaySize,
      keepAlive: KeepAlive(
        idleTime: pool.keepAlive.idle, idleMax: pool.keepAlive.maxIdle,
        ageMax: pool.keepAlive.maxAge),
      tcpKeepAlive: pool.tcpKeepAlive.map(TCPKeepAlive.init),
      protocol: spoken,
      responses: ResponseReading(pool, limits), tls: tls,
      proxyHeader: pool.proxyProtocol.map(ProxyHeaderPlan.init),
      usesClientAddress: pool.sourceAddress == .client,
      authority: Array((pool.backends.first?.endpoint.authority ?? "localhost").utf8),
      stickiness: pool.stickiness.map(Stickiness.init),
      traffic: traffic.blocks(for: .pool(pool.name)))
  }
}

extension Configuration {
  /// The subjects for which requests are counted, without backends.
  var metricsSubjects: Set<MetricsSubject> {
    var subjects = Set(listeners.map { MetricsSubject.listener($0.name) })
    subjects.formUnion(pools.map { .pool($0.name) })
    for listener in listeners {
      for byTLS in distinguishesTLS(on: listener) ? [false, true] : [false] {
        for route in routes(on: listener, byTLS: byTLS) {
          subjects.insert(.route("\(route)", listener: listener.name))
        }
      }
    }
    return subjects
  }
}

// MARK: Translations

extension Settings {
  init(_ configuration: Configuration, workerCount: Int, descriptors: DescriptorBudget) {
    let limits = configuration.limits
    headLimits = HeadLimits(
      headByteCount: limits.headSize, targetByteCount: limits.targetSize,
      fieldCount: limits.fieldCount)
    bodyLimits.extensionByteCount = limits.chunkExtensions
    bodyLimits.trailers.headByteCount = limits.trailerSize
    paths = PathPolicy(
      dotSegments: configuration.paths.dotSegments == .refuse ? .refuse : .resolve,
      encodedSlashes: EncodedSlashPolicy(configuration.paths.encodedSlashes))
    forwarding = ForwardingPolicy(
      trustedProxies: configuration.trustedProxies,
      field: ForwardingField(configuration.forwardingField), addsVia: configuration.via,
      addsViaToRequests: configuration.viaToBackends,
      upgradeTokens: configuration.upgrades.map { Array($0.utf8) })
    log = LogSettings(configuration.log)
    setsRequestID = configuration.requestID != .off
    if configuration.requestID == .return {
      stages = StagePlan([.date, .requestID], forwards: false)
    }
    bodyByteCountMax = limits.bodySize.map { UInt64($0) } ?? .max
    collectedByteCountMax = UInt64(limits.collectSize)
    collectTime = limits.collectWait
    connectionMax = min(limits.connections, descriptors.clientMax)
    idleUpstreamMax = descriptors.idleUpstreamMax
    connectionsPerAddressMax = limits.connectionsPerAddress
    requestsPerConnectionMax = limits.requestsPerConnection
    handshakeMax = max(1, limits.handshakes / workerCount)
    handshakeTimeout = limits.handshake
    headTimeout = limits.head
    bodyIdleTimeout = limits.bodyIdle
    minimumRate = MinimumRate(limits)
    idleTimeout = limits.keepAlive
    lingerTime = limits.linger
    http2 = HTTP2Limits(limits)
    http2Backends = HTTP2Limits(ofResponses: limits)
  }
}

extension ResponseReading {
  fileprivate init(_ pool: Configuration.Pool, _ limits: Configuration.Limits) {
    self.init(
      limits: HeadLimits(
        headByteCount: limits.responseHeadSize, targetByteCount: 0,
        fieldCount: limits.responseFieldCount),
      desync: pool.desync == .tolerant ? .tolerant : .strict)
  }
}

extension Configuration.Endpoint {
  /// As a Host field names it. A socket's path has no place there (RFC 9110 7.2).
  fileprivate var authority: String {
    switch self {
    case .address(.unix): "localhost"
    case .address(.ip), .name: "\(self)"
    }
  }
}

extension TCPKeepAlive {
  init(_ keepAlive: Configuration.TCPKeepAlive) {
    self.init(idle: keepAlive.idle, interval: keepAlive.interval, count: keepAlive.count)
  }
}

extension ForwardingField {
  fileprivate init(_ field: Configuration.ForwardingField) {
    self =
      switch field {
      case .xForwardedFor: .xForwardedFor
      case .forwarded: .forwarded
      case .both: .both
      }
  }
}

extension DesyncMode {
  fileprivate init(_ mode: Configuration.Desync) {
    self =
      switch mode {
      case .strict: .strict
      case .defensive: .defensive
      case .monitor: .monitor
      }
  }
}

extension MinimumRate {
  fileprivate init?(_ limits: Configuration.Limits) {
    guard let rate = limits.minimumRate else { return nil }
    self.init(bytesPerSecond: rate, grace: limits.rateGrace)
  }
}

extension AllDownPolicy {
  fileprivate init(_ policy: Configuration.WhenAllDown, _ spoken: BackendProtocol) {
    self =
      switch policy {
      case .refuse:
        switch spoken {
        case .tcp: .reset
        case .udp: .drop
        case .http1, .http2, .auto: .refuse
        }
      case .failOpen: .failOpen
      }
  }
}

extension EncodedSlashPolicy {
  fileprivate init(_ policy: Configuration.Paths.EncodedSlashes) {
    self =
      switch policy {
      case .refuse: .refuse
      case .keep: .keep
      case .decode: .decode
      }
  }
}

extension TLSPolicy {
  fileprivate init(_ tls: Configuration.TLS) {
    self.init(
      ciphers: tls.policy == .modern ? .modern : .intermediate,
      minimumVersion: tls.minimumVersion == .tls13 ? .tls13 : .tls12,
      ticketCount: tls.tickets == nil ? 0 : 2)
  }
}

extension HealthPolicy {
  init(_ pool: Configuration.Pool) {
    self.init()
    if let checks = pool.health {
      rise = checks.rise
      fall = checks.fall
      initial = checks.initially == .down ? .down : .up
    }
    failures = pool.ejection?.failures
    failurePercent = pool.ejection?.failurePercent
    if let ejection = pool.ejection {
      ejectionBase = ejection.base
      ejectionMax = ejection.max
      failureWindow = ejection.window
      failureRequestCount = ejection.minimumRequests
      ejectedPercentMax = ejection.maxEjectedPercent
    }
  }
}

extension Stickiness {
  fileprivate init(_ stickiness: Configuration.Stickiness) {
    let secure: Secure =
      switch stickiness.secure {
      case .automatic: .automatic
      case .always: .always
      case .never: .never
      }
    self.init(
      name: Array(stickiness.cookie.utf8), attributes: Array(stickiness.attributes.utf8),
      secure: secure)
  }
}

extension RouteMatch {
  fileprivate init(_ route: Configuration.Route) {
    self.init(
      host: Host(route.hosts.first),
      path: route.match == .exact ? .exact(route.path) : .prefix(route.path))
  }
}

extension RouteSettings {
  fileprivate convenience init(
    _ route: Configuration.Route, of listener: Configuration.Listener,
    _ pools: [String: Int], _ errorPages: ErrorPages, _ further: [Stage],
    _ traffic: MetricsRegistry
  ) {
    let action: Action =
      switch route.action {
      // The configuration has checked that the pool exists.
      case .forward(let pool): .forward(pool: pools[pool] ?? 0)
      case .redirect(let redirect):
        .redirect(RedirectTarget(redirect), status: UInt16(clamping: redirect.status))
      case .respond(let response):
        .respond(
          LocalAnswer(response, status: response.status),
          draining: LocalAnswer(response, status: response.drainingStatus ?? response.status))
      }
    self.init(
      action, name: LogName("\(route)"), path: Array(route.path.utf8),
      requestEdits: [FieldEdit](route.requestEdits),
      responseEdits: [FieldEdit](route.responseEdits), fault: route.fault.map(Fault.init),
      further: further, errorPages: errorPages,
      traffic: traffic.blocks(for: .route("\(route)", listener: listener.name)))
  }
}

extension Configuration {
  /// The stages of a route that don't follow from the route's own settings in the snapshot.
  fileprivate func stages(of route: Route) -> [Stage] {
    var stages: [Stage] = []
    if requestID == .return { stages.append(.requestID) }
    guard case .forward(let name) = route.action else { return stages }
    if route.translatesGRPCWeb { stages.append(.grpcWeb) }
    guard let pool = pools.first(where: { $0.name == name }) else { return stages }
    if pool.stickiness != nil { stages.append(.stickiness) }
    if pool.strategy == .maglev && AffinityKey(pool.hashKey).isOfRequest {
      stages.append(.affinity)
    }
    return stages
  }
}

extension Fault {
  fileprivate init(_ fault: Configuration.Fault) {
    self.init(
      delay: fault.delay, delayPercent: fault.delayPercent,
      abort: fault.abort.map { UInt16(clamping: $0) }, abortPercent: fault.abortPercent)
  }
}

extension LocalAnswer {
  fileprivate init(_ response: Configuration.Response, status: Int) {
    self.init(
      status: UInt16(clamping: status), contentType: response.contentType,
      body: Array(response.body.utf8))
  }
}

extension RedirectTarget {
  fileprivate init(_ redirect: Configuration.Redirect) {
    let standard: UInt16? =
      switch redirect.scheme {
      case .http: 80
      case .https: 443
      case nil: nil
      }
    self.init(
      scheme: redirect.scheme.map { Array($0.rawValue.utf8) },
      host: redirect.host.map { Array($0.utf8) },
      port: redirect.port == standard ? nil : redirect.port,
      path: redirect.path.map { Array($0.utf8) })
  }
}

extension [FieldEdit] {
  fileprivate init(_ edits: Configuration.FieldEdits) {
    self =
      edits.remove.map { .remove(name: [UInt8]($0.utf8)) }
      + edits.set.map { .set(name: [UInt8]($0.name.utf8), value: [UInt8]($0.value.utf8)) }
  }
}
