// One ring of ticket keys per listener: the source of its keys, their rotation, and what is kept
// over a reload and an upgrade.

import Primitives
import Testing

@testable import Server
@testable import TLS

@Suite struct TicketRingsTests {
  private let start = Instant(nanoseconds: 1_000_000_000)

  private func plan(_ byte: UInt8? = nil, hours: Int64 = 12) -> TicketRings.Plan {
    TicketRings.Plan(
      secrets: byte.map { [[UInt8](repeating: $0, count: 48)] } ?? [],
      rotation: .seconds(3600) * hours)
  }

  private func sealing(_ rings: TicketRings, _ listener: String) throws -> [UInt8] {
    try #require(try rings.keys(of: listener).sealing).bytes
  }

  @Test func `each listener has the keys of its own files`() throws {
    let rings = TicketRings()
    for name in ["a", "b", "c"] { _ = try rings.keys(of: name) }
    rings.takeUp(["a": plan(1), "b": plan(2), "c": plan()], at: start)
    #expect(try sealing(rings, "a") == TicketKey(secret: [UInt8](repeating: 1, count: 48))?.bytes)
    #expect(try sealing(rings, "b") == TicketKey(secret: [UInt8](repeating: 2, count: 48))?.bytes)
    // Only keys that were generated here are passed to another process, which reads the files
    // itself.
    #expect(rings.states.map(\.listener) == ["c"])
  }

  @Test func `listeners without files share no key`() throws {
    let rings = TicketRings()
    #expect(try sealing(rings, "a") != sealing(rings, "b"))
  }

  @Test func `a ring is the same after a reload, and is removed with its listener`() throws {
    let rings = TicketRings()
    let keys = try rings.keys(of: "a")
    let other = try rings.keys(of: "b")
    rings.takeUp(["a": plan(), "b": plan()], at: start)
    rings.takeUp(["a": plan(hours: 1)], at: start)
    #expect(try rings.keys(of: "a") === keys)
    #expect(try rings.keys(of: "b") !== other)
  }

  @Test func `each ring rotates at its own time, however often the configuration is reloaded`()
    throws
  {
    let rings = TicketRings()
    let plans = ["a": plan(hours: 1), "b": plan(hours: 12), "c": plan(3, hours: 1)]
    for name in plans.keys { _ = try rings.keys(of: name) }
    rings.takeUp(plans, at: start)
    let before = try plans.keys.sorted().map { try sealing(rings, $0) }
    // A reload every half an hour.
    for half in 1...3 as ClosedRange<Int64> {
      let now = start + .seconds(1800) * half
      rings.takeUp(plans, at: now)
      try rings.rotate(at: now)
    }
    let after = try plans.keys.sorted().map { try sealing(rings, $0) }
    #expect(after[0] != before[0] && after[1] == before[1] && after[2] == before[2])
    #expect(try rings.keys(of: "a").count == 2)
    #expect(rings.rotatesAt == start + .seconds(7200))
  }

  @Test func `another process takes the rings over, with their times`() throws {
    let old = TicketRings()
    let plans = ["a": plan(hours: 1), "b": plan(hours: 2)]
    for name in plans.keys { _ = try old.keys(of: name) }
    old.takeUp(plans, at: start)
    let new = TicketRings()
    for state in old.states { new.restore(state) }
    new.takeUp(plans, at: start + .seconds(1800))
    for name in plans.keys { #expect(try sealing(new, name) == sealing(old, name)) }
    #expect(new.rotatesAt == old.rotatesAt)
    // Invalid keys are ignored, and a new ring is made on demand.
    new.restore(TicketRings.State(listener: "x", keys: [[1, 2, 3]], rotatesAt: start))
    #expect(try new.keys(of: "x").count == 1)
  }
}
