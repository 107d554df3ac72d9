// A pool with its members, a view of it and a clock set by the test, for most tests of this target.

import Primitives

@testable import Balancing

/// One worker's view of a small pool. Members are named by letters: a, b, c and so on.
final class TestPool {
  /// The properties of a member that differ from the defaults.
  struct Shape {
    var weight = 1
    var tier = 0
    var zone = ""
    var name: String?
    var limit: Int?
  }

  let registry: BackendRegistry
  let pool: Pool
  var view: PoolView
  var generator = RandomGenerator(seed: 1)
  var now = Instant.origin + .seconds(1_000)

  init(
    _ strategy: Strategy, _ shapes: [Shape], health: HealthPolicy = HealthPolicy(),
    allDown: AllDownPolicy = .refuse, budget: RetryBudget = RetryBudget(),
    registry: BackendRegistry = BackendRegistry(), queueMax: Int = 0,
    slowStart: TimeSpan? = nil, boundPercent: Int? = nil,
    failover: FailoverPolicy = FailoverPolicy()
  ) {
    self.registry = registry
    pool = Pool(
      registry.pool("app"), strategy: strategy,
      members: Self.members(shapes, registry: registry, health: health),
      boundPercent: boundPercent, failover: failover, health: health,
      allDown: allDown, budget: budget, queueMax: queueMax, slowStart: slowStart)
    view = PoolView(pool)
  }

  convenience init(
    _ strategy: Strategy, weights: [Int], health: HealthPolicy = HealthPolicy(),
    allDown: AllDownPolicy = .refuse
  ) {
    self.init(strategy, weights.map { Shape(weight: $0) }, health: health, allDown: allDown)
  }

  static func members(
    _ shapes: [Shape], registry: BackendRegistry, health: HealthPolicy = HealthPolicy()
  ) -> [Member] {
    shapes.enumerated().map { index, shape in
      let port = UInt16(8_001 + index)
      return Member(
        record: registry.backend(pool: "app", address: "127.0.0.1:\(port)", health: health),
        address: .ip(.loopbackV4, port: port), weight: shape.weight, tier: shape.tier,
        zone: shape.zone, affinityID: shape.name, maxConnections: shape.limit)
    }
  }

  func member(_ letter: Character) -> Member {
    pool.membership.members[Int(letter.asciiValue! - 97)]
  }

  func record(_ letter: Character) -> BackendRecord { member(letter).record }

  static func letter(_ pick: borrowing Pick) -> Character {
    Character(Unicode.Scalar(UInt8(97 + pick.index)))
  }

  /// Picks for a new exchange and keeps the slot.
  func pick(client: IPAddress? = nil) throws(Unavailability) -> Pick {
    var selection = Selection()
    return try next(&selection, client: client)
  }

  func next(
    _ selection: inout Selection, client: IPAddress? = nil
  ) throws(Unavailability) -> Pick {
    try selection.next(in: &view, client: client, at: now, generator: &generator)
  }

  /// The members of `count` consecutive exchanges, each finished before the next.
  func picks(_ count: Int, client: IPAddress? = nil) throws -> String {
    var letters = ""
    for _ in 0..<count {
      let pick = try pick(client: client)
      letters.append(Self.letter(pick))
      pick.release()
    }
    return letters
  }

  /// The member of one finished exchange for each client.
  func places(_ clients: [IPAddress]) throws -> [Character] {
    var places: [Character] = []
    for client in clients { places += try picks(1, client: client) }
    return places
  }

  /// Reports failed exchanges on a member, as an exchange that isn't a trial.
  @discardableResult
  func fail(_ letter: Character, times: Int = 1) -> [Flip] {
    var flips: [Flip] = []
    for _ in 0..<times {
      let record = record(letter)
      var pick = Pick(index: 0, member: member(letter), isTrial: false)
      _ = record.tryReserve(limit: nil)
      if let flip = pool.observeExchange(&pick, succeeded: false, at: now) { flips.append(flip) }
      pick.release()
    }
    return flips
  }

  /// Reports successful exchanges on a member.
  func succeed(_ letter: Character, times: Int) {
    for _ in 0..<times {
      let record = record(letter)
      var pick = Pick(index: 0, member: member(letter), isTrial: false)
      _ = record.tryReserve(limit: nil)
      pool.observeExchange(&pick, succeeded: true, at: now)
      pick.release()
    }
  }

  /// Marks a member up or down by the required number of checks.
  func check(_ letter: Character, up: Bool) {
    for _ in 0..<3 { pool.observeCheck(of: record(letter), passed: up, at: now) }
  }
}

/// Picks in their order, with their slots kept.
struct HeldPicks: ~Copyable {
  private(set) var letters = ""
  private var records: [BackendRecord] = []

  var count: Int { records.count }

  mutating func hold(_ pick: consuming Pick) {
    letters.append(TestPool.letter(pick))
    records.append(pick.record)
  }

  mutating func releaseFirst() {
    letters.removeFirst()
    records.removeFirst().release()
  }

  mutating func releaseAll() { while count > 0 { releaseFirst() } }
}

/// The number of occurrences of each letter.
func tally(_ letters: some Sequence<Character>) -> [Character: Int] {
  letters.reduce(into: [:]) { $0[$1, default: 0] += 1 }
}

func clients(_ count: Int) -> [IPAddress] {
  (0..<count).map { IPAddress(v4: 0x0A00_0000 + UInt32($0)) }
}
