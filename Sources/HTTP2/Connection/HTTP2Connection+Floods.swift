// Counting the frames that floods consist of, and what ends if there are too many.
//
// A connection that a client opened ends. One to a backend is shared, and a single client could
// make its backend send such frames: there, only the stream ends that has most of them. What is
// about the whole connection ends it, but the backend may send some of it with each response.

import HTTP
import Primitives

extension HTTP2Connection {
  /// As a client: such frames on one stream that are allowed, although all together were too many.
  private static var streamAllowance: UInt16 { 100 }
  /// As a client: tokens of each kind that a stream earns.
  private static var tokensPerStream: Int32 { 2 }

  /// Counts a frame about the connection.
  mutating func count(_ kind: Flood, at now: Instant) throws(HTTP2Error) {
    do throws(HTTP2Error) {
      try floods.take(kind, limits.floods, at: now)
    } catch {
      if role == .server { throw error }
      let opened = Int32(min((nextStream - creditedStream) / 2, 10_000))
      creditedStream = nextStream
      for kind in Flood.allCases { floods.earn(kind, opened * Self.tokensPerStream) }
      if !floods.hasTokens(kind, limits.floods) { throw error }
    }
  }

  /// Counts a frame about a stream, or about the connection if `stream` is 0. Returns the end of
  /// the stream if it has too many.
  mutating func countAboutStream(
    _ kind: Flood, _ stream: UInt32, at now: Instant, _ output: inout ByteBuffer
  ) throws(HTTP2Error) -> HTTP2Event? {
    if role == .server || stream == 0 || isIdle(stream) {
      try count(kind, at: now)
      return nil
    }
    // The server may not know yet that the stream is closed.
    guard let slot = streams.find(stream), !streams[slot].state.isReset else { return nil }
    if floods.takeIfPlenty(kind, limits.floods, at: now) { return nil }
    streams[slot].floodCount += 1
    if streams[slot].floodCount <= Self.streamAllowance { return nil }
    return try fail(slot, kind.error, at: now, into: &output)
  }

  // These floods end only connections that clients opened.

  mutating func countClosedFrame(at now: Instant) throws(HTTP2Error) {
    if role == .server { try floods.take(.closedStreamFrame, limits.floods, at: now) }
  }

  mutating func countCausedReset(at now: Instant) throws(HTTP2Error) {
    try backlog.add(limit: limits.controlBacklogCount)
    if role == .server { try floods.take(.causedReset, limits.floods, at: now) }
  }
}
