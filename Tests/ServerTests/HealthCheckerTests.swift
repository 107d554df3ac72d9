// When backends are checked: ten thousand of them are spread over the interval, also after reloads.
//
// The worker runs on an I/O with a clock of the test, on which every connect fails at once.

import Balancing
import Primitives
import Proxy
import Reactor
import Testing

@testable import Server

/// The time, and the times of connects by port; shared with the test.
private final class Dials {
  var now = Instant.origin + .seconds(1)
  var times = [[Instant]](repeating: [], count: 65_536)
}

private struct DialIO: QuietIO {
  enum Fate {
    case refused
    /// It waits for a response that never comes.
    case hangs
  }
  let dials: Dials
  var fate = Fate.refused
  var now: Instant { dials.now }

  mutating func wait(until deadline: Instant?) -> Int {
    if let deadline { dials.now = max(dials.now, deadline) }
    return 0
  }
  mutating func connect(to address: SocketAddress, token: UInt64) -> ConnectResult {
    if case .ip(_, let port) = address { dials.times[Int(port)].append(now) }
    switch fate {
    case .refused: return .failed(.connectionRefused)
    case .hangs:
      return .started(Socket(descriptor: Int32(truncatingIfNeeded: token & 0xFFFF) + 1000))
    }
  }
}

@Suite struct HealthCheckerTests {
  private static let interval = TimeSpan.seconds(5)
  private let registry = BackendRegistry()
  private let dials = Dials()

  private func snapshot(
    ports: Range<UInt16>, interval: TimeSpan = Self.interval, fastInterval: TimeSpan? = nil,
    timeout: TimeSpan = .seconds(1)
  ) -> Snapshot {
    let members = ports.map { port in
      Member(
        record: registry.backend(pool: "app", address: "\(port)"),
        address: .ip(.loopbackV4, port: port))
    }
    let check = ActiveCheck(
      kind: .tcp, interval: interval, fastInterval: fastInterval ?? interval, timeout: timeout)
    let limits = ExchangeLimits(
      connect: .seconds(1), response: .seconds(1), total: .seconds(1), clientIdle: .seconds(1),
      idle: .seconds(1), relayIdle: .seconds(1))
    let pool = Pool(registry.pool("app"), strategy: .roundRobin, members: members)
    return Snapshot(
      settings: Settings(), listeners: [],
      pools: [PoolSettings(pool: pool, retry: RetryPolicy(), limits: limits, check: check)])
  }

  private func worker(_ snapshot: Snapshot) throws -> Worker<DialIO> {
    try loneWorker(on: DialIO(dials: dials), snapshot)
  }

  private func run<IO: QuietIO>(_ worker: inout Worker<IO>, until end: Instant) {
    while let next = worker.waitsUntil, next < end { worker.turn() }
    dials.now = end
  }

  @Test(arguments: [100, 10_000] as [UInt16])
  func dialsAreSpreadOverTheInterval(count: UInt16) throws {
    var worker = try worker(snapshot(ports: 0..<count))
    let start = dials.now
    let rounds = 4
    for round in 1...rounds {
      run(&worker, until: start + .milliseconds(Self.interval.milliseconds * Int64(round)))
    }
    // Every interval is divided into 50 pieces. Because of jitter, the first checks of the second
    // interval overlap with the last of the first one. Counts that exceed this by five standard
    // deviations are no coincidence.
    let piece = Self.interval.nanoseconds / 50
    var counts = [Int](repeating: 0, count: 50 * rounds + 1)
    for time in dials.times.joined() { counts[Int((time - start).nanoseconds / piece)] += 1 }
    let mean = Double(count) / 50
    let most = 1.5 * mean + 5 * mean.squareRoot()
    #expect(counts.allSatisfy { Double($0) <= most }, "\(counts)")
    for times in dials.times.prefix(Int(count)) {
      // The last check may fall into the next interval.
      #expect((rounds - 1...rounds + 1).contains(times.count))
    }
  }

  // MARK: Changes during checks

  private func standing(_ port: UInt16) -> Standing {
    registry.backend(pool: "app", address: "\(port)").standing(at: dials.now)
  }

  @Test(arguments: [false, true])
  func changesThatComeFasterThanTheTimeoutDoNotKeepABackendUpThatHangs(
    areReloads: Bool
  ) throws {
    var worker = try loneWorker(on: DialIO(dials: dials, fate: .hangs), snapshot(ports: 1..<4))
    let start = dials.now
    for step in 1...150 as ClosedRange<Int64> {
      run(&worker, until: start + .milliseconds(200 * step))
      // Other members are added and removed.
      let first = UInt16(step % 2 + 1)
      worker.handle(
        areReloads ? .install(snapshot(ports: first..<4), listeners: []) : .membershipChanged)
    }
    // Three checks in a row, each of which takes one of six seconds.
    #expect(standing(3) == .down)
    #expect(dials.times[3].count <= 6)
    worker.handle(.stop)
    let left = worker.checker.probes.count
    #expect(left == 0)
  }

  @Test func aCheckThatIsConfiguredAnewBeginsAgain() throws {
    let long = TimeSpan.seconds(600)
    var worker = try loneWorker(
      on: DialIO(dials: dials, fate: .hangs), snapshot(ports: 1..<2, timeout: long))
    run(&worker, until: dials.now + .seconds(6))
    #expect(dials.times[1].count == 1)
    worker.handle(.install(snapshot(ports: 1..<2), listeners: []))
    run(&worker, until: dials.now + .seconds(20))
    #expect(standing(1) == .down)
    worker.handle(.stop)
  }

  @Test func aBackendThatIsDisabledIsNotChecked() throws {
    var worker = try worker(snapshot(ports: 1..<3))
    let disabled = registry.backend(pool: "app", address: "1")
    disabled.adminState = .disabled
    worker.handle(.membershipChanged)
    run(&worker, until: dials.now + .seconds(30))
    #expect(dials.times[1].isEmpty && !dials.times[2].isEmpty)
    disabled.adminState = .enabled
    worker.handle(.membershipChanged)
    run(&worker, until: dials.now + .seconds(30))
    #expect(!dials.times[1].isEmpty)
  }

  @Test(arguments: [false, true])
  func aShorterIntervalCountsAtOnce(isFast: Bool) throws {
    let hour = TimeSpan.seconds(3600)
    // After a failed check of a backend that is up, the fast interval applies.
    var worker = try worker(
      snapshot(ports: 1..<101, interval: isFast ? .seconds(1) : hour, fastInterval: hour))
    run(&worker, until: dials.now + .seconds(isFast ? 2 : 18_000))
    let before = dials.times.map(\.count)
    worker.handle(
      .install(
        snapshot(
          ports: 1..<101, interval: isFast ? .seconds(1) : .seconds(2),
          fastInterval: .seconds(1)), listeners: []))
    run(&worker, until: dials.now + .milliseconds(2200))
    #expect((1..<101).allSatisfy { dials.times[$0].count > before[$0] })
    // They are not all checked at once.
    #expect(Set((1..<101).map { dials.times[$0][before[$0]] }).count > 50)
    worker.handle(.stop)
  }

  @Test func reloadsNeitherDelayNorAdvanceChecks() throws {
    let count: UInt16 = 10_000
    var worker = try worker(snapshot(ports: 0..<count))
    let start = dials.now
    for reload in 1...40 as ClosedRange<Int64> {
      run(&worker, until: start + .milliseconds(500 * reload))
      let first = UInt16(reload % 2 * 300)
      worker.handle(.install(snapshot(ports: first..<first + count), listeners: []))
    }
    // A tenth of jitter, and the wheel's tick.
    let least = Self.interval.nanoseconds / 10 * 9
    let most = Self.interval.nanoseconds / 10 * 11 + 4_000_000
    for times in dials.times[300..<Int(count)] {
      #expect(times.count >= 3)
      for (before, after) in zip(times, times.dropFirst()) {
        #expect((least...most).contains((after - before).nanoseconds))
      }
    }
  }
}
