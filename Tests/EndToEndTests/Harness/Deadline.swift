// Waiting for a condition with a limit, which is how these tests synchronise with other processes:
// they never sleep and hope.

import Foundation
import Testing

/// Monotonic seconds.
func seconds() -> Double { ProcessInfo.processInfo.systemUptime }

/// Asks every few milliseconds until `condition` holds; false when `limit` seconds went by first.
func poll(atMost limit: Double = 20, _ condition: () throws -> Bool) rethrows -> Bool {
  let end = seconds() + limit
  while true {
    if try condition() { return true }
    if seconds() > end { return false }
    usleep(5000)
  }
}

/// As `poll`, and records an issue when the condition never held.
func eventually(
  _ what: Comment, atMost limit: Double = 20, sourceLocation: SourceLocation = #_sourceLocation,
  _ condition: () throws -> Bool
) rethrows {
  let held = try poll(atMost: limit, condition)
  #expect(held, what, sourceLocation: sourceLocation)
}

/// What went wrong in the harness itself.
struct HarnessError: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}
