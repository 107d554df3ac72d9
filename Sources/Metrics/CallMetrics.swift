// Calls of gRPC by service, method and status.
//
// The names come from clients, so their number is limited: a method gets a place only with its
// first call that succeeds, and once all places are taken, the others are counted together. The
// places are those of the process. Each worker finds them in a table of its own, without a lock,
// and counts in a block of its own. Nothing is allocated before the first call.

import Primitives
import Synchronization

/// The methods of the process, and the counters of all workers.
public final class CallRegistry: Sendable {
  /// The maximum number of methods that are counted separately.
  public static let methodMax = 256

  private struct Content {
    /// Paths, such as `/package.Service/Method`.
    var methods: [[UInt8]] = []
    var counters: [CallCounters] = []
  }

  private let content = Mutex(Content())

  public init() {}

  /// The counters of one more worker.
  fileprivate func makeCounters() -> CallCounters {
    let counters = CallCounters()
    content.withLock { $0.counters.append(counters) }
    return counters
  }

  /// The place of a method, which gets one if it has none; nil if none is left.
  fileprivate func place(of method: [UInt8]) -> Int? {
    content.withLock { content in
      if let place = content.methods.firstIndex(of: method) { return place }
      if content.methods.count == Self.methodMax { return nil }
      content.methods.append(method)
      return content.methods.count - 1
    }
  }

  fileprivate var methods: [[UInt8]] { content.withLock { $0.methods } }

  /// The sums over all workers, the others last and without a method; empty before the first call.
  var reading: [(method: [UInt8]?, counts: [UInt64])] {
    let (methods, counters) = content.withLock { ($0.methods, $0.counters) }
    if counters.isEmpty { return [] }
    func sums(_ place: Int) -> [UInt64] {
      (0..<CallCounters.statusCount).map { status in
        counters.reduce(0) { $0 &+ $1.value(place, status) }
      }
    }
    return methods.indices.map { (methods[$0], sums($0)) } + [(nil, sums(Self.methodMax))]
  }
}

/// The counters of one worker. Any thread may read; only the worker writes.
public final class CallCounters: Sendable {
  /// The codes 0 to 16, and calls without one.
  public static let statusCount = 18
  public static let missing = 17

  // By place and status; one place more for the others.
  private let values = InlineArray<4626, Atomic<UInt64>> { _ in Atomic(0) }

  fileprivate init() {}

  fileprivate func add(_ place: Int, _ status: Int) {
    let index = place * Self.statusCount + status
    values[index].store(values[index].load(ordering: .relaxed) &+ 1, ordering: .relaxed)
  }

  fileprivate func value(_ place: Int, _ status: Int) -> UInt64 {
    values[place * Self.statusCount + status].load(ordering: .relaxed)
  }
}

/// A worker's counters, and the places of the methods that it has seen.
public struct CallTable: Sendable {
  private let registry: CallRegistry
  private let counters: CallCounters
  /// By place; empty for a method that this worker has not seen.
  private var methods = [[UInt8]](repeating: [], count: CallRegistry.methodMax)
  /// Places by the hash of their method, or in the next free slot after it.
  private var slots = [UInt16](repeating: Self.free, count: Self.slotCount)
  /// Whether all places are taken, so that the registry need not be asked again.
  private var isFull = false

  private static let free = UInt16.max
  private static let slotCount = 2 * CallRegistry.methodMax
  /// The code of UNKNOWN: clients take codes that don't exist for it.
  private static let unknown = 2

  public init(_ registry: CallRegistry) {
    self.registry = registry
    counters = registry.makeCounters()
  }

  /// `method` is the path of the call, empty if it is none. It gets a place only with `isKnown`.
  public mutating func add(_ method: Span<UInt8>, isKnown: Bool, status: UInt8?) {
    let place = place(of: method, isKnown: isKnown) ?? CallRegistry.methodMax
    let code = status.map { Int($0) < CallCounters.missing ? Int($0) : Self.unknown }
    counters.add(place, code ?? CallCounters.missing)
  }

  private mutating func place(of method: Span<UInt8>, isKnown: Bool) -> Int? {
    if method.isEmpty { return nil }
    let slot = slot(of: method)
    if slots[slot] != Self.free { return Int(slots[slot]) }
    if !isKnown || isFull { return nil }
    let name = method.indices.map { method[$0] }
    if let place = registry.place(of: name) {
      enter(name, at: place)
      return place
    }
    isFull = true
    for (place, name) in registry.methods.enumerated() where methods[place].isEmpty {
      enter(name, at: place)
    }
    return nil
  }

  private mutating func enter(_ name: [UInt8], at place: Int) {
    slots[slot(of: name.span)] = UInt16(place)
    methods[place] = name
  }

  /// The slot with this method, or the free one that it would get. Half of them are always free.
  private func slot(of method: Span<UInt8>) -> Int {
    // FNV-1a.
    var hash: UInt32 = 2_166_136_261
    for index in method.indices { hash = (hash ^ UInt32(method[index])) &* 16_777_619 }
    var slot = Int(hash) % Self.slotCount
    while slots[slot] != Self.free && !isMethod(method, at: Int(slots[slot])) {
      slot = (slot + 1) % Self.slotCount
    }
    return slot
  }

  private func isMethod(_ method: Span<UInt8>, at place: Int) -> Bool {
    let known = methods[place]
    if known.count != method.count { return false }
    for index in known.indices where known[index] != method[index] { return false }
    return true
  }
}

extension FamilyWriter {
  /// The calls of all workers; nothing before the first one. `names` are those of the codes.
  public mutating func append(_ calls: CallRegistry, naming names: [StaticString]) {
    let methods = calls.reading
    if methods.isEmpty { return }
    let name = "martlet_grpc_calls_total"
    family(name, .counter, "gRPC calls by service, method and status.")
    for (method, counts) in methods {
      let parts = (method.map { String(decoding: $0, as: UTF8.self) } ?? "/other/other")
        .split(separator: "/").map(String.init)
      for (code, count) in counts.enumerated() where count > 0 && parts.count == 2 {
        let status = code < names.count ? "\(names[code])" : "missing"
        series(
          name, [("service", parts[0]), ("method", parts[1]), ("status", status)], "\(count)")
      }
    }
  }
}
