// Writes frames (RFC 9113 6). They are appended to one output, so that one send call can send many.

import Primitives

enum FrameWriter {
  /// DATA without padding; the caller appends `count` bytes after it.
  static func dataHeader(
    count: Int, ends: Bool, stream: UInt32, into output: inout ByteBuffer
  ) {
    FrameHeader(
      length: count, type: FrameType.data, flags: ends ? FrameFlag.endStream : 0, stream: stream
    ).write(to: &output)
  }

  static func resetStream(_ stream: UInt32, _ code: ErrorCode, into output: inout ByteBuffer) {
    FrameHeader(length: 4, type: FrameType.resetStream, stream: stream).write(to: &output)
    output.append(bigEndian: code.rawValue)
  }

  static func append(_ setting: Setting, _ value: UInt32, into output: inout ByteBuffer) {
    output.append(UInt8(truncatingIfNeeded: setting.rawValue >> 8))
    output.append(UInt8(truncatingIfNeeded: setting.rawValue))
    output.append(bigEndian: value)
  }

  static func settingsAcknowledgement(into output: inout ByteBuffer) {
    FrameHeader(length: 0, type: FrameType.settings, flags: FrameFlag.acknowledge, stream: 0)
      .write(to: &output)
  }

  static func ping(_ opaque: UInt64, isAcknowledgement: Bool, into output: inout ByteBuffer) {
    FrameHeader(
      length: 8, type: FrameType.ping, flags: isAcknowledgement ? FrameFlag.acknowledge : 0,
      stream: 0
    ).write(to: &output)
    output.append(bigEndian: UInt32(truncatingIfNeeded: opaque >> 32))
    output.append(bigEndian: UInt32(truncatingIfNeeded: opaque))
  }

  static func goAway(last: UInt32, _ code: ErrorCode, into output: inout ByteBuffer) {
    FrameHeader(length: 8, type: FrameType.goAway, stream: 0).write(to: &output)
    output.append(bigEndian: last)
    output.append(bigEndian: code.rawValue)
  }

  /// `stream` is 0 for the connection.
  static func windowUpdate(_ stream: UInt32, by increment: Int, into output: inout ByteBuffer) {
    FrameHeader(length: 4, type: FrameType.windowUpdate, stream: stream).write(to: &output)
    output.append(bigEndian: UInt32(increment))
  }
}

extension ByteBuffer {
  /// Sets the length in the frame header at `start` to the number of bytes after the header.
  mutating func setFrameLength(at start: Int) {
    let length = count - start - FrameHeader.byteCount
    var bytes = mutableBytes
    bytes[start] = UInt8(truncatingIfNeeded: length >> 16)
    bytes[start + 1] = UInt8(truncatingIfNeeded: length >> 8)
    bytes[start + 2] = UInt8(truncatingIfNeeded: length)
  }

  mutating func removeFrameFlags(_ flags: UInt8, at start: Int) {
    var bytes = mutableBytes
    bytes[start + 4] &= ~flags
  }
}
