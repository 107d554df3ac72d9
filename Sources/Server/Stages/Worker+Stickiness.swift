// What in a request belongs to a backend: the cookie of stickiness, with which clients of a pool
// stay with a backend (Proxy.Stickiness reads and writes it), and the key that a strategy hashes
// (Proxy/Affinity). Balancing decides whether the backend can be used.

import Balancing
import HTTP
import Metrics
import Primitives
import Proxy
import Reactor

extension Worker where IO: ~Copyable {
  /// Of the cookies for the pool, the first that selects a member which exists, or else the first.
  mutating func readStickiness(_ handle: Handle) {
    guard let stickiness = exchanges[handle].pool.stickiness else { return }
    let tokens = stickiness.tokens(in: heads[exchanges[handle].head].fields)
    if tokens[0] == 0 { return }
    let index = exchanges[handle].poolIndex
    let living = generations[generationIndex(of: handle)].pools[index].living(of: tokens, at: now)
    exchanges[handle].selection.stickyToken = living ?? tokens[0]
  }

  /// The hash of the key; without one, the client's address is the key.
  mutating func readAffinity(_ handle: Handle) {
    exchanges[handle].selection.affinity =
      exchanges[handle].pool.pool.affinityKey.hash(in: heads[exchanges[handle].head])
  }

  /// Makes the client stick to the backend that responds, unless it does already.
  mutating func stick(_ handle: Handle) {
    guard let stickiness = exchanges[handle].pool.stickiness,
      let token = exchanges[handle].attempt.pick?.member.stickyToken, token != 0
    else { return }
    let asked = exchanges[handle].selection.stickyToken
    if token == asked { return metrics.add(.stickyKept) }
    metrics.add(asked == 0 ? .stickyNew : .stickyMoved)
    stickiness.set(token, isTLS: exchanges[handle].request.isTLS, in: &responseHead.fields)
  }
}
