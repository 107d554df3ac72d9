// Who may connect: the client connections of the whole process, in all and by address.
//
// Shared by all workers, and asked when a connection is taken and when it ends, never on behalf of
// a request. Both counts are exact at every moment: the one is an atomic that is raised only while
// it is below its limit, the others stand in tables under locks that are held for one look-up, of
// which there are many, so that workers hardly ever meet at one.
//
// An address is an IPv4 address or an IPv6 /64, since that is the least which one customer gets and
// may pick addresses from. Two processes, as during an upgrade, count for themselves.

import Primitives
import Synchronization

final class Admission: Sendable {
  enum Verdict {
    case admitted
    /// There are as many connections as there may be.
    case full
    /// This address has as many as it may have.
    case addressFull
  }

  private final class Shard: Sendable {
    let counts = Mutex<[IPAddress: Int]>([:])
  }

  private let total = Atomic<Int>(0)
  private let most = Atomic<Int>(0)
  private let trims = Atomic<Int>(0)
  private let shards = (0..<shardCount).map { _ in Shard() }
  private static let shardCount = 64

  /// Connections open now.
  var count: Int { total.load(ordering: .relaxed) }

  /// The maximum of open connections since the last call.
  func takePeak() -> Int { max(most.exchange(count, ordering: .relaxed), count) }

  /// A worker has freed its spare buffers, after a flood.
  func noteTrim() { trims.add(1, ordering: .releasing) }

  /// How often workers have done so.
  var trimCount: Int { trims.load(ordering: .acquiring) }

  /// Counts a connection in, if it may be. `block` is nil for one that isn't counted by address.
  func enter(_ block: IPAddress?, max: Int, maxPerAddress: Int?) -> Verdict {
    guard takePlace(max) else { return .full }
    guard let block else { return .admitted }
    let isAdmitted = shard(of: block).counts.withLock { counts in
      let count = counts[block, default: 0]
      if let maxPerAddress, count >= maxPerAddress { return false }
      counts[block] = count + 1
      return true
    }
    if isAdmitted { return .admitted }
    total.subtract(1, ordering: .relaxed)
    return .addressFull
  }

  /// Counts a connection out, by what it was counted in with.
  func leave(_ block: IPAddress?) {
    total.subtract(1, ordering: .relaxed)
    guard let block else { return }
    shard(of: block).counts.withLock { counts in
      guard let count = counts[block] else { return }
      counts[block] = count > 1 ? count - 1 : nil
    }
  }

  private func takePlace(_ max: Int) -> Bool {
    var current = total.load(ordering: .relaxed)
    while current < max {
      let result = total.weakCompareExchange(
        expected: current, desired: current + 1, ordering: .relaxed)
      if result.exchanged {
        // The value of another worker may be lost here. It is corrected by its next connection.
        if current + 1 > most.load(ordering: .relaxed) {
          most.store(current + 1, ordering: .relaxed)
        }
        return true
      }
      current = result.original
    }
    return false
  }

  /// Hashing is seeded per process, so nobody can choose addresses that meet in one shard.
  private func shard(of block: IPAddress) -> Shard {
    shards[Int(UInt(bitPattern: block.hashValue) % UInt(Self.shardCount))]
  }
}

extension IPAddress {
  /// What counts as one client: the address itself, or the /64 of an IPv6 address.
  var clientBlock: IPAddress { isV4 ? self : IPAddress(high: high, low: 0) }
}
