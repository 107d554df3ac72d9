// Watches both directions of a client's HTTP/2 connection, independently of the codec: whether the
// server keeps to the windows, even while they change.

import Primitives

@testable import HTTP2

/// Finds the frames in a stream of bytes that comes in pieces.
struct FrameCursor {
  /// Bytes that are not frames, at the beginning.
  private var skipped: Int
  private var header: [UInt8] = []
  private var payload: [UInt8] = []
  private var rest = 0

  /// No control frame that matters here is longer.
  private static let payloadMax = 256

  init(skipping count: Int = 0) { skipped = count }

  /// Calls `body` for each frame whose last byte has come, with the beginning of its payload.
  mutating func advance(over bytes: Span<UInt8>, _ body: (FrameHeader, [UInt8]) -> Void) {
    var index = 0
    while index < bytes.count {
      if skipped > 0 {
        skipped -= 1
        index += 1
      } else if header.count < FrameHeader.byteCount {
        header.append(bytes[index])
        index += 1
        if header.count == FrameHeader.byteCount {
          rest = FrameHeader(header.span)?.length ?? 0
          if rest == 0 { end(body) }
        }
      } else {
        let count = min(rest, bytes.count - index)
        for place in 0..<min(count, Self.payloadMax - payload.count) {
          payload.append(bytes[index + place])
        }
        rest -= count
        index += count
        if rest == 0 { end(body) }
      }
    }
  }

  private mutating func end(_ body: (FrameHeader, [UInt8]) -> Void) {
    if let header = FrameHeader(header.span) { body(header, payload) }
    header = []
    payload = []
  }
}

struct HTTP2Watch {
  private var outgoing = FrameCursor(skipping: 24)
  private var incoming = FrameCursor()
  /// What streams may receive in addition to the initial window; negative after data.
  private var credits: [UInt32: Int] = [:]
  private var connectionWindow = PeerSettings.initialWindow
  private var initialWindow = PeerSettings.initialWindow
  /// Of each SETTINGS without acknowledgement, the initial window that it sets.
  private var unacknowledged: [Int?] = []
  private(set) var problem: String?

  /// The client has sent these bytes.
  mutating func sent(_ bytes: Span<UInt8>) {
    var frames: [(FrameHeader, [UInt8])] = []
    outgoing.advance(over: bytes) { frames.append(($0, $1)) }
    for (header, payload) in frames { sent(header, payload) }
  }

  private mutating func sent(_ header: FrameHeader, _ payload: [UInt8]) {
    switch header.type {
    case FrameType.headers where credits[header.stream] == nil: credits[header.stream] = 0
    case FrameType.settings where !header.has(FrameFlag.acknowledge):
      var window: Int?
      for start in stride(from: 0, to: payload.count - 5, by: 6)
      where payload[start + 1] == UInt8(Setting.initialWindowSize.rawValue) {
        window = Int(payload.span.bigEndian(at: start + 2))
      }
      unacknowledged.append(window)
    case FrameType.windowUpdate where payload.count == 4:
      let increment = Int(payload.span.bigEndian(at: 0))
      if header.stream == 0 {
        connectionWindow += increment
      } else {
        credits[header.stream]? += increment
      }
    default: break
    }
  }

  /// The client has received these bytes.
  mutating func received(_ bytes: Span<UInt8>) {
    var frames: [(FrameHeader, [UInt8])] = []
    incoming.advance(over: bytes) { frames.append(($0, $1)) }
    for (header, _) in frames { received(header) }
  }

  private mutating func received(_ header: FrameHeader) {
    switch header.type {
    case FrameType.settings where header.has(FrameFlag.acknowledge):
      if unacknowledged.isEmpty {
        problem = "an acknowledgement of no settings"
      } else if let window = unacknowledged.removeFirst() {
        initialWindow = window
      }
    case FrameType.data:
      connectionWindow -= header.length
      credits[header.stream]? -= header.length
      // A larger window may be in use before its acknowledgement arrives.
      let largest = unacknowledged.reduce(initialWindow) { max($0, $1 ?? 0) }
      if header.length > 0, connectionWindow < 0 || (credits[header.stream] ?? 0) + largest < 0 {
        problem = "\(header.length) bytes of data beyond the window of stream \(header.stream)"
      }
    default: break
    }
  }
}
