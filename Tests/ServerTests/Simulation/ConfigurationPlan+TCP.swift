// The TCP listeners and pools of a snapshot in the simulation. Without TLS, since OpenSSL has its
// own clock; so there are no routes either.

import Balancing
import Primitives
import Proxy

@testable import Server

extension ConfigurationPlan {
  /// Those that connect with a header of the PROXY protocol.
  static let proxies = AddressRange("10.7.0.0/16").map { [$0] } ?? []

  static func nameOfTCPListener(_ index: Int) -> String { "tcp listener \(index)" }
  static func nameOfTCPPool(_ index: Int) -> String { "tcp pool \(index)" }

  func tcpListeners(_ plan: Layer4Plan, _ admissions: TCPAdmissions) -> [ListenerSettings] {
    plan.listeners.indices.filter { layer4.listeners[$0] }.map { index in
      let name = Self.nameOfTCPListener(index)
      var listener = ListenerSettings(
        name: Array(name.utf8), rules: RouteRules(table: RouteTable([]), routes: []),
        protocols: ListenerProtocols(tcp: true, http1: false),
        tcp: TCPRules(
          standardPool: pools.count + plan.listeners[index].pool,
          admission: admissions.admission(of: name),
          connectionMax: layer4.listenerConnectionMax ?? .max))
      if plan.listeners[index].takesHeaders { listener.proxies = Self.proxies }
      return listener
    }
  }

  func tcpPool(_ index: Int, _ plan: Layer4Plan, _ registry: BackendRegistry) -> PoolSettings {
    let settings = plan.pools[index]
    let pool = Pool(
      registry.pool(Self.nameOfTCPPool(index)), strategy: settings.strategy,
      members: layer4.pools[index].map { backend in
        Member(
          record: plan.record(pool: index, backend: backend, registry),
          address: plan.address(pool: index, backend: backend),
          maxConnections: layer4.maxConnections)
      }, affinityKey: settings.hashesFlows ? .fiveTuple : .source, health: settings.health,
      allDown: .reset, queueMax: layer4.queueMax)
    return PoolSettings(
      pool: pool, retry: RetryPolicy(),
      limits: ExchangeLimits(
        queue: .seconds(10), connect: Self.connectLimit, response: .seconds(30),
        total: .seconds(60), clientIdle: .seconds(30), idle: settings.idle,
        relayIdle: settings.relayIdle),
      check: settings.check, protocol: .tcp, proxyHeader: settings.header?.plan)
  }
}

extension Layer4Plan {
  func address(pool: Int, backend: Int) -> SocketAddress {
    SimulatedTCPBackend.address(of: backend).behind(header: pools[pool].header)
  }

  func record(pool: Int, backend: Int, _ registry: BackendRegistry) -> BackendRecord {
    registry.backend(
      pool: ConfigurationPlan.nameOfTCPPool(pool),
      address: "\(address(pool: pool, backend: backend))", health: pools[pool].health)
  }
}

extension TCPPoolPlan {
  var health: HealthPolicy {
    var health = HealthPolicy()
    health.failures = ejects ? 3 : nil
    if !ejects { health.failurePercent = nil }
    health.ejectionBase = .seconds(1)
    return health
  }

  var check: ActiveCheck? {
    let kind: ActiveCheck.Kind
    switch checks {
    case .none: return nil
    case .dials: kind = .tcp
    case .talk:
      kind = .talk(send: SimulatedTCPConnection.pingBytes, reply: SimulatedTCPConnection.pongBytes)
    }
    return ActiveCheck(
      kind: kind, interval: .seconds(2), fastInterval: .milliseconds(500), timeout: .seconds(1),
      proxyHeader: header?.plan, spoken: .tcp)
  }
}
