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
  let dials: Dials
  var now: Instant { dials.now }

  mutating func wait(until deadline: Instant?) -> Int {
    if let deadline { dials.now = max(dials.now, deadline) }
    return 0
  }
  mutating func connect(to address: SocketAddress, token: UInt64) -> ConnectResult {
    if case .ip(_, let port) = address { dials.times[Int(port)].append(now) }
    return .failed(.connectionRefused)
  }
}

@Suite struct HealthCheckerTests {
  private static let interval = TimeSpan.seconds(5)
  private let registry = BackendRegistry()
  private let dials = Dials()

  private func snapshot(ports: Range<UInt16>) -> Snapshot {
    let members = ports.map { port in
      Member(
        record: registry.backend(pool: "app", address: "\(port)"),
        address: .ip(.loopbackV4, port: port))
    }
    let check = ActiveCheck(
      kind: .tcp, interval: Self.interval, fastInterval: Self.interval, timeout: .seconds(1))
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

  private func run(_ worker: inout Worker<DialIO>, until end: Instant) {
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
