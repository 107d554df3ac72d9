// PRIORITY_UPDATE frames for streams that are not open yet (RFC 9218 7.1). Only the last few are
// kept.

struct EarlyPriorities {
  private static let capacity = 8

  private var streams = InlineArray<8, UInt32>(repeating: 0)
  private var urgencies = InlineArray<8, UInt8>(repeating: 0)
  private var next = 0

  mutating func add(_ stream: UInt32, _ priority: StreamPriority) {
    var place = 0
    while place < Self.capacity && streams[place] != stream { place += 1 }
    if place == Self.capacity {
      place = next
      next = (next + 1) % Self.capacity
    }
    streams[place] = stream
    urgencies[place] = priority.urgency | (priority.isIncremental ? 0x80 : 0)
  }

  /// Removes and returns the one for this stream.
  mutating func take(_ stream: UInt32) -> StreamPriority? {
    for place in 0..<Self.capacity where streams[place] == stream {
      streams[place] = 0
      return StreamPriority(
        urgency: urgencies[place] & 0x7F, isIncremental: urgencies[place] & 0x80 != 0)
    }
    return nil
  }
}
