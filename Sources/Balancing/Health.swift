// The atomic cell around a HealthState. Every transition is one compare-and-swap. A transition that
// doesn't change the word doesn't write it, so successes of a healthy backend only read.

import Primitives
import Synchronization

/// One backend's health, shared by all workers.
struct Health: ~Copyable, Sendable {
  private let word: Atomic<UInt64>

  init(_ policy: HealthPolicy) { word = Atomic(HealthState(policy).word) }

  var state: HealthState { HealthState(word: word.load(ordering: .acquiring)) }

  /// Applies `transition` to the current state, and repeats it if another thread changed the state
  /// in between. So `transition` must have no other side effects.
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
