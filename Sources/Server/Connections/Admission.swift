// Limits the client connections of the whole process: in total, and for each address.
//
// All workers share it. It is used when a connection begins and when it ends, never for a request.
// Both counts are exact at every moment. The total is an atomic that is raised only while it is
// below its limit. The counts by address are in many tables, each with a lock that is held for one
// look-up, so workers hardly ever wait for each other.
//
// An address is an IPv4 address or an IPv6 /64, the smallest network that one customer gets. Each
// process counts its own connections, also during an upgrade.

import Primitives
import Synchronization

final class Admission: Sendable {
  enum Verdict {
    case admitted
    /// The limit of all connections is reached.
    case full
    /// The limit of this address is reached.
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

  /// Counts a new connection, if a limit allows it. `block` is nil for one that isn't counted by
  /// address.
  func enter(_ block: IPAddress?, max: Int, maxPerAddress: Int?) -> Verdict {
    guard takePlace(max) else { return .full }
    if count(block, maxPerAddress: maxPerAddress) { return .admitted }
    total.subtract(1, ordering: .relaxed)
    return .addressFull
  }

  /// Counts a connection by address that was counted in the total only, because its address wasn't
  /// known; false if the limit of the address is reached.
  func count(_ block: IPAddress?, maxPerAddress: Int?) -> Bool {
    guard let block else { return true }
    return shard(of: block).counts.withLock { counts in
      let count = counts[block, default: 0]
      if let maxPerAddress, count >= maxPerAddress { return false }
      counts[block] = count + 1
      return true
    }
  }

  /// Whether the limit of this address is reached.
  func isFull(_ block: IPAddress?, maxPerAddress: Int?) -> Bool {
    guard let block, let maxPerAddress else { return false }
    return shard(of: block).counts.withLock { $0[block, default: 0] >= maxPerAddress }
  }

  /// A connection has ended. `block` is what it was counted with.
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

  /// Hashing is seeded per process, so an attacker can't choose addresses of one shard.
  private func shard(of block: IPAddress) -> Shard {
    shards[Int(UInt(bitPattern: block.hashValue) % UInt(Self.shardCount))]
  }
}

extension IPAddress {
  /// What counts as one client: the address itself, or the /64 of an IPv6 address.
  var clientBlock: IPAddress { isV4 ? self : IPAddress(high: high, low: 0) }
}
