// The atomic cell around a HealthState: every transition is one compare-and-swap, and what doesn't
// change the word doesn't write, so a healthy backend's successes only read it.

import Primitives
import Synchronization

/// One backend's health, shared by all workers.
struct Health: ~Copyable, Sendable {
  private let word: Atomic<UInt64>

  init(_ policy: HealthPolicy) { word = Atomic(HealthState(policy).word) }

  var state: HealthState { HealthState(word: word.load(ordering: .acquiring)) }

  /// Applies `transition` to the current state, again whenever another thread was faster; it must
  /// have no effect but on the state.
  @discardableResult
  func update<Result>(_ transition: (inout HealthState) -> Result) -> Result {
    var seen = word.load(ordering: .acquiring)
    while true {
      var state = HealthState(word: seen)
      let result = transition(&state)
      if state.word == seen { return result }
      let exchange = word.weakCompareExchange(
        expected: seen, desired: state.word, ordering: .acquiringAndReleasing)
      if exchange.exchanged { return result }
      seen = exchange.original
    }
  }
}
