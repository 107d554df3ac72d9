// Name lookups: in parallel, repeated at the right time, and the results kept in between.
//
// The lookups are the test's own, which return when the test allows it.

import Configuration
import Foundation
import Primitives
import Reactor
import Synchronization
import Testing

@testable import Server

@Suite struct NameLookupsTests {
  /// The results of lookups, and who waits for them.
  private final class Zone: Sendable {
    struct State {
      var answers: [String: Result<[IPAddress], ResolverError>] = [:]
      var asked: [String] = []
      var waiting = 0
      var waitingMost = 0
    }

    let state = Mutex(State())

    /// Waits until there is a result.
    func lookUp(_ name: String) throws(ResolverError) -> [IPAddress] {
      state.withLock {
        $0.asked.append(name)
        $0.waiting += 1
        $0.waitingMost = max($0.waitingMost, $0.waiting)
      }
      defer { state.withLock { $0.waiting -= 1 } }
      while true {
        if let answer = state.withLock({ $0.answers[name] }) { return try answer.get() }
        usleep(1000)
      }
    }

    func answer(_ name: String, _ addresses: IPAddress...) {
      state.withLock { $0.answers[name] = .success(addresses) }
    }
  }

  private static func configuration(_ names: [String]) -> Configuration {
    var configuration = Configuration()
    configuration.pools = [
      Configuration.Pool(
        name: "app",
        backends: names.map { Configuration.Backend(.name($0, port: 80)) })
    ]
    return configuration
  }

  private let zone = Zone()
  private let table = NameTable(
    limits: NameTable.Limits(promptMax: 8, slowMax: 4, totalMax: 32, patience: .milliseconds(50)))

  private func lookups(
    _ report: @escaping NameLookups.Report = { _, _ in }
  ) throws -> NameLookups {
    try NameLookups(table, lookUp: { [zone] name throws(ResolverError) in try zone.lookUp(name) },
      report: report)
  }

  private func eventually(_ condition: () -> Bool) -> Bool {
    for _ in 0..<10_000 {
      if condition() { return true }
      usleep(1000)
    }
    return false
  }

  @Test func anUnansweredNameDoesNotDelayOthers() throws {
    let silent = (1...20).map { "a-silent\($0)" }
    table.watch(Self.configuration(silent + ["well"]))
    zone.answer("well", .loopbackV4)
    let lookups = try lookups()
    defer { lookups.end() }
    #expect(eventually { table["well"].addresses == [.loopbackV4] })
    #expect(eventually { zone.state.withLock { $0.waiting } == 20 })
    #expect(table.unanswered == silent.sorted())
    for name in silent { zone.answer(name, .loopbackV4) }
    lookups.settle(atMost: .seconds(60))
    #expect(table.unanswered == [])
  }

  @Test func lookupsRunAtALimitedNumberAndTheOthersFollow() throws {
    let names = (0..<40).map { "name\($0)" }
    table.watch(Self.configuration(names))
    let lookups = try lookups()
    defer { lookups.end() }
    #expect(eventually { zone.state.withLock { $0.waiting } == 32 })
    for name in names { zone.answer(name, .loopbackV4) }
    lookups.settle(atMost: .seconds(60))
    #expect(zone.state.withLock { $0.waitingMost } <= 32)
    #expect(zone.state.withLock { Set($0.asked) } == Set(names))
  }

  @Test func aResultIsReportedOnce() throws {
    let news = Mutex<[String]>([])
    table.watch(Self.configuration(["a"]))
    zone.answer("a", .loopbackV4)
    let lookups = try lookups { name, found in
      news.withLock { $0.append("\(name) \(found.hasChanged) \(found.hasFailed)") }
    }
    defer { lookups.end() }
    lookups.settle(atMost: .seconds(60))
    #expect(eventually { news.withLock { $0 } == ["a true false"] })
  }

  // MARK: The table

  private let failure = Result<[IPAddress], ResolverError>.failure(
    ResolverError(name: "a", reason: "no answer"))
  private let other = IPAddress(v4: 7)

  @Test func aFailureKeepsTheLastAddressesAndIsReportedOnce() {
    table.watch(Self.configuration(["a"]))
    #expect(table.note("a", .success([.loopbackV4]), at: .origin).hasChanged)
    #expect(table.note("a", failure, at: .origin) == NameTable.News(hasFailed: true))
    #expect(table.note("a", failure, at: .origin) == NameTable.News())
    #expect(table["a"].addresses == [.loopbackV4] && table["a"].failure == "no answer")
    #expect(table["a"].lookupCount == 3 && table["a"].failureCount == 2)
    #expect(table.unresolved(in: Self.configuration(["a"]).pools[0]).isEmpty)
    #expect(
      table.note("a", .success([other]), at: .origin)
        == NameTable.News(hasChanged: true, hasRecovered: true))
  }

  @Test func aNameWithoutAnAddressIsUnresolvedWithTheReasonAndSoonDueAgain() {
    let configuration = Self.configuration(["a"])
    table.watch(configuration)
    #expect(table.unresolved(in: configuration.pools[0]).map(\.reason) == ["no answer yet"])
    #expect(table.takeDue(at: .origin) == ["a"])
    #expect(table.takeDue(at: .origin) == [])
    _ = table.note("a", failure, at: .origin)
    #expect(table.unresolved(in: configuration.pools[0]).map(\.reason) == ["no answer"])
    #expect(table.nextDue(after: .origin) == .origin + NameTable.retryInterval)
    _ = table.note("a", .success([other]), at: .origin)
    #expect(
      table.nextDue(after: .origin) == .origin + configuration.pools[0].resolveInterval)
  }

  @Test func theOrderOfTheAddressesIsNoChange() {
    table.watch(Self.configuration(["a"]))
    _ = table.note("a", .success([other, .loopbackV4]), at: .origin)
    #expect(table.note("a", .success([.loopbackV4, other]), at: .origin) == NameTable.News())
  }

  @Test func aRefusedConfigurationLosesNoAddress() {
    table.watch(Self.configuration(["a"]))
    _ = table.note("a", .success([other]), at: .origin)
    table.watch(Self.configuration(["b"]))
    table.watch(Self.configuration(["a"]))
    #expect(table["a"].addresses == [other])
    // A name that is in neither of the last two configurations is removed.
    table.watch(Self.configuration(["b"]))
    table.watch(Self.configuration(["c"]))
    #expect(table["a"].addresses == [])
  }

  @Test func anotherProcessBeginsWithWhatThisOneFound() throws {
    table.watch(Self.configuration(["a", "b"]))
    _ = table.note("a", .success([other, .loopbackV6]), at: .origin)
    var handover = Handover()
    handover.names = table.handover
    let taken = try #require(Handover(handover.bytes))
    let fresh = NameTable()
    for (name, addresses) in taken.names { fresh.restore(name, addresses) }
    fresh.watch(Self.configuration(["a", "b"]))
    #expect(Set(fresh["a"].addresses) == [other, .loopbackV6])
    #expect(fresh.unanswered == ["b"])
    #expect(Set(fresh.takeDue(at: .origin)) == ["a", "b"])
  }

  @Test func namesThatAreSlowGetNoMoreThanTheirShare() {
    let silent = (0..<40).map { "a\($0)" }
    table.watch(Self.configuration(silent + ["b"]), at: .origin)
    var now = Instant.origin
    var taken: [String] = []
    // All are new, and those without an answer make room for others that have just begun.
    for _ in 0..<4 {
      let next = table.takeDue(at: now)
      #expect(next.count == 8)
      taken += next
      #expect(table.takeDue(at: now).isEmpty)
      #expect(table.nextDue(after: now) == now + .milliseconds(51))
      now = now + .milliseconds(51)
    }
    #expect(table.takeDue(at: now).isEmpty)
    // When they fail, they are known to be slow, and the others are looked up.
    now = now + .seconds(10)
    for name in taken { _ = table.note(name, failure, at: now) }
    now = now + NameTable.retryInterval
    var next = table.takeDue(at: now)
    #expect(next.count == 12 && next.count { taken.contains($0) } == 4)
    for name in next where !taken.contains(name) {
      _ = table.note(name, .success([other]), at: now)
    }
    next = table.takeDue(at: now)
    #expect(next == ["b"])
    // A name that gets an answer quickly is no longer slow.
    let slow = taken[0]
    _ = table.note(slow, .success([other]), at: now)
    now = now + .seconds(60)
    #expect(table.takeDue(at: now).contains(slow))
  }

  @Test func aShorterIntervalCountsAtOnce() {
    var configuration = Self.configuration(["a"])
    configuration.pools[0].resolveInterval = .seconds(86_400)
    table.watch(configuration, at: .origin)
    _ = table.note("a", .success([other]), at: .origin)
    configuration.pools[0].resolveInterval = .seconds(5)
    let now = Instant.origin + .seconds(100)
    table.watch(configuration, at: now)
    #expect(table.takeDue(at: now + .seconds(4)).isEmpty)
    #expect(table.takeDue(at: now + .seconds(5)) == ["a"])
    // An earlier due time stays, and a longer interval begins with the next lookup.
    _ = table.note("a", .success([other]), at: now)
    configuration.pools[0].resolveInterval = .seconds(60)
    table.watch(configuration, at: now + .seconds(1))
    #expect(table.takeDue(at: now + .seconds(5)) == ["a"])
  }
}

extension IPAddress {
  fileprivate static let loopbackV6 = IPAddress(high: 0, low: 1)
}
