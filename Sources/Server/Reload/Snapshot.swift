// One configuration in force, compiled into what the request path reads. Immutable.
//
// A reload makes a new snapshot; workers swap it in between two turns, and exchanges in progress
// end under the one they began under (Generation). What must outlive a reload is not in here but
// referred to: pools with their cursors, and backends with their health and counts.

import Balancing
import HTTP
import Metrics
import Primitives
import Proxy
import Reactor
import TLS

final class Snapshot: Sendable {
  let settings: Settings
  let listeners: [ListenerSettings]
  let pools: [PoolSettings]
  /// For requests that come to no route.
  let errorPages: ErrorPages

  init(
    settings: Settings, listeners: [ListenerSettings], pools: [PoolSettings],
    errorPages: ErrorPages = ErrorPages()
  ) {
    self.settings = settings
    self.listeners = listeners
    self.pools = pools
    self.errorPages = errorPages
  }

  /// The names of the pools that both have, but whose connections begin in another way: with other
  /// TLS, with another header of the PROXY protocol, from another source address, or with one of
  /// them in only one snapshot.
  func poolsWithOtherConnections(than other: Snapshot) -> Set<String> {
    var former: [String: PoolSettings] = [:]
    for pool in other.pools { former[pool.pool.name] = pool }
    return Set(
      pools.filter { pool in
        guard let former = former[pool.pool.name] else { return false }
        return former.tls?.id != pool.tls?.id || former.proxyHeader != pool.proxyHeader
          || former.usesClientAddress != pool.usesClientAddress
      }.map(\.pool.name))
  }

  /// If backends are not checked, earlier check results no longer count: without checks, no event
  /// would bring these backends back.
  func forgetUnusedChecks() {
    for pool in pools where pool.check == nil {
      for member in pool.pool.membership.members { member.record.forgetChecks() }
    }
  }
}

struct ListenerSettings: Sendable {
  var name: [UInt8]
  /// One TLS context a worker, so that threads don't contend for one; empty for plain HTTP.
  var contexts: [TLSContext] = []
  var rules: RouteRules
  /// For clients who came by TLS to a trusted proxy; nil where that makes no difference.
  var tlsRules: RouteRules?
  var protocols = ListenerProtocols()
  var desync = DesyncMode.strict
  /// Does a client that has finished sending get the answer to a whole request?
  var answersHalfClosed = false
  /// Where connections go, if it is a TCP listener; it has no routes of HTTP then.
  var tcp: TCPRules?
  /// What happens to datagrams, if it is a UDP listener.
  var udp: SessionRules?
  /// Who may connect, with a header of the PROXY protocol; nil if there is to be no header.
  var proxies: [AddressRange]?
  /// Where workers count, each in its own; empty where nobody does.
  var traffic: [TrafficMetrics] = []

  func context(worker: Int) -> TLSContext? {
    contexts.isEmpty ? nil : contexts[worker % contexts.count]
  }
}

/// Which versions of HTTP clients may speak on a listener. A UDP listener has no connections.
struct ListenerProtocols: Sendable, Equatable {
  /// None: it is a TCP listener.
  var tcp = false
  var http1 = true
  /// With TLS by ALPN, without TLS by prior knowledge.
  var http2 = false
}

/// The routes of a listener: which one a request takes, and what becomes of it there.
final class RouteRules: Sendable {
  let table: RouteTable
  /// By what the table says.
  let routes: [RouteSettings]

  init(table: RouteTable, routes: [RouteSettings]) {
    self.table = table
    self.routes = routes
  }
}

/// What becomes of the requests of one route. A class, so that an exchange keeps it by reference.
final class RouteSettings: Sendable {
  enum Action: Sendable {
    case forward(pool: Int)
    case redirect(RedirectTarget, status: UInt16)
    /// `draining` from the signal to stop on.
    case respond(LocalAnswer, draining: LocalAnswer)
  }

  let action: Action
  /// Its name in the access log and the metrics.
  let name: LogName
  /// As it is configured.
  let path: [UInt8]
  let requestEdits: [FieldEdit]
  let responseEdits: [FieldEdit]
  let fault: Fault?
  let stages: StagePlan
  /// The route's own, and behind them those of the whole configuration.
  let errorPages: ErrorPages
  let traffic: [TrafficMetrics]

  /// - Parameter further: stages that the pool and the configuration need, beside those that the
  ///   other parameters do.
  init(
    _ action: Action, name: LogName = "", path: [UInt8] = [], requestEdits: [FieldEdit] = [],
    responseEdits: [FieldEdit] = [], fault: Fault? = nil, further: [Stage] = [],
    errorPages: ErrorPages = ErrorPages(), traffic: [TrafficMetrics] = []
  ) {
    self.action = action
    self.name = name
    self.path = path
    self.requestEdits = requestEdits
    self.responseEdits = responseEdits
    self.fault = fault
    var forwards = false
    if case .forward = action { forwards = true }
    var stages = further + [.date]
    if fault?.delay != nil { stages.append(.delay) }
    if fault?.abort != nil { stages.append(.abort) }
    if forwards { stages += [.forwarding, .host] }
    if !requestEdits.isEmpty { stages.append(.requestEdits) }
    if !responseEdits.isEmpty { stages.append(.responseEdits) }
    self.stages = StagePlan(stages, forwards: forwards)
    self.errorPages = errorPages
    self.traffic = traffic
  }
}

/// What goes for the exchanges of one pool. A class for the same reason.
final class PoolSettings: Sendable {
  let pool: Pool
  /// Its name in the access log.
  let name: LogName
  let retry: RetryPolicy
  let limits: ExchangeLimits
  /// The maximum duration of a call of gRPC; nil for none.
  let callTimeMax: TimeSpan?
  /// Nil without active checks.
  let check: ActiveCheck?
  /// The most of a request's body that is kept for another attempt.
  let replayByteCount: Int
  let keepAlive: KeepAlive
  /// Nil where the kernel doesn't probe quiet connections.
  let tcpKeepAlive: TCPKeepAlive?
  /// The version of HTTP that the backends get.
  let `protocol`: BackendProtocol
  /// How the backends' responses are read.
  let responses: ResponseReading
  /// Nil if the backends speak plain HTTP.
  let tls: UpstreamTLS?
  /// What begins each connection; nil for nothing.
  let proxyHeader: ProxyHeaderPlan?
  /// Whether connections come from the client's address.
  let usesClientAddress: Bool
  /// Host of a request that names none, which only HTTP/1.0 may.
  let authority: [UInt8]
  /// The cookie by which clients stay with a backend; nil without one.
  let stickiness: Stickiness?
  let traffic: [TrafficMetrics]

  init(
    pool: Pool, retry: RetryPolicy, limits: ExchangeLimits, callTimeMax: TimeSpan? = nil,
    check: ActiveCheck?,
    replayByteCount: Int = 64 * 1024, keepAlive: KeepAlive = KeepAlive(),
    tcpKeepAlive: TCPKeepAlive? = nil,
    protocol spoken: BackendProtocol = .http1,
    responses: ResponseReading = ResponseReading(), tls: UpstreamTLS? = nil,
    proxyHeader: ProxyHeaderPlan? = nil, usesClientAddress: Bool = false,
    authority: [UInt8] = Array("localhost".utf8),
    stickiness: Stickiness? = nil, traffic: [TrafficMetrics] = []
  ) {
    self.pool = pool
    name = LogName(pool.name)
    self.retry = retry
    self.limits = limits
    self.callTimeMax = callTimeMax
    self.check = check
    self.replayByteCount = replayByteCount
    self.keepAlive = keepAlive
    self.tcpKeepAlive = tcpKeepAlive
    self.responses = responses
    self.tls = tls
    self.proxyHeader = proxyHeader
    self.usesClientAddress = usesClientAddress
    self.protocol = spoken
    self.authority = authority
    self.stickiness = stickiness
    self.traffic = traffic
  }
}

extension PoolSettings {
  /// Whether a connection to a backend belongs to one connection of a client: it begins with that
  /// one's header, or has its address.
  var hasOwnConnections: Bool { proxyHeader != nil || usesClientAddress }

  /// The client's address, if backends are connected from it; nil for an own one. A client of the
  /// other family can't have it, nor can a backend on another machine reach what is local here.
  func source(for client: IPAddress?, to target: SocketAddress) -> IPAddress? {
    guard usesClientAddress, let client, let target = target.ip, client.isV4 == target.isV4,
      client.isLoopback == target.isLoopback, !client.isLinkLocal
    else { return nil }
    return client
  }
}

/// The version of HTTP that the backends of a pool get.
enum BackendProtocol: Sendable {
  case http1, http2
  /// No HTTP: the bytes of a TCP listener's clients.
  case tcp
  /// The datagrams of a UDP listener's clients.
  case udp
  /// By ALPN.
  case auto

  /// For ALPN, the preferred one first.
  var names: [String] {
    switch self {
    case .http1: ["http/1.1"]
    case .http2: ["h2"]
    case .auto: ["h2", "http/1.1"]
    case .tcp, .udp: []
    }
  }
}

/// How many upstream connections are kept for the next exchange, and how long.
struct KeepAlive: Sendable {
  /// Common backends close theirs at 5 seconds; ours go before.
  var idleTime = TimeSpan.seconds(4)
  /// Per backend and worker.
  var idleMax = 64
  /// Nil for any age.
  var ageMax: TimeSpan?
}

/// A snapshot as a worker holds it, with how many of its exchanges still run under it.
struct Generation {
  let id: Int
  let snapshot: Snapshot
  var pools: [PoolView]
  var exchangeCount = 0
  /// The indices of pools whose connections begin in another way now.
  private(set) var formerPools: Set<Int> = []

  init(id: Int, snapshot: Snapshot) {
    self.id = id
    self.snapshot = snapshot
    pools = snapshot.pools.map { PoolView($0.pool) }
  }

  /// Another snapshot is in force from now on.
  mutating func noteNewest(_ newest: Snapshot) {
    let names = newest.poolsWithOtherConnections(than: snapshot)
    formerPools = Set(
      snapshot.pools.indices.filter { names.contains(snapshot.pools[$0].pool.name) })
  }
}
