// Which seeds are run, and the message when the process dies during one.
//
// MARTLET_SEEDS and MARTLET_FIRST_SEED select the range. MARTLET_SIMULATION_LOG enables the event
// log, MARTLET_SIMULATION_SHRINK=0 disables shrinking. Seeds that once found a bug
// (KeptSeeds.swift) are run first.

import Foundation
import Glibc

struct SeedRange {
  let first: UInt64
  let count: Int

  /// The range from the environment.
  static var chosen: SeedRange {
    #if DEBUG
      let usual = 60
    #else
      let usual = 2_000
    #endif
    let environment = ProcessInfo.processInfo.environment
    return SeedRange(
      first: environment["MARTLET_FIRST_SEED"].flatMap(UInt64.init) ?? 1,
      count: environment["MARTLET_SEEDS"].flatMap(Int.init) ?? usual)
  }

  static var wantsLog: Bool {
    ProcessInfo.processInfo.environment["MARTLET_SIMULATION_LOG"] != nil
  }

  /// Whether a failing run is shrunk before it is shown.
  static var shrinks: Bool {
    ProcessInfo.processInfo.environment["MARTLET_SIMULATION_SHRINK"] != "0"
  }

  init(first: UInt64, count: Int) {
    self.first = first
    self.count = count
  }

  var seeds: [UInt64] { (0..<UInt64(count)).map { first &+ $0 } }

  /// Runs `body` for every seed on two threads, until a few have failed; returns the results of the
  /// failed ones, in the order of seeds.
  func failures(of body: @escaping @Sendable (UInt64) -> String?) async -> [String] {
    SeedInProgress.reportOnDeath()
    let seeds = (self.first == 1 ? KeptSeed.all.map(\.seed) : []) + seeds
    let found = await withTaskGroup(of: [(Int, String)].self) { group in
      for lane in 0..<2 {
        group.addTask {
          var found: [(Int, String)] = []
          for index in stride(from: lane, to: seeds.count, by: 2) {
            SeedInProgress.note(seeds[index], lane: lane)
            if let failure = body(seeds[index]) { found.append((index, failure)) }
            if found.count == 5 { break }
          }
          SeedInProgress.note(0, lane: lane)
          return found
        }
      }
      return await group.reduce(into: []) { $0 += $1 }
    }
    return found.sorted { $0.0 < $1.0 }.map(\.1)
  }
}

/// Prints the current seeds when a trap ends the process, since no test can report that.
private enum SeedInProgress {
  nonisolated(unsafe) private static let seeds: UnsafeMutablePointer<UInt64> = {
    let seeds = UnsafeMutablePointer<UInt64>.allocate(capacity: 2)
    seeds.initialize(repeating: 0, count: 2)
    return seeds
  }()

  static func note(_ seed: UInt64, lane: Int) { seeds[lane] = seed }

  static func reportOnDeath() {
    note(0, lane: 0)
    for number in [SIGILL, SIGTRAP, SIGABRT, SIGSEGV, SIGBUS, SIGTERM] {
      signal(number) { number in
        SeedInProgress.write("\nThe simulation died in seed ")
        SeedInProgress.write(SeedInProgress.seeds[0])
        SeedInProgress.write(" or ")
        SeedInProgress.write(SeedInProgress.seeds[1])
        SeedInProgress.write("\n")
        signal(number, SIG_DFL)
        raise(number)
      }
    }
  }

  private static func write(_ text: StaticString) {
    _ = Glibc.write(2, text.utf8Start, text.utf8CodeUnitCount)
  }

  /// Doesn't allocate: it runs in a signal handler.
  private static func write(_ value: UInt64) {
    if value >= 10 { write(value / 10) }
    var digit = UInt8(value % 10) + 0x30
    _ = Glibc.write(2, &digit, 1)
  }
}
