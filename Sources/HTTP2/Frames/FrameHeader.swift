// The nine bytes before the payload of every frame (RFC 9113 4.1).

import Primitives

/// A frame's type (RFC 9113 6, RFC 9218 7.1). Types that are not listed are ignored (4.1).
enum FrameType {
  static let data: UInt8 = 0x0
  static let headers: UInt8 = 0x1
  static let priority: UInt8 = 0x2
  static let resetStream: UInt8 = 0x3
  static let settings: UInt8 = 0x4
  static let pushPromise: UInt8 = 0x5
  static let ping: UInt8 = 0x6
  static let goAway: UInt8 = 0x7
  static let windowUpdate: UInt8 = 0x8
  static let continuation: UInt8 = 0x9
  static let priorityUpdate: UInt8 = 0x10
}

enum FrameFlag {
  /// Of DATA and HEADERS.
  static let endStream: UInt8 = 0x1
  /// Of SETTINGS and PING.
  static let acknowledge: UInt8 = 0x1
  /// Of HEADERS and CONTINUATION.
  static let endHeaders: UInt8 = 0x4
  /// Of DATA and HEADERS.
  static let padded: UInt8 = 0x8
  /// Of HEADERS.
  static let priority: UInt8 = 0x20
}

struct FrameHeader: Equatable {
  static let byteCount = 9
  /// The largest payload that every peer accepts, and that we accept (RFC 9113 4.2).
  static let payloadByteCountMax = 16_384

  /// The length of the payload in bytes.
  var length: Int
  var type: UInt8
  var flags: UInt8
  /// The reserved bit is ignored on receipt (RFC 9113 4.1).
  var stream: UInt32

  init(length: Int, type: UInt8, flags: UInt8 = 0, stream: UInt32) {
    self.length = length
    self.type = type
    self.flags = flags
    self.stream = stream
  }

  /// The header at the front of `input`, or nil while it is incomplete.
  init?(_ input: Span<UInt8>) {
    guard input.count >= Self.byteCount else { return nil }
    length = Int(input[0]) << 16 | Int(input[1]) << 8 | Int(input[2])
    type = input[3]
    flags = input[4]
    stream = input.bigEndian(at: 5) & 0x7FFF_FFFF
  }

  func has(_ flag: UInt8) -> Bool { flags & flag != 0 }

  func write(to output: inout ByteBuffer) {
    output.append(UInt8(truncatingIfNeeded: length >> 16))
    output.append(
      bigEndian: UInt32(truncatingIfNeeded: length << 16) | UInt32(type) << 8
        | UInt32(flags))
    output.append(bigEndian: stream)
  }
}

extension Span where Element == UInt8 {
  /// Four bytes from `index` on as a number, most significant first.
  func bigEndian(at index: Int) -> UInt32 {
    UInt32(bigEndian: halfWord(at: index))
  }
}

extension ByteBuffer {
  mutating func append(bigEndian value: UInt32) {
    append(UInt8(truncatingIfNeeded: value >> 24))
    append(UInt8(truncatingIfNeeded: value >> 16))
    append(UInt8(truncatingIfNeeded: value >> 8))
    append(UInt8(truncatingIfNeeded: value))
  }
}
