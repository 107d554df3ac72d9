// The streams that were closed recently, and how.
//
// A frame on a closed stream is ignored if the peer may have sent it before it received our
// RST_STREAM; otherwise it is an error (RFC 9113 5.1). Only the last few streams are remembered.
// DATA on an older one is answered with RST_STREAM, which is correct in both cases.

struct ClosedStreams {
  enum How: UInt32 {
    case ended, resetByUs, resetByPeer
  }

  private static let capacity = 32

  /// Half of each identifier, since all are odd, and `How` in the two low bits.
  private var ring = InlineArray<32, UInt32>(repeating: .max)
  private var next = 0

  mutating func add(_ id: UInt32, _ how: How) {
    ring[next] = (id >> 1) << 2 | how.rawValue
    next = (next + 1) % Self.capacity
  }

  func find(_ id: UInt32) -> How? {
    for place in 0..<Self.capacity where ring[place] >> 2 == id >> 1 {
      return How(rawValue: ring[place] & 3)
    }
    return nil
  }
}
