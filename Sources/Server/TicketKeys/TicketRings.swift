// The ticket keys of all listeners: a ring for each, found again by the listener's name at a
// reload, and handed over in an upgrade. What is in a ring is told in TLS.

import Primitives
import Synchronization
import TLS

/// The rings, with the times at which they rotate. Only the control thread changes them.
final class TicketRings: Sendable {
  private struct Ring {
    let keys: TicketKeys
    /// Nil until it is taken up.
    var rotation: TimeSpan?
    var rotatesAt = Instant.never
  }

  private let rings = Mutex<[String: Ring]>([:])

  /// What a configuration wants of the ring of one listener.
  struct Plan {
    /// Those of its key files; none where keys are made at random.
    var secrets: [[UInt8]]
    var rotation: TimeSpan
  }

  /// The ring of a listener. It is made when it is asked for first.
  func keys(of listener: String) throws(TLSFailure) -> TicketKeys {
    if let ring = rings.withLock({ $0[listener] }) { return ring.keys }
    let keys = try TicketKeys()
    rings.withLock { $0[listener] = Ring(keys: keys) }
    return keys
  }

  /// Puts the plans in force, and forgets the rings of listeners that are no more. A rotation that
  /// was due earlier stays due.
  func takeUp(_ plans: [String: Plan], at now: Instant) {
    rings.withLock { rings in
      rings = rings.filter { plans[$0.key] != nil }
      for (listener, plan) in plans {
        guard let ring = rings[listener] else { continue }
        // Their lengths were checked when they were read.
        if plan.secrets.isEmpty { ring.keys.stopSharing() } else {
          _ = ring.keys.replace(secrets: plan.secrets)
        }
        rings[listener]?.rotation = plan.rotation
        rings[listener]?.rotatesAt = min(ring.rotatesAt, now + plan.rotation)
      }
    }
  }

  /// When the next ring is due.
  var rotatesAt: Instant {
    rings.withLock { $0.values.reduce(.never) { min($0, $1.rotatesAt) } }
  }

  /// Gives a new key to the rings that are due.
  func rotate(at now: Instant) throws(TLSFailure) {
    let due = rings.withLock { rings in
      let due = rings.filter { $1.rotatesAt <= now }
      for (listener, ring) in due {
        rings[listener]?.rotatesAt = ring.rotation.map { now + $0 } ?? .never
      }
      return due.values.map(\.keys)
    }
    for keys in due { try keys.rotate() }
  }

  // MARK: Handing over

  /// A ring of random keys, the present one first.
  struct State: Equatable {
    var listener: String
    var keys: [[UInt8]]
    var rotatesAt: Instant
  }

  /// Without those whose keys are read from files.
  var states: [State] {
    rings.withLock { rings in
      rings.map { State(listener: $0, keys: $1.keys.exported, rotatesAt: $1.rotatesAt) }
        .filter { !$0.keys.isEmpty }
    }
  }

  /// Takes over the ring of another process. Without it clients only have to shake hands anew, so
  /// one that can't be used is passed over.
  func restore(_ state: State) {
    guard let keys = try? TicketKeys(), keys.restore(state.keys) else { return }
    rings.withLock { $0[state.listener] = Ring(keys: keys, rotatesAt: state.rotatesAt) }
  }
}
