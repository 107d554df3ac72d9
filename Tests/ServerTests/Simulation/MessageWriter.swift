// Produces the bytes of a planned message in pieces, so that an actor can send them at its own pace
// and stop in the middle.

import Primitives

enum BodyFraming {
  case none
  case length
  case chunked
  case untilClose
}

struct MessageWriter {
  private enum Part { case head, body, ending, done }

  private let head: [UInt8]
  private let pattern: BodyPattern
  private let size: Int
  private let framing: BodyFraming
  private let trailer: String?
  private let chunkMax: Int
  /// The message is cut off after this number of bytes; nil: it is sent completely.
  private let stop: Int?
  /// A chunked body is cut off after the chunk that contains the stop, not in its middle.
  private let stopsBetweenChunks: Bool
  private var random: RandomGenerator

  private var part = Part.head
  private var offset = 0
  private(set) var producedCount = 0

  /// `trailer` is a complete field line with its CRLF.
  init(
    head: String, pattern: BodyPattern, size: Int, framing: BodyFraming, trailer: String? = nil,
    chunkMax: Int = 4096, stop: Int? = nil,
    stopsBetweenChunks: Bool = false, random: RandomGenerator
  ) {
    self.head = Array(head.utf8)
    self.pattern = pattern
    self.size = framing == .none ? 0 : size
    self.framing = framing
    self.trailer = trailer
    self.chunkMax = chunkMax
    self.stop = stop
    self.stopsBetweenChunks = stopsBetweenChunks
    self.random = random
  }

  var isHeadDone: Bool { if case .head = part { false } else { true } }
  /// Whether everything, or everything up to the stop, was produced.
  var isDone: Bool { if case .done = part { true } else { false } }

  /// Appends the next piece, about `count` bytes of body.
  mutating func produce(into output: inout ByteBuffer, about count: Int) {
    let before = output.count
    switch part {
    case .head:
      output.append(head.span)
      part = size == 0 ? .ending : .body
    case .body:
      appendBody(&output, min(max(count, 1), size - offset))
      // Only chunks need an ending; other bodies end with their last byte.
      if offset == size { part = framing == .chunked ? .ending : .done }
    case .ending:
      if framing == .chunked { output.append(string: "0\r\n\(trailer ?? "")\r\n") }
      part = .done
    case .done:
      return
    }
    if size == 0 && part == .ending && framing != .chunked { part = .done }
    producedCount += output.count - before
    guard let stop else { return }
    if stopsBetweenChunks {
      if part == .ending { part = .done }
      if part == .body && producedCount >= stop { part = .done }
    } else if producedCount >= stop {
      output.truncate(to: output.count - (producedCount - stop))
      producedCount = stop
      part = .done
    }
  }

  private mutating func appendBody(_ output: inout ByteBuffer, _ count: Int) {
    if framing != .chunked {
      pattern.append(offset..<offset + count, to: &output)
      offset += count
      return
    }
    let chunk = min(count, 1 + random.skewed(upTo: chunkMax - 1))
    let digits = String(chunk, radix: 16, uppercase: random.chance(1, in: 2))
    let zeros = random.chance(1, in: 8) ? "00" : ""
    let suffix = random.chance(1, in: 8) ? ";a=b" : ""
    output.append(string: "\(zeros)\(digits)\(suffix)\r\n")
    pattern.append(offset..<offset + chunk, to: &output)
    output.append("\r\n" as StaticString)
    offset += chunk
  }
}
