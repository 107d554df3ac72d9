// Waits for a condition with a timeout. These tests synchronise with other processes in this way
// and never by sleeping.

import Foundation
import Testing

/// Monotonic seconds.
func seconds() -> Double { ProcessInfo.processInfo.systemUptime }

/// Checks every few milliseconds until `condition` is true; false after `limit` seconds.
func poll(atMost limit: Double = 20, _ condition: () throws -> Bool) rethrows -> Bool {
  let end = seconds() + limit
  while true {
    if try condition() { return true }
    if seconds() > end { return false }
    usleep(5000)
  }
}

/// Like `poll`, and records an issue if the condition didn't become true.
func eventually(
  _ what: Comment, atMost limit: Double = 20, sourceLocation: SourceLocation = #_sourceLocation,
  _ condition: () throws -> Bool
) rethrows {
  let held = try poll(atMost: limit, condition)
  #expect(held, what, sourceLocation: sourceLocation)
}

/// An error in the harness itself.
struct HarnessError: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}
