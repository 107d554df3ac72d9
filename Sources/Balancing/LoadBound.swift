// Bounded load (Mirrokni and others, Consistent Hashing with Bounded Loads, 2016): a member gets no
// more than c times its fair share of the exchanges of its level, counting the new one.
//
// Loads differ between nodes, so with a bound the nodes don't agree about every key.

import Primitives
import Synchronization

/// The bound at one moment.
struct LoadBound {
  /// In percent: c.
  let percent: Int
  /// The exchanges on all members with the new one.
  let total: Int
  /// The weights of all members.
  let weight: Int

  func cap(ofWeight share: Int) -> Int {
    (percent * total * share + 100 * weight - 1) / (100 * weight)
  }

  func isReached(by member: Member) -> Bool {
    member.record.activeCount >= cap(ofWeight: member.currentWeight)
  }
}

extension Level {
  /// Up to this many members, their exchanges are counted for each pick, and in larger pools once
  /// in a millisecond.
  private static let countedMax = 64

  func bound(percent: Int, at now: Instant) -> LoadBound {
    LoadBound(percent: percent, total: activeCount(at: now) + 1, weight: max(1, capacity.eligible))
  }

  private func activeCount(at now: Instant) -> Int {
    if eligible.count <= Self.countedMax { return summedActiveCount }
    let millisecond = UInt64(UInt32(truncatingIfNeeded: now.nanoseconds / 1_000_000))
    let seen = countedActive.load(ordering: .relaxed)
    if seen >> 32 == millisecond && seen != 0 { return Int(UInt32(truncatingIfNeeded: seen)) }
    let count = summedActiveCount
    countedActive.store(millisecond << 32 | UInt64(UInt32(clamping: count)), ordering: .relaxed)
    return count
  }

  private var summedActiveCount: Int {
    eligible.reduce(0) { $0 + members[$1.index].record.activeCount }
  }
}
