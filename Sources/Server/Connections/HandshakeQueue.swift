// The TLS handshakes in progress: how many there are, which is the oldest, and which of them wait
// for their share of a turn.
//
// A handshake costs a thousand times what a request costs us, and its client next to nothing. So
// there is a limit to how many are in progress, beyond which the oldest goes: an honest one takes
// a round trip or two, and whoever is oldest among thousands most likely means to stay. And a turn
// of the loop carries out only so many steps of them, behind everybody who is established.

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
