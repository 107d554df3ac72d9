// MaglevTable: the same on every node, shares by weight, and few keys that move. The expected
// values are those of docs/operators/choosing-a-strategy.md, computed by another implementation.

import Foundation
import Primitives
import Testing

@testable import Balancing

@Suite struct MaglevTableTests {
  private static func entries(_ weights: [(String, Int)]) -> [MaglevTable.Entry] {
    weights.map { MaglevTable.Entry(id: Array($0.0.utf8), weight: $0.1) }
  }

  /// In bytewise order, as in the documentation.
  private static let documented = entries([
    ("10.0.0.1:80", 1), ("10.0.0.2:80", 1), ("10.0.0.3:80", 2), ("[2001:db8::1]:80", 1),
    ("blue", 1),
  ])

  private static func equal(_ count: Int, weight: Int = 1) -> [MaglevTable.Entry] {
    entries((0..<count).map { (String(format: "10.0.%03d.%03d:80", $0 / 250, $0 % 250), weight) })
  }

  private func counts(_ table: MaglevTable) -> [Int] {
    var counts = [Int](repeating: 0, count: table.entries.count)
    for slot in 0..<MaglevTable.slotCount { counts[table.entry(of: UInt64(slot), step: 0)] += 1 }
    return counts
  }

  /// Slots whose member is another one, in percent, and of those that had no reason to move.
  private func moved(
    _ before: MaglevTable, _ after: MaglevTable, besides changed: Set<String>
  ) -> (all: Double, needless: Double) {
    var (all, needless) = (0, 0)
    for slot in 0..<MaglevTable.slotCount {
      let old = before.entries[before.entry(of: UInt64(slot), step: 0)].id
      let new = after.entries[after.entry(of: UInt64(slot), step: 0)].id
      if old == new { continue }
      all += 1
      let names = [old, new].map { String(decoding: $0, as: UTF8.self) }
      if changed.isDisjoint(with: names) { needless += 1 }
    }
    func percent(_ count: Int) -> Double { Double(count) * 100 / Double(MaglevTable.slotCount) }
    return (percent(all), percent(needless))
  }

  @Test func theTableIsTheDocumentedOne() {
    let table = MaglevTable(Self.documented)
    #expect(counts(table) == [10_923, 10_923, 21_845, 10_923, 10_923])
    let names = (0..<MaglevTable.slotCount).map { slot in
      String(decoding: table.entries[table.entry(of: UInt64(slot), step: 0)].id, as: UTF8.self)
    }
    // The whole table, by a hash of its names with commas between them.
    let text = Array(names.joined(separator: ",").utf8)
    #expect(AffinityKey.hash(of: text.span) == 0x6D88_C815_66AA_0893)
    func member(_ hash: UInt64, _ step: Int = 0) -> String {
      String(decoding: table.entries[table.entry(of: hash, step: step)].id, as: UTF8.self)
    }
    #expect(member(0xE724_AF6C_6E59_5787) == "10.0.0.3:80")
    #expect(member(0x5D5B_B51A_E30D_7ED2) == "10.0.0.1:80")
    #expect(member(0x1551_FC69_40A5_0B51) == "blue")
  }

  @Test func sharesFollowTheWeights() {
    let table = MaglevTable(
      Self.entries([("a", 1), ("b", 256), ("c", 3), ("d", 0), ("e", 100)]))
    let counts = counts(table)
    #expect(counts[3] == 0)
    for (count, weight) in zip(counts, [1, 256, 3, 0, 100]) {
      let fair = Double(weight) * Double(MaglevTable.slotCount) / 360
      #expect(abs(Double(count) - fair) <= 2)
    }
    #expect(MaglevTable([]).isEmpty && MaglevTable(Self.entries([("a", 0)])).isEmpty)
  }

  @Test func sharesOfManyAreWithinAPercent() {
    let counts = counts(MaglevTable(Self.equal(650)))
    #expect(counts.max()! - counts.min()! <= 1)
  }

  /// Bounds with some room; docs/operators/choosing-a-strategy.md has the exact figures.
  @Test(arguments: [3, 10, 100])
  func aChangeMovesFewKeys(count: Int) {
    let all = Self.equal(count)
    let table = MaglevTable(all)
    let last = String(decoding: all[count - 1].id, as: UTF8.self)
    let share = 100 / Double(count)

    let removed = moved(table, MaglevTable(Array(all.dropLast())), besides: [last])
    print("maglev, \(count) members, one removed: \(removed)")
    #expect(removed.all >= share * 0.99 && removed.all < share * 2.5)

    let heavier = all.map {
      $0 == all[0] ? MaglevTable.Entry(id: $0.id, weight: 2) : $0
    }
    let first = String(decoding: all[0].id, as: UTF8.self)
    let reweighted = moved(table, MaglevTable(heavier), besides: [first])
    print("maglev, \(count) members, one of twice the weight: \(reweighted)")
    #expect(reweighted.all < share * 3)
  }

  @Test func theTableOfTheSameMembersIsMadeOnce() {
    let pool = BackendRegistry().pool("app")
    let first = pool.maglevTables(of: [Self.equal(3), Self.equal(4)])
    let second = pool.maglevTables(of: [Self.equal(4), Self.equal(3)])
    #expect(first[0] === second[1] && first[1] === second[0])
    let third = pool.maglevTables(of: [Self.equal(3, weight: 2)])
    #expect(third[0] !== second[1])
  }
}
