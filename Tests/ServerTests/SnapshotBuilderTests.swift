// SnapshotBuilder: configured values reach the settings that the request path reads. The file is
// long because it has a row for each key.

import Balancing
import Configuration
import HTTP1
import Primitives
import Proxy
import TLS
import Testing

@testable import Server

@Suite struct SnapshotBuilderTests {
  /// One changed key, and where its value must appear.
  struct Row: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let change: @Sendable (inout Configuration) -> Void
    let read: @Sendable (Snapshot) -> String
    let expected: String

    init(
      _ key: String, _ expected: String,
      _ change: @escaping @Sendable (inout Configuration) -> Void,
      _ read: @escaping @Sendable (Snapshot) -> String
    ) {
      testDescription = key
      self.change = change
      self.read = read
      self.expected = expected
    }
  }

  private static let standard: Configuration = {
    var configuration = Configuration()
    configuration.listeners = [
      Configuration.Listener(
        name: "web", listen: [Configuration.ListenAddress(.ip(.loopbackV4, port: 0))])
    ]
    configuration.pools = [
      Configuration.Pool(
        name: "app",
        backends: [Configuration.Backend(.address(.ip(.loopbackV4, port: 9001)))])
    ]
    configuration.routes = [Configuration.Route(.forward(pool: "app"))]
    return configuration
  }()

  private func snapshot(
    workers: Int = 4, _ change: (inout Configuration) -> Void = { _ in }
  ) throws -> Snapshot {
    var configuration = Self.standard
    change(&configuration)
    let builder = SnapshotBuilder(workerCount: workers)
    return try builder.build(configuration, certificates: [:], names: NameTable())
  }

  // MARK: Values

  private static let odd = TimeSpan.milliseconds(4567)

  static let limits: [Row] = [
    Row("headSize", "4567", { $0.limits.headSize = 4567 }) {
      "\($0.settings.headLimits.headByteCount)"
    },
    Row("fieldCount", "17", { $0.limits.fieldCount = 17 }) {
      "\($0.settings.headLimits.fieldCount)"
    },
    Row("targetSize", "345", { $0.limits.targetSize = 345 }) {
      "\($0.settings.headLimits.targetByteCount)"
    },
    Row("responseHeadSize", "4567", { $0.limits.responseHeadSize = 4567 }) {
      "\($0.pools[0].responses.limits.headByteCount)"
    },
    Row("responseFieldCount", "17", { $0.limits.responseFieldCount = 17 }) {
      "\($0.pools[0].responses.limits.fieldCount)"
    },
    Row("linger", "\(odd)", { $0.limits.linger = odd }) { "\($0.settings.lingerTime)" },
    Row("chunkExtensions", "4567", { $0.limits.chunkExtensions = 4567 }) {
      "\($0.settings.bodyLimits.extensionByteCount)"
    },
    Row("trailerSize", "4567", { $0.limits.trailerSize = 4567 }) {
      "\($0.settings.bodyLimits.trailers.headByteCount)"
    },
    Row("bodySize", "4567", { $0.limits.bodySize = 4567 }) { "\($0.settings.bodyByteCountMax)" },
    Row("connections", "4567", { $0.limits.connections = 4567 }) { "\($0.settings.connectionMax)" },
    Row("connectionsPerAddress", "Optional(7)", { $0.limits.connectionsPerAddress = 7 }) {
      "\($0.settings.connectionsPerAddressMax as Int?)"
    },
    Row("requestsPerConnection", "7", { $0.limits.requestsPerConnection = 7 }) {
      "\($0.settings.requestsPerConnectionMax)"
    },
    Row("streamsPerConnection", "7", { $0.limits.streamsPerConnection = 7 }) {
      "\($0.settings.http2.streamCount)"
    },
    Row("minimumRate", "7 7", { $0.limits.minimumRate = 7 }) {
      "\($0.settings.minimumRate?.bytesPerSecond ?? 0) "
        + "\($0.pools[0].limits.clientRate?.bytesPerSecond ?? 0)"
    },
    Row("rateGrace", "\(odd) \(odd)", { $0.limits.rateGrace = odd }) {
      "\($0.settings.minimumRate?.grace ?? .zero) "
        + "\($0.pools[0].limits.clientRate?.grace ?? .zero)"
    },
    Row("minimumRate", "nil", { $0.limits.minimumRate = nil }) {
      "\($0.settings.minimumRate as MinimumRate?)"
    },
    Row("handshakes", "1141", { $0.limits.handshakes = 4567 }) { "\($0.settings.handshakeMax)" },
    Row("handshake", "\(odd)", { $0.limits.handshake = odd }) { "\($0.settings.handshakeTimeout)" },
    Row("head", "\(odd)", { $0.limits.head = odd }) { "\($0.settings.headTimeout)" },
    Row("bodyIdle", "\(odd) \(odd)", { $0.limits.bodyIdle = odd }) {
      "\($0.settings.bodyIdleTimeout) \($0.pools[0].limits.clientIdle)"
    },
    Row("keepAlive", "\(odd)", { $0.limits.keepAlive = odd }) { "\($0.settings.idleTimeout)" },
    Row("collectSize", "4567", { $0.limits.collectSize = 4567 }) {
      "\($0.settings.collectedByteCountMax)"
    },
    Row("collectWait", "\(odd)", { $0.limits.collectWait = odd }) { "\($0.settings.collectTime)" },
  ]

  static let timeouts: [Row] = [
    Row("connect", "\(odd)", { $0.pools[0].timeouts.connect = odd }) {
      "\($0.pools[0].limits.connect)"
    },
    Row("response", "\(odd)", { $0.pools[0].timeouts.response = odd }) {
      "\($0.pools[0].limits.response)"
    },
    Row("request", "\(odd)", { $0.pools[0].timeouts.request = odd }) {
      "\($0.pools[0].limits.total)"
    },
    Row("idle", "\(odd)", { $0.pools[0].timeouts.idle = odd }) { "\($0.pools[0].limits.idle)" },
    Row("grpcMax", "\(odd)", { $0.pools[0].timeouts.grpcMax = odd }) {
      $0.pools[0].callTimeMax.map { "\($0)" } ?? "nil"
    },
    Row("relayIdle", "\(odd)", { $0.pools[0].timeouts.relayIdle = odd }) {
      "\($0.pools[0].limits.relayIdle)"
    },
  ]

  static let keepAlive: [Row] = [
    Row("idle", "\(odd)", { $0.pools[0].keepAlive.idle = odd }) {
      "\($0.pools[0].keepAlive.idleTime)"
    },
    Row("maxIdle", "7", { $0.pools[0].keepAlive.maxIdle = 7 }) {
      "\($0.pools[0].keepAlive.idleMax)"
    },
    Row("maxAge", "\(odd)", { $0.pools[0].keepAlive.maxAge = odd }) {
      "\($0.pools[0].keepAlive.ageMax ?? .zero)"
    },
  ]

  static let retry: [Row] = [
    Row("maxAttempts", "7", { $0.pools[0].retry.maxAttempts = 7 }) {
      "\($0.pools[0].retry.maxAttempts)"
    },
    Row("statuses", "[502, 503, 429]", { $0.pools[0].retry.statuses = [502...503, 429...429] }) {
      "\($0.pools[0].retry.statuses)"
    },
    Row("grpcStatuses", "[8, 14]", {
      $0.pools[0].retry.grpcStatuses = [.resourceExhausted, .unavailable]
    }) {
      "\($0.pools[0].retry.grpcStatuses)"
    },
    Row("budgetPercent", "7", { $0.pools[0].retry.budgetPercent = 7 }) {
      "\($0.pools[0].pool.budget.percent)"
    },
    Row("budgetMinimum", "7", { $0.pools[0].retry.budgetMinimum = 7 }) {
      "\($0.pools[0].pool.budget.floor)"
    },
    Row("replaySize", "4567", { $0.pools[0].retry.replaySize = 4567 }) {
      "\($0.pools[0].replayByteCount)"
    },
  ]

  static let ejection: [Row] = [
    Row("failures", "Optional(7)", { $0.pools[0].ejection?.failures = 7 }) {
      "\($0.pools[0].pool.health.failures as Int?)"
    },
    Row("base", "\(odd)", { $0.pools[0].ejection?.base = odd }) {
      "\($0.pools[0].pool.health.ejectionBase)"
    },
    Row("max", "\(odd)", { $0.pools[0].ejection?.max = odd }) {
      "\($0.pools[0].pool.health.ejectionMax)"
    },
    Row("failurePercent", "nil", { $0.pools[0].ejection?.failurePercent = nil }) {
      "\($0.pools[0].pool.health.failurePercent as Int?)"
    },
    Row("window", "\(odd)", { $0.pools[0].ejection?.window = odd }) {
      "\($0.pools[0].pool.health.failureWindow)"
    },
    Row("minimumRequests", "7", { $0.pools[0].ejection?.minimumRequests = 7 }) {
      "\($0.pools[0].pool.health.failureRequestCount)"
    },
    Row("maxEjectedPercent", "7", { $0.pools[0].ejection?.maxEjectedPercent = 7 }) {
      "\($0.pools[0].pool.health.ejectedPercentMax)"
    },
  ]

  static let queue: [Row] = [
    Row("size", "7", { $0.pools[0].queue?.size = 7 }) { "\($0.pools[0].pool.queueMax)" },
    Row("timeout", "\(odd)", { $0.pools[0].queue?.timeout = odd }) {
      "\($0.pools[0].limits.queue)"
    },
  ]

  private static func check(_ snapshot: Snapshot) -> String {
    guard let check = snapshot.pools[0].check else { return "none" }
    switch check.kind {
    case .tcp: return "tcp"
    case .talk(let send, let reply): return "talk \(send) \(reply)"
    case .http(let path, let host, let expected):
      let statuses = expected.map { "\($0.lowerBound)-\($0.upperBound)" }
      return "\(path) \(host ?? "-") \(statuses.joined(separator: " "))"
    case .grpc(let service, let host): return "grpc \(service) \(host ?? "-")"
    }
  }

  static let health: [Row] = [
    Row("check", "/ - 200-399", { $0.pools[0].health?.check = .http }) { check($0) },
    Row("send", "talk [255] [78]", { $0.pools[0].health = .talk("\u{FF}", "N") }) { check($0) },
    Row("reply", "talk [] [43]", { $0.pools[0].health = .talk(nil, "+") }) { check($0) },
    Row(
      "path", "/up - 200-399",
      {
        $0.pools[0].health?.check = .http
        $0.pools[0].health?.path = "/up"
      }
    ) { check($0) },
    Row(
      "host", "/ h 200-399",
      {
        $0.pools[0].health?.check = .http
        $0.pools[0].health?.host = "h"
      }
    ) { check($0) },
    Row(
      "expect", "/ - 204-204 401-403",
      {
        $0.pools[0].health?.check = .http
        $0.pools[0].health?.expect = [204...204, 401...403]
      }
    ) { check($0) },
    Row(
      "service", "grpc a.B -",
      {
        $0.pools[0].health?.check = .grpc
        $0.pools[0].health?.service = "a.B"
      }
    ) { check($0) },
    Row("interval", "\(odd)", { $0.pools[0].health?.interval = odd }) {
      "\($0.pools[0].check?.interval ?? .zero)"
    },
    Row("fastInterval", "\(odd)", { $0.pools[0].health?.fastInterval = odd }) {
      "\($0.pools[0].check?.fastInterval ?? .zero)"
    },
    Row("timeout", "\(odd)", { $0.pools[0].health?.timeout = odd }) {
      "\($0.pools[0].check?.timeout ?? .zero)"
    },
    Row("port", "4567", { $0.pools[0].health?.port = 4567 }) {
      "\($0.pools[0].check?.port ?? 0)"
    },
    Row("rise", "7", { $0.pools[0].health?.rise = 7 }) { "\($0.pools[0].pool.health.rise)" },
    Row("fall", "7", { $0.pools[0].health?.fall = 7 }) { "\($0.pools[0].pool.health.fall)" },
    Row("initially", "down", { $0.pools[0].health?.initially = .down }) {
      "\($0.pools[0].pool.health.initial)"
    },
  ]

  static let paths: [Row] = [
    Row("encodedSlashes", "refuse", { $0.paths.encodedSlashes = .refuse }) {
      "\($0.settings.paths.encodedSlashes)"
    },
    Row("encodedSlashes", "decode", { $0.paths.encodedSlashes = .decode }) {
      "\($0.settings.paths.encodedSlashes)"
    },
    Row("dotSegments", "refuse", { $0.paths.dotSegments = .refuse }) {
      "\($0.settings.paths.dotSegments)"
    },
  ]

  static let others: [Row] = [
    Row("no body limit", "\(UInt64.max)", { $0.limits.bodySize = nil }) {
      "\($0.settings.bodyByteCountMax)"
    },
    Row("few connections", "2", { $0.limits.connections = 2 }) { "\($0.settings.connectionMax)" },
    Row(
      "fast interval above the interval", "\(TimeSpan.milliseconds(700))",
      {
        $0.pools[0].health?.interval = .milliseconds(700)
        $0.pools[0].health?.fastInterval = .seconds(9)
      }
    ) { "\($0.pools[0].check?.fastInterval ?? .zero)" },
    Row("no checks", "none", { $0.pools[0].health = nil }) { check($0) },
    Row("no ejection", "nil", { $0.pools[0].ejection = nil }) {
      "\($0.pools[0].pool.health.failures as Int?)"
    },
    Row("no queue", "0", { $0.pools[0].queue = nil }) { "\($0.pools[0].pool.queueMax)" },
    Row("slow start", "\(odd)", { $0.pools[0].slowStart = odd }) {
      "\($0.pools[0].pool.slowStart ?? .zero)"
    },
    Row("strategy", "ipHash", { $0.pools[0].strategy = .ipHash }) {
      "\($0.pools[0].pool.strategy)"
    },
    Row("when all down", "failOpen", { $0.pools[0].whenAllDown = .failOpen }) {
      "\($0.pools[0].pool.allDown)"
    },
    Row(
      "when all down, TCP", "reset",
      {
        $0.listeners[0].protocol = .tcp
        $0.listeners[0].pool = $0.pools[0].name
      }
    ) { "\($0.pools[0].pool.allDown)" },
    Row("desync", "tolerant", { $0.pools[0].desync = .tolerant }) {
      "\($0.pools[0].responses.desync)"
    },
    Row("protocols", "h1 false h2 true", { $0.listeners[0].protocols = [.http2] }) {
      "h1 \($0.listeners[0].protocols.http1) h2 \($0.listeners[0].protocols.http2)"
    },
    Row("protocol", "http2", { $0.pools[0].protocol = .http2 }) { "\($0.pools[0].protocol)" },
    Row("half-close", "true", { $0.listeners[0].halfClose = .answer }) {
      "\($0.listeners[0].answersHalfClosed)"
    },
    Row(
      "the first backend's address", "app.internal:80",
      { $0.pools[0].backends[0].endpoint = .name("app.internal", port: 80) }
    ) { String(decoding: $0.pools[0].authority, as: UTF8.self) },
    Row(
      "a socket's address", "localhost",
      { $0.pools[0].backends[0].endpoint = .address(.unix("/s")) }
    ) { String(decoding: $0.pools[0].authority, as: UTF8.self) },
    Row("weight", "7", { $0.pools[0].backends[0].weight = 7 }) {
      "\($0.pools[0].pool.membership.members[0].weight)"
    },
    Row("max connections", "Optional(7)", { $0.pools[0].backends[0].maxConnections = 7 }) {
      "\($0.pools[0].pool.membership.members[0].maxConnections as Int?)"
    },
    Row("backup", "true", { $0.pools[0].backends[0].isBackup = true }) {
      "\($0.pools[0].pool.membership.members[0].isBackup)"
    },
    Row("via", "false", { $0.via = false }) { "\($0.settings.forwarding.addsVia)" },
    Row("via to backends", "true", { $0.viaToBackends = true }) {
      "\($0.settings.forwarding.addsViaToRequests)"
    },
    Row("forwarding field", "forwarded", { $0.forwardingField = .forwarded }) {
      "\($0.settings.forwarding.field)"
    },
    Row("upgrades", "[\"x\"]", { $0.upgrades = ["x"] }) {
      "\($0.settings.forwarding.upgradeTokens.map { String(decoding: $0, as: UTF8.self) })"
    },
    Row("trusted proxies", "[10.0.0.0/8]", { $0.trustedProxies = [AddressRange("10.0.0.0/8")!] }) {
      "\($0.settings.forwarding.trustedProxies)"
    },
  ]

  @Test(
    arguments: [
      limits, timeouts, keepAlive, retry, ejection, queue, health, paths, others, balancing,
    ]
    .flatMap { $0 })
  func aChangedValueArrives(_ row: Row) throws {
    #expect(row.read(try snapshot(row.change)) == row.expected)
    #expect(row.read(try snapshot()) != row.expected, "the default is the same: this shows nothing")
  }

  /// Fails when a key is added to the configuration without a row above.
  @Test func everyKeyOfTheseSectionsHasARow() {
    let sections: [(value: Any, rows: [Row])] = [
      (Configuration.Limits(), Self.limits), (Configuration.Timeouts(), Self.timeouts),
      (Configuration.KeepAlive(), Self.keepAlive), (Configuration.Retry(), Self.retry),
      (Configuration.Ejection(), Self.ejection), (Configuration.Queue(), Self.queue),
      (Configuration.Health(), Self.health),
      (Configuration.Paths(), Self.paths),
    ]
    for (value, rows) in sections {
      // The control thread reads the settings for shutdown and memory from the configuration
      // itself.
      let keys = Set(Mirror(reflecting: value).children.compactMap(\.label))
        .subtracting(["lameDuck", "drain", "upgrade", "memory"])
      #expect(keys == Set(rows.map(\.testDescription)), "\(type(of: value))")
    }
  }

  @Test(arguments: [
    (Configuration.Strategy.roundRobin, "roundRobin"),
    (.weightedRoundRobin, "weightedRoundRobin"), (.leastConnections, "leastConnections"),
    (.random, "random"), (.ipHash, "ipHash"), (.maglev, "maglev"), (.powerOfTwo, "powerOfTwo"),
    (.leastTime, "leastTime"),
  ])
  func everyStrategyIsItsOwn(configured: Configuration.Strategy, name: String) throws {
    let snapshot = try snapshot { $0.pools[0].strategy = configured }
    #expect("\(snapshot.pools[0].pool.strategy)" == name)
  }

  // MARK: Routes

  private func route(_ snapshot: Snapshot, host: String = "a", path: String) -> RouteSettings? {
    let listener = snapshot.listeners[0]
    let index = listener.rules.table.match(host: Array(host.utf8).span, path: Array(path.utf8).span)
    return index.map { listener.rules.routes[$0] }
  }

  @Test func routesLeadToTheirActions() throws {
    let snapshot = try snapshot { configuration in
      configuration.pools.append(
        Configuration.Pool(
          name: "other", backends: [Configuration.Backend(.address(.unix("/run/x")))]))
      var below = Configuration.Route(.forward(pool: "other"))
      below.hosts = [.below("example.org"), .exact("example.org")]
      below.requestEdits.remove = ["X-A"]
      below.requestEdits.set = [Configuration.Field(name: "X-B", value: "1")]
      var exact = Configuration.Route(.respond(Configuration.Response()))
      exact.path = "/up"
      exact.match = .exact
      var redirect = Configuration.Redirect()
      redirect.scheme = .https
      redirect.port = 443
      redirect.status = 301
      var moved = Configuration.Route(.redirect(redirect))
      moved.path = "/old"
      configuration.routes += [below, exact, moved]
    }
    guard case .forward(0) = route(snapshot, path: "/")?.action,
      case .forward(1) = route(snapshot, host: "example.org", path: "/")?.action,
      case .forward(1) = route(snapshot, host: "b.example.org", path: "/")?.action,
      case .respond(let answer, _) = route(snapshot, path: "/up")?.action,
      case .forward(0) = route(snapshot, path: "/up/x")?.action,
      case .redirect(let target, 301) = route(snapshot, path: "/old/x")?.action
    else {
      Issue.record("a route leads elsewhere")
      return
    }
    #expect(answer.status == 200)
    #expect(target.scheme == Array("https".utf8) && target.port == nil)
    #expect(
      route(snapshot, host: "example.org", path: "/")?.requestEdits == [
        .remove(name: Array("X-A".utf8)),
        .set(name: Array("X-B".utf8), value: Array("1".utf8)),
      ])
  }

  @Test func aPortOfItsOwnIsKeptInARedirect() throws {
    for (scheme, port, kept) in [
      (Configuration.Redirect.Scheme.http, 80, nil), (.https, 80, 80), (.https, 8443, 8443),
    ] as [(Configuration.Redirect.Scheme, UInt16, UInt16?)] {
      let snapshot = try snapshot { configuration in
        var redirect = Configuration.Redirect()
        redirect.scheme = scheme
        redirect.port = port
        configuration.routes = [Configuration.Route(.redirect(redirect))]
      }
      guard case .redirect(let target, 308) = route(snapshot, path: "/")?.action else {
        Issue.record("no redirect")
        continue
      }
      #expect(target.port == kept)
    }
  }

  // MARK: Cookies

  private func token(
    key: String?, pool: String = "default", _ builder: SnapshotBuilder? = nil
  ) throws -> UInt64 {
    var configuration = Self.standard
    configuration.pools[0].name = pool
    configuration.pools[0].stickiness = Configuration.Stickiness(cookie: "c")
    configuration.pools[0].stickiness?.key = key
    configuration.routes = [Configuration.Route(.forward(pool: pool))]
    let builder = builder ?? SnapshotBuilder(workerCount: 1)
    let snapshot = try builder.build(configuration, certificates: [:], names: NameTable())
    return snapshot.pools[0].pool.membership.members[0].stickyToken
  }

  @Test func aTokenIsTheSameOnlyForNodesThatShareTheKey() throws {
    let shared = try token(key: "k")
    #expect(shared != 0)
    #expect(try token(key: "k") == shared)
    #expect(try token(key: "l") != shared)
    #expect(try token(key: "k", pool: "other") != shared)
  }

  @Test func withoutAKeyATokenLastsAsLongAsTheProcess() throws {
    let builder = SnapshotBuilder(workerCount: 1)
    let first = try token(key: nil, builder)
    #expect(try token(key: nil, builder) == first)
    #expect(try token(key: nil) != first)
  }

  // MARK: What outlives a snapshot

  @Test func aBackendIsTheSameRecordInTheNextSnapshot() throws {
    let builder = SnapshotBuilder(workerCount: 1)
    func records(_ configuration: Configuration) throws -> [BackendRecord] {
      try builder.build(configuration, certificates: [:], names: NameTable()).pools[0]
        .pool.membership.members.map(\.record)
    }
    var changed = Self.standard
    changed.pools[0].backends.insert(
      Configuration.Backend(.address(.ip(.loopbackV4, port: 9002))), at: 0)
    let first = try records(Self.standard)
    let second = try records(changed)
    #expect(second.count == 2 && second[1] === first[0] && second[0] !== first[0])
  }

  @Test func aNameThatWasNeverLookedUpHasNoMembers() throws {
    let snapshot = try snapshot {
      $0.pools[0].backends = [Configuration.Backend(.name("nowhere.invalid", port: 80))]
    }
    #expect(snapshot.pools[0].pool.membership.members.isEmpty)
  }
}
