// Runs of a worker with a UDP listener on the simulated network, and what must be true of each.

import Balancing
import Foundation
import Metrics
import Primitives
import Proxy
import Reactor
import Testing

@testable import Server

/// One run: what is configured, and what happens, follows from the seed.
private final class UDPRun {
  let net: SimulatedUDPNetwork
  var worker: Worker<SimulatedUDPIO>
  let rules: SessionRules
  let members: [Member]
  let isCalm: Bool
  private var generator: RandomGenerator
  private var sentCount: [String: Int] = [:]

  init(seed: UInt64, calm: Bool = false) throws {
    var generator = RandomGenerator(seed: seed)
    isCalm = calm
    net = SimulatedUDPNetwork(seed: seed &+ 1)
    net.lossPercent = calm ? 0 : generator.next(below: 20)
    if !calm && generator.chance(1, in: 4) { net.socketMax = 2 + generator.next(below: 8) }
    rules = SessionRules(
      pool: 0, sessionMax: calm ? 1000 : 1 + generator.next(below: 12),
      sessionsPerClientMax: calm || generator.chance(1, in: 2)
        ? nil : 1 + generator.next(below: 4),
      idle: .milliseconds(100 + Int64(generator.next(below: 2000))),
      responses: !calm && generator.chance(1, in: 3) ? 1 + generator.next(below: 2) : nil,
      perDatagram: !calm && generator.chance(1, in: 3))
    let registry = BackendRegistry()
    var health = HealthPolicy()
    health.failures = 3
    members = (1...3).map { port in
      Member(
        record: registry.backend(pool: "p", address: "\(port)", health: health),
        address: .ip(.loopbackV4, port: UInt16(port)),
        maxConnections: !calm && generator.chance(1, in: 5) ? 3 : nil)
    }
    for port in 1...3 { net.backends[UInt16(port)] = .replying }
    let strategies: [Strategy] = [.roundRobin, .leastConnections, .maglev, .random, .leastTime]
    let pool = PoolSettings(
      pool: Pool(
        registry.pool("p"), strategy: strategies[generator.next(below: strategies.count)],
        members: members, affinityKey: .fiveTuple, health: health, allDown: .drop),
      retry: RetryPolicy(),
      limits: ExchangeLimits(
        queue: .zero, connect: .seconds(1), response: .seconds(1), total: .seconds(1),
        clientIdle: .seconds(1), idle: .seconds(1), relayIdle: .seconds(1)),
      check: nil, protocol: .udp)
    let snapshot = Snapshot(
      settings: Settings(),
      listeners: [
        ListenerSettings(
          name: Array("u".utf8), rules: RouteRules(table: RouteTable([]), routes: []), udp: rules)
      ], pools: [pool])
    self.generator = generator
    worker = try loneWorker(
      on: SimulatedUDPIO(net), snapshot, listeners: [SimulatedUDPNetwork.listener])
  }

  private func client(_ index: Int) -> SocketAddress {
    .ip(IPAddress(v4: 0x0A00_0000 + UInt32(index / 4)), port: UInt16(1000 + index))
  }

  func go() {
    for step in 0..<300 {
      let client = client(generator.next(below: 16))
      for _ in 0..<(1 + generator.next(below: 3)) {
        sentCount["\(client)", default: 0] += 1
        net.send(Array("\(client)/\(sentCount["\(client)"] ?? 0)".utf8), from: client)
      }
      if !isCalm && generator.chance(1, in: 10) {
        let state: [SimulatedUDPNetwork.Backend] = [.replying, .replying, .refusing, .silent]
        net.backends[UInt16(1 + generator.next(below: 3))] = state[generator.next(below: 4)]
      }
      if !isCalm && step % 50 == 49 { pass(.seconds(3)) }
      worker.turn()
      check()
    }
    pass(.seconds(5))
    worker.handle(.drain(limit: .seconds(30)))
    pass(.seconds(4))
  }

  private func pass(_ time: TimeSpan) {
    let end = net.now + time
    while net.now < end { worker.turn() }
    check()
  }

  private func check() {
    #expect(net.openCount <= rules.sessionMax && net.openCount <= net.socketMax)
    #expect(rules.admission.count == worker.udp.sessions.count)
    #expect(members.reduce(0) { $0 + $1.record.activeCount } == net.openCount)
  }

  /// What must be true at the end.
  func judge(_ seed: UInt64) {
    #expect(net.mistakes.isEmpty, "\(net.mistakes)")
    #expect(worker.isFinished && worker.udp.sessions.isEmpty && net.openCount == 0, "seed \(seed)")
    #expect(rules.admission.count == 0)
    let snapshot = MetricsSnapshot(of: [worker.metrics])
    for (name, value) in snapshot.gauges { #expect(value == 0, "\(name), seed \(seed)") }
    #expect(members.allSatisfy { $0.record.activeCount == 0 })

    var copies: [String: Int] = [:]
    for datagram in net.arrivedAtListener { copies[text(datagram), default: 0] += 1 }
    if net.lossPercent == 0 {
      // The network doubles nothing, so whatever comes twice was doubled by the worker.
      var delivered: [String: Int] = [:]
      for (datagram, _) in net.arrivedAtBackends { delivered[text(datagram), default: 0] += 1 }
      for (name, count) in delivered {
        #expect(count <= copies[name] ?? 0, "\(name), seed \(seed)")
      }
    }
    for (datagram, _) in net.arrivedAtBackends { #expect(copies[text(datagram)] != nil) }
    for reply in net.arrivedAtClients {
      let parts = text(reply).split(separator: ":", maxSplits: 1)
      #expect(parts.count == 2 && parts[1].hasPrefix("\(reply.peer)/"), "\(text(reply)) \(seed)")
    }
    if isCalm { judgeCalm(seed) }
  }

  /// Without losses and failures, all is answered, and each client has one backend while its
  /// session lives.
  private func judgeCalm(_ seed: UInt64) {
    #expect(net.arrivedAtClients.count == sentCount.values.reduce(0, +), "seed \(seed)")
    #expect(count(of: .udpDatagramsDropped) == 0)
  }

  private func count(of metric: Metric) -> UInt64 {
    MetricsSnapshot(of: [worker.metrics])[metric]
  }

  private func text(_ datagram: SimulatedUDPNetwork.Datagram) -> String {
    String(decoding: datagram.bytes, as: UTF8.self)
  }
}

@Suite struct SimulatedUDPTests {
  static let seedCount =
    ProcessInfo.processInfo.environment["MARTLET_SEEDS"].flatMap(Int.init) ?? 60

  @Test func everyRunKeepsTheRules() throws {
    for seed in 0..<UInt64(Self.seedCount) {
      let run = try UDPRun(seed: seed)
      run.go()
      run.judge(seed)
    }
  }

  @Test func withoutFaultsEveryDatagramIsAnswered() throws {
    for seed in 0..<UInt64(max(1, Self.seedCount / 5)) {
      let run = try UDPRun(seed: seed, calm: true)
      run.go()
      run.judge(seed)
    }
  }
}
