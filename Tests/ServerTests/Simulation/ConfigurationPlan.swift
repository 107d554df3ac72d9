// The configurations of a simulated server: pools, routes and limits, drawn from the seed, and the
// snapshots made from them.
//
// SnapshotBuilder isn't used, since it reads files and resolves names. Only settings are varied
// that running exchanges could confuse during a reload.

import Balancing
import Primitives
import Proxy

@testable import Server

/// The first segment of a request's path, which selects its route.
enum RoutePrefix: String, CaseIterable { case a, b, fixed, moved, nowhere }

/// The target of a route.
enum RouteTarget: Equatable {
  case pool(Int)
  case fixed
  case moved
  /// No route.
  case nothing
}

struct ConfigurationPlan {
  /// The members of the pools, as indices of backends.
  var pools: [[Int]]
  var a = RouteTarget.pool(0)
  var b = RouteTarget.pool(1)
  var responseLimit = TimeSpan.seconds(30)
  var totalLimit = TimeSpan.seconds(60)
  /// The limit of each backend.
  var maxConnections: Int?
  /// How many exchanges may queue for a slot at a backend.
  var queueMax = 0
  var retryStatuses: [Int] = []
  var connectionMax = 10_000
  var bodyMax = 1 << 30
  var requestsPerConnection = 10_000
  var layer4 = Layer4Configuration()

  /// Of a client's connection between two requests.
  static let clientIdleLimit = TimeSpan.seconds(60)
  static let backendIdleLimit = TimeSpan.seconds(60)
  static let connectLimit = TimeSpan.seconds(3)
  static let fixedStatus = 418
  static let movedStatus = 308
  static let attemptMax = 3

  init(backendCount: Int) {
    pools = [Array(0..<backendCount), Array(0..<backendCount)]
  }

  mutating func vary(_ random: inout RandomGenerator, isFirst: Bool) {
    if !isFirst || random.chance(1, in: 4) {
      for index in pools.indices {
        let all = pools[index]
        pools[index] = all.filter { _ in random.chance(1, in: 2) }
        if pools[index].isEmpty { pools[index] = [random.pick(all)] }
      }
    }
    if !isFirst {
      b = random.pick([.pool(1), .pool(1), .pool(0), .nothing, .fixed])
      if random.chance(1, in: 8) { a = .pool(1) }
    }
    if random.chance(1, in: 4) { (responseLimit, totalLimit) = (.seconds(5), .seconds(12)) }
    if random.chance(1, in: 8) { maxConnections = 1 + random.next(below: 3) }
    if maxConnections != nil && random.chance(2, in: 3) { queueMax = 64 }
    if random.chance(1, in: 6) { retryStatuses = [500] }
    if random.chance(1, in: 12) { connectionMax = 1 + random.next(below: 4) }
    if random.chance(1, in: 12) { bodyMax = 500 << random.next(below: 8) }
    if random.chance(1, in: 8) { requestsPerConnection = 1 + random.next(below: 4) }
  }

  func target(of prefix: RoutePrefix) -> RouteTarget {
    switch prefix {
    case .a: a
    case .b: b
    case .fixed: .fixed
    case .moved: .moved
    case .nowhere: .nothing
    }
  }

  /// The backends for requests with this prefix; nil when they are not forwarded.
  func members(for prefix: RoutePrefix) -> [Int]? {
    if case .pool(let pool) = target(of: prefix) { pools[pool] } else { nil }
  }

  // MARK: The snapshot

  func snapshot(
    registry: BackendRegistry, addresses: [SocketAddress], policy: PolicyPlan,
    layer4 plan: Layer4Plan, admissions: TCPAdmissions
  ) -> Snapshot {
    var settings = Settings()
    settings.connectionMax = connectionMax
    settings.idleTimeout = Self.clientIdleLimit
    settings.bodyByteCountMax = UInt64(bodyMax)
    settings.requestsPerConnectionMax = requestsPerConnection
    var matches: [RouteMatch] = []
    var routes: [RouteSettings] = []
    for prefix in RoutePrefix.allCases {
      let action: RouteSettings.Action
      switch target(of: prefix) {
      case .pool(let index): action = .forward(pool: index)
      case .fixed:
        let answer = LocalAnswer(status: UInt16(Self.fixedStatus), body: Array("fixed".utf8))
        action = .respond(answer, draining: answer)
      case .moved:
        let target = RedirectTarget(scheme: nil, host: Array("b".utf8), port: nil, path: nil)
        action = .redirect(target, status: UInt16(Self.movedStatus))
      case .nothing: continue
      }
      matches.append(RouteMatch(path: .prefix("/\(prefix.rawValue)")))
      routes.append(RouteSettings(action))
    }
    return Snapshot(
      settings: settings,
      listeners: [
        ListenerSettings(
          name: Array("simulated".utf8),
          rules: RouteRules(table: RouteTable(matches), routes: routes),
          protocols: ListenerProtocols(http1: true, http2: true))
      ] + tcpListeners(plan, admissions),
      pools: pools.indices.map { pool($0, registry, addresses, policy) }
        + plan.pools.indices.map { tcpPool($0, plan, registry) })
  }

  private func pool(
    _ index: Int, _ registry: BackendRegistry, _ addresses: [SocketAddress], _ policy: PolicyPlan
  ) -> PoolSettings {
    let name = "pool \(index)"
    let strategies = Strategy.allCases
    let pool = Pool(
      registry.pool(name), strategy: strategies[policy.strategy % strategies.count],
      members: pools[index].enumerated().map { place, backend in
        let address = policy.address(addresses[backend], ofPool: index)
        let record = registry.backend(pool: name, address: "\(address)", health: policy.health)
        return Member(
          record: record, address: address, tier: policy.tier(of: place),
          maxConnections: maxConnections)
      }, boundPercent: policy.boundPercent, failover: policy.failover, health: policy.health,
      queueMax: queueMax, slowStart: policy.slowStart)
    var retry = RetryPolicy()
    retry.statuses = retryStatuses.map { UInt16($0) }
    return PoolSettings(
      pool: pool, retry: retry,
      limits: ExchangeLimits(
        queue: .seconds(10), connect: Self.connectLimit, response: responseLimit, total: totalLimit,
        clientIdle: .seconds(30), idle: Self.backendIdleLimit, relayIdle: .seconds(600)),
      check: policy.check(ofPool: index), replayByteCount: policy.replayByteCount,
      keepAlive: KeepAlive(idleTime: policy.upstreamIdleTime, idleMax: KeepAlive().idleMax),
      protocol: policy.protocols[index], proxyHeader: policy.headers[index]?.plan)
  }
}

/// Settings that are the same after all reloads of a run.
struct PolicyPlan {
  enum Checks { case none, dials, requests }

  var strategy = 0
  var ejects = false
  var checks = Checks.none
  var replayByteCount = 64 * 1024
  var slowStart: TimeSpan?
  /// After which idle connections to backends are closed.
  var upstreamIdleTime = TimeSpan.seconds(4)
  /// What the backends of each pool get.
  var protocols: [BackendProtocol] = [.http1, .http1]
  /// What begins the connections of each pool; only with HTTP/1.
  var headers: [OutgoingHeader?] = [nil, nil]

  init() {}

  init(drawnFrom random: inout RandomGenerator) {
    strategy = random.next(below: 64)
    ejects = random.chance(1, in: 2)
    checks = random.pick([.none, .none, .dials, .requests])
    replayByteCount = random.chance(1, in: 3) ? 4 * 1024 : 64 * 1024
    if random.chance(1, in: 4) { slowStart = .seconds(5) }
  }

  /// These follow from the number of the strategy, so that the plans of old seeds stay the same.
  private var variant: Int { strategy / Strategy.allCases.count % 4 }

  /// Of the member at this place of its pool.
  func tier(of place: Int) -> Int { variant % 2 == 1 && place > 0 ? 1 : 0 }

  var boundPercent: Int? { variant == 2 ? 150 : nil }

  var failover: FailoverPolicy {
    var failover = FailoverPolicy()
    if variant == 3 {
      failover.factor = 140
      failover.panicPercent = 50
    }
    return failover
  }

  var health: HealthPolicy {
    var health = HealthPolicy()
    health.failures = ejects ? 3 : nil
    if !ejects { health.failurePercent = nil }
    health.ejectionBase = .seconds(1)
    return health
  }

  /// Whether several requests may wait for one connection.
  var hasSharedConnections: Bool {
    protocols.contains { spoken in
      if case .http1 = spoken { false } else { true }
    }
  }

  /// A backend expects HTTP/2, and headers of the PROXY protocol, at other ports.
  func address(_ address: SocketAddress, ofPool pool: Int) -> SocketAddress {
    protocols[pool] == .http2 ? address.forHTTP2 : address.behind(header: headers[pool])
  }

  static let healthPath = "/health"

  func check(ofPool pool: Int) -> ActiveCheck? {
    let kind: ActiveCheck.Kind
    switch checks {
    case .none: return nil
    case .dials: kind = .tcp
    // Checks are HTTP/1.
    case .requests where protocols[pool] == .http2: kind = .tcp
    case .requests: kind = .http(path: Self.healthPath, host: nil, expected: [200...299])
    }
    return ActiveCheck(
      kind: kind, interval: .seconds(2), fastInterval: .milliseconds(500), timeout: .seconds(1),
      proxyHeader: headers[pool]?.plan)
  }
}
