// The 64 bits that the reactor and the timer wheel return: a kind and a handle.

import Primitives

struct Token: Equatable {
  enum Kind: UInt8 {
    case listener = 1
    case connection
    /// In a timer, only the index of the handle counts: the timer belongs to the slot.
    case exchange
    case probe
    /// A session of a UDP listener; without a handle in a queue, replies to be sent.
    case session
    case udpListener
    /// A timer of the worker itself; the handle's index says which.
    case worker
  }

  let kind: Kind
  let handle: Handle

  init(_ kind: Kind, _ handle: Handle) {
    self.kind = kind
    self.handle = handle
  }

  init?(packed: UInt64) {
    guard let kind = Kind(rawValue: UInt8(truncatingIfNeeded: packed >> 56)) else { return nil }
    self.kind = kind
    handle = Handle(packed: packed & 0xFF_FFFF_FFFF_FFFF)
  }

  var packed: UInt64 { UInt64(kind.rawValue) << 56 | handle.packed }
}
