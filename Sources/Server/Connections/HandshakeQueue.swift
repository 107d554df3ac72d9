// The TLS handshakes in progress: how many there are, which is the oldest, and which of them wait
// for their share of a turn.
//
// A handshake costs Martlet far more than a request, and costs its client nearly nothing. So the
// number of handshakes is limited, and the oldest is closed first: an honest one takes one or two
// round trips, so the oldest of thousands is probably an attack. A turn of the loop does a limited
// number of steps of handshakes, after all established connections.

import Primitives

struct HandshakeQueue {
  /// How many handshakes are in progress.
  private(set) var count = 0
  /// In the order in which they began; those that have ended since are forgotten when they are met.
  private var begun = Queue<Handle>()
  /// Those that have something to do.
  private var ready = Queue<Handle>()

  /// Steps of handshakes in one turn. One with an RSA key takes up to a millisecond: so long may
  /// sixteen of them keep a request waiting.
  static let stepsPerTurn = 16

  mutating func began(_ handle: Handle) {
    count += 1
    begun.append(handle)
  }

  /// To be called once for each, however it ended.
  mutating func ended() {
    count -= 1
    if count == 0 { begun = Queue() }
  }

  /// The oldest, which may have ended since.
  var oldest: Handle? { begun.first }

  mutating func forgetOldest() { _ = begun.popFirst() }

  var hasReady: Bool { !ready.isEmpty }

  mutating func wait(_ handle: Handle) { ready.append(handle) }

  mutating func popReady() -> Handle? { ready.popFirst() }
}
