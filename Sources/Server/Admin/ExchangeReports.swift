// Exchanges that somebody may want to see: the last that failed or were slow, and while anybody
// taps, all of them. Each is the line that a JSON access log has for it.
//
// A worker never waits here: where the admin thread holds the lock at that moment, or too many came
// within the same second, the report is dropped. Failures are rare, except when everything fails,
// and then a few tell as much as all.

import Primitives
import Synchronization

/// How many exchanges may be reported: where everything fails, some tell as much as all.
struct ReportAllowance {
  private var since = Instant.origin
  private var count = 0

  private static let perSecond = 50

  mutating func take(at now: Instant) -> Bool {
    if now - since >= .seconds(1) {
      since = now
      count = 0
    }
    count += 1
    return count <= Self.perSecond
  }
}

/// The reports of one worker: written by it, read by the admin thread.
final class ExchangeReports: Sendable {
  private struct Content {
    /// The newest last.
    var notable: [[UInt8]] = []
    var tapped: [[UInt8]] = []
    var tappedByteCount = 0

    mutating func forgetTapped() {
      tapped = []
      tappedByteCount = 0
    }
  }

  private let content = Mutex(Content())
  private let isTapped = Atomic<Bool>(false)

  /// From when on an exchange counts as slow.
  static var slow: TimeSpan { .seconds(1) }
  private static let notableMax = 50
  /// Until the admin thread looks again, which is soon.
  private static let (tappedMax, tappedByteMax) = (2000, 1024 * 1024)

  init() {}

  /// Does anybody want to see an exchange that ended so?
  func wants(isNotable: Bool) -> Bool {
    isNotable || isTapped.load(ordering: .relaxed)
  }

  /// Worker only.
  func add(_ line: [UInt8], isNotable: Bool) {
    _ = content.withLockIfAvailable { content in
      if isNotable {
        if content.notable.count >= Self.notableMax { content.notable.removeFirst() }
        content.notable.append(line)
      }
      if isTapped.load(ordering: .relaxed), content.tapped.count < Self.tappedMax,
        content.tappedByteCount + line.count <= Self.tappedByteMax
      {
        content.tapped.append(line)
        content.tappedByteCount += line.count
      }
    }
  }

  /// Admin thread only.
  func setTapped(_ isOn: Bool) {
    isTapped.store(isOn, ordering: .relaxed)
    if !isOn { content.withLock { $0.forgetTapped() } }
  }

  func takeTapped() -> [[UInt8]] {
    content.withLock { content in
      let taken = content.tapped
      content.forgetTapped()
      return taken
    }
  }

  var notable: [[UInt8]] { content.withLock { $0.notable } }
}
