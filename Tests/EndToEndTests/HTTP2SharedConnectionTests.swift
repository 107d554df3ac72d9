// A connection to a backend is shared: a response that is too large, or in too many frames, fails
// alone, and doesn't count against the backend, since a client may have caused it.

import Foundation
import Testing

@Suite(.serialized) struct HTTP2SharedConnectionTests {
  private static func start() throws -> (MartletProcess, Listening) {
    let listening = try Listening()
    let martlet = try MartletProcess(
      backends: ["127.0.0.1:\(listening.port)"],
      pool: #""protocol": "h2", "health": "off", "ejection": { "failures": 1 }"#,
      listener: #""protocols": ["h2"]"#, rest: #""workers": 1"#)
    return (martlet, listening)
  }

  /// Requests of two clients on one connection to the backend.
  private struct Shared {
    let martlet: MartletProcess
    let backend: RawHTTP2Backend
    /// The client whose response is at fault, and its stream here and there.
    let peer: HTTP2Peer
    let stream: UInt32
    let second: UInt8
    private let other: HTTP2Peer
    private let waiting: UInt32
    private let first: UInt8

    init() throws {
      let listening: Listening
      (martlet, listening) = try start()
      other = try HTTP2Peer(martlet)
      // It can't be sent again.
      waiting = try other.open("POST")
      backend = try RawHTTP2Backend(listening)
      first = try backend.takeRequest()
      peer = try HTTP2Peer(martlet)
      stream = try peer.open()
      second = try backend.takeRequest()
    }

    /// The backend responds to the other client.
    func answerToFirst() throws -> HTTP2Peer.Answer {
      try backend.respond(first, [0x61])
      return try other.answer(waiting)
    }
  }

  /// A literal field that no table has, named `x`.
  private static func field(_ byteCount: Int) -> [UInt8] {
    // The length as an integer of HPACK with a prefix of 7 bits (RFC 7541 5.1).
    var length: [UInt8] = [127]
    var rest = byteCount - 127
    while rest >= 128 {
      length.append(UInt8(rest & 127 | 128))
      rest >>= 7
    }
    return [0, 1, 0x78] + length + [UInt8(rest)] + [UInt8](repeating: 0x79, count: byteCount)
  }

  /// Sends a block in frames of this size; it ends the stream.
  private static func send(
    _ block: [UInt8], in frameByteCount: Int, _ stream: UInt8, by backend: RawHTTP2Backend
  ) throws {
    var position = 0
    while position < block.count {
      let part = Array(block[position...].prefix(frameByteCount))
      let isFirst = position == 0
      position += part.count
      let isLast: UInt8 = position == block.count ? 4 : 0
      try backend.send(
        type: isFirst ? 1 : 9, flags: isLast | (isFirst ? 1 : 0), stream: stream, part)
    }
  }

  struct Case: CustomTestStringConvertible, Sendable {
    let testDescription: String
    let byteCount: Int
    let frameByteCount: Int
    var isTrailers = false
    let reason: String?
  }

  private static let cases = [
    Case(testDescription: "a head", byteCount: 70_000, frameByteCount: 16_384, reason: "large"),
    Case(
      testDescription: "a very large head", byteCount: 200_000, frameByteCount: 16_384,
      reason: "large"),
    Case(
      testDescription: "a head in many frames", byteCount: 30_000, frameByteCount: 2000,
      reason: nil),
    Case(
      testDescription: "trailers", byteCount: 70_000, frameByteCount: 16_384, isTrailers: true,
      reason: "large"),
  ]

  @Test(arguments: cases)
  func `a response that is too large fails alone`(_ what: Case) throws {
    let shared = try Shared()
    let (martlet, backend, peer) = (shared.martlet, shared.backend, shared.peer)
    let (stream, second) = (shared.stream, shared.second)
    if what.isTrailers { try backend.send(type: 1, flags: 4, stream: second, [0x88]) }
    let fields = (0..<(what.byteCount / 10_000)).flatMap { _ in Self.field(10_000) }
    let block = (what.isTrailers ? [] : [0x88]) + fields
    try Self.send(block, in: what.frameByteCount, second, by: backend)
    let answer = try peer.answer(stream)
    if what.reason == nil {
      #expect(answer.status == 200 && answer.fields.count { $0.name == "x" } == 3)
    } else {
      #expect(answer.status == (what.isTrailers ? 200 : 502))
      #expect((answer.reset != nil) == what.isTrailers)
    }
    #expect(try shared.answerToFirst().text == "a")
    let lines = try martlet.accessLines(atLeast: 2)
    let reasons = lines.compactMap { $0["reason"] as? String }
    #expect(reasons == (what.reason == nil ? [] : ["field-list-too-large"]))
    #expect(!martlet.log.contains("ejected"))
  }

  /// As many as with HTTP/1.
  @Test(arguments: [256, 257])
  func `a response may have 256 interim ones`(_ count: Int) throws {
    let (martlet, listening) = try Self.start()
    let peer = try HTTP2Peer(martlet)
    let stream = try peer.open()
    let backend = try RawHTTP2Backend(listening)
    let its = try backend.takeRequest()
    // A literal value of :status.
    let interim: [UInt8] = [0x08, 3] + Array("103".utf8)
    for _ in 0..<count { try backend.send(type: 1, flags: 4, stream: its, interim) }
    try backend.respond(its, [0x61])
    let answer = try peer.answer(stream)
    #expect(answer.status == (count == 256 ? 200 : 502), "\(answer.status)")
    #expect(!martlet.log.contains("ejected"))
  }

  @Test func `a flood of one response fails alone`() throws {
    let shared = try Shared()
    let (martlet, backend, peer) = (shared.martlet, shared.backend, shared.peer)
    let (stream, second) = (shared.stream, shared.second)
    try backend.send(type: 1, flags: 4, stream: second, [0x88])
    // DATA without a byte.
    let frame: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 0, second]
    try backend.wire.send((0..<1000).flatMap { _ in frame })
    #expect(try peer.answer(stream).reset == .internalError)
    #expect(try shared.answerToFirst().text == "a")
    let lines = try martlet.accessLines(atLeast: 2)
    #expect(lines.compactMap { $0["reason"] as? String } == ["empty-data-flood"])
    #expect(!martlet.log.contains("ejected"))
  }
}
