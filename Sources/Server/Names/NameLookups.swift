// Looks up the DNS names of backends, all at once, and again at their intervals.
//
// A lookup blocks while the system's resolver waits, for ten seconds or more if no name server
// answers. So each lookup has its own thread, and one without an answer delays neither other names
// nor the control thread. NameTable has the limit of concurrent lookups, and the results.

import Configuration
import Primitives
import Reactor
import Synchronization

final class NameLookups: Sendable {
  typealias LookUp = @Sendable (String) throws(ResolverError) -> [IPAddress]
  /// Called on the thread of a lookup.
  typealias Report = @Sendable (_ name: String, NameTable.News) -> Void

  private let table: NameTable
  private let lookUp: LookUp
  private let report: Report
  /// Of the thread that starts lookups, and of whoever waits for answers.
  private let clock: WakeUp
  private let answered: WakeUp
  private let hasEnded = Atomic(false)

  /// Begins to look up what `table` watches.
  init(
    _ table: NameTable, lookUp: @escaping LookUp = Resolver.addresses,
    report: @escaping Report
  ) throws(SystemError) {
    self.table = table
    self.lookUp = lookUp
    self.report = report
    clock = try WakeUp()
    answered = try WakeUp()
    _ = try Thread(name: "resolver") { [self] in run() }
  }

  /// The table watches other names.
  func wake() { clock.signal() }

  /// Waits until there is an answer for every name, be it a failure, `limit` at the most. For one
  /// thread at a time.
  func settle(atMost limit: TimeSpan) {
    let end = SystemClock.monotonic() + limit
    while !table.unanswered.isEmpty {
      let left = end - SystemClock.monotonic()
      if left <= .zero { return }
      answered.wait(atMost: left)
    }
  }

  /// Starts no further lookup. Those under way end by themselves.
  func end() {
    hasEnded.store(true, ordering: .releasing)
    clock.signal()
  }

  private func run() {
    while !hasEnded.load(ordering: .acquiring) {
      let now = SystemClock.monotonic()
      for name in table.takeDue(at: now) { start(name) }
      let next = table.nextDue(after: now)
      clock.wait(atMost: next.map { max(.zero, $0 - SystemClock.monotonic()) })
    }
  }

  private func start(_ name: String) {
    do throws(SystemError) {
      _ = try Thread(name: "lookup") { [self] in
        let result = Result { () throws(ResolverError) in try lookUp(name) }
        ended(name, result)
      }
    } catch {
      ended(name, .failure(ResolverError(name: name, reason: "no thread to look it up: \(error)")))
    }
  }

  private func ended(_ name: String, _ result: Result<[IPAddress], ResolverError>) {
    let news = table.note(name, result, at: SystemClock.monotonic())
    if news != NameTable.News() { report(name, news) }
    answered.signal()
    clock.signal()
  }
}
