// Violations of HTTP/2 by a client: those that end the connection (RFC 9113 5.4.1), and those that
// end one stream (8.1.1).

import Primitives

@testable import HTTP2

/// Frames after which a server must send GOAWAY with an error code, and close the connection.
enum ProtocolViolation: CaseIterable {
  case dataWithoutStream, headersWithoutStream, headersOnEvenStream
  case strayContinuation, interleavedBlock, continuationOfOther, endlessBlock
  case settingsOnStream, oddSettings, acknowledgementWithPayload, hugeWindow, smallFrames, oddPush
  case zeroIncrement, windowOverflow, push, resetOfIdleStream, updateOfIdleStream, dataOnIdleStream
  case shortPing, shortGoAway, shortReset, largeFrame, badIndex, truncatedBlock, largePadding

  /// Appends the frames. `next` is a stream that isn't open yet.
  func write(next: UInt32, into output: inout ByteBuffer) {
    func frame(_ type: UInt8, _ flags: UInt8, _ stream: UInt32, _ payload: [UInt8]) {
      FrameHeader(length: payload.count, type: type, flags: flags, stream: stream)
        .write(to: &output)
      output.append(payload.span)
    }
    let zeros = [UInt8](repeating: 0, count: 8)
    let whole = FrameFlag.endHeaders | FrameFlag.endStream
    // :method GET, :scheme http, :path /, and an empty :authority.
    let block: [UInt8] = [0x82, 0x86, 0x84, 0x01, 0x00]
    switch self {
    case .dataWithoutStream: frame(FrameType.data, 0, 0, [1])
    case .headersWithoutStream: frame(FrameType.headers, whole, 0, block)
    case .headersOnEvenStream: frame(FrameType.headers, whole, next + 1, block)
    case .strayContinuation: frame(FrameType.continuation, FrameFlag.endHeaders, next, block)
    case .interleavedBlock:
      frame(FrameType.headers, FrameFlag.endStream, next, block)
      frame(FrameType.ping, 0, 0, zeros)
    case .continuationOfOther:
      frame(FrameType.headers, FrameFlag.endStream, next, block)
      frame(FrameType.continuation, FrameFlag.endHeaders, next + 2, block)
    case .endlessBlock:
      frame(FrameType.headers, FrameFlag.endStream, next, block)
      for _ in 0..<20 { frame(FrameType.continuation, 0, next, []) }
    case .settingsOnStream: frame(FrameType.settings, 0, next, [])
    case .oddSettings: frame(FrameType.settings, 0, 0, [0, 4, 0])
    case .acknowledgementWithPayload:
      frame(FrameType.settings, FrameFlag.acknowledge, 0, [0, 4, 0, 0, 0, 0])
    case .hugeWindow: frame(FrameType.settings, 0, 0, [0, 4, 0x80, 0, 0, 0])
    case .smallFrames: frame(FrameType.settings, 0, 0, [0, 5, 0, 0, 0x3F, 0xFF])
    case .oddPush: frame(FrameType.settings, 0, 0, [0, 2, 0, 0, 0, 2])
    case .zeroIncrement: frame(FrameType.windowUpdate, 0, 0, [0, 0, 0, 0])
    case .windowOverflow: frame(FrameType.windowUpdate, 0, 0, [0x7F, 0xFF, 0xFF, 0xFF])
    case .push: frame(FrameType.pushPromise, FrameFlag.endHeaders, 1, [0, 0, 0, 2] + block)
    case .resetOfIdleStream: frame(FrameType.resetStream, 0, next, [0, 0, 0, 8])
    case .updateOfIdleStream: frame(FrameType.windowUpdate, 0, next, [0, 0, 0, 1])
    case .dataOnIdleStream: frame(FrameType.data, 0, next, [1])
    case .shortPing: frame(FrameType.ping, 0, 0, [1, 2, 3])
    case .shortGoAway: frame(FrameType.goAway, 0, 0, [0, 0, 0, 0])
    case .shortReset: frame(FrameType.resetStream, 0, next, [0, 0])
    case .largeFrame:
      FrameHeader(length: 16_385, type: FrameType.headers, flags: whole, stream: next)
        .write(to: &output)
    case .badIndex: frame(FrameType.headers, whole, next, [0x80])
    case .truncatedBlock: frame(FrameType.headers, whole, next, block + [0x40, 0x0A, 0x61])
    case .largePadding:
      frame(FrameType.headers, whole | FrameFlag.padded, next, [200] + block)
    }
  }
}

/// Fields that make a head malformed. They are appended to a valid one.
enum HeadFault: CaseIterable {
  case upperCase, connection, transferEncoding, compressedTrailers, latePath, unknownPseudo
  case controlInValue, blankInName, emptyName, otherHost, lengthWithoutBody, blankValue, manyFields

  /// RFC 7541 6.2.2: literals that leave the table as it is.
  var fields: [UInt8] {
    func field(_ name: String, _ value: String) -> [UInt8] {
      [0, UInt8(name.utf8.count)] + Array(name.utf8) + [UInt8(value.utf8.count)]
        + Array(value.utf8)
    }
    return switch self {
    case .upperCase: field("X-Upper", "1")
    case .connection: field("connection", "close")
    case .transferEncoding: field("transfer-encoding", "chunked")
    case .compressedTrailers: field("te", "gzip")
    case .latePath: field(":path", "/a/0")
    case .unknownPseudo: field(":secret", "1")
    case .controlInValue: field("x-a", "1\r\nX-B: 2")
    case .blankInName: field("x a", "1")
    case .emptyName: field("", "1")
    case .otherHost: field("host", "other.example")
    case .lengthWithoutBody: field("content-length", "5")
    case .blankValue: field("x-a", " 1")
    case .manyFields: (0..<300).flatMap { _ in field("x-a", "1") }
    }
  }
}
