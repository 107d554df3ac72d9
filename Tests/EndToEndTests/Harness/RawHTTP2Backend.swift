// A backend's side of one HTTP/2 connection, in raw frames, so that a test decides what comes when.
// It doesn't decode requests.

import Testing

/// A backend's side of one connection.
struct RawHTTP2Backend {
  let wire: Wire

  /// Takes the next connection and its preface, and announces `settings`.
  init(_ listening: Listening, settings: [UInt8] = []) throws {
    wire = try #require(listening.accept())
    #expect(try wire.take(24) == Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8))
    try send(type: 4, stream: 0, settings)
  }

  func send(type: UInt8, flags: UInt8 = 0, stream: UInt8, _ payload: [UInt8]) throws {
    let count = payload.count
    try wire.send(
      [0, UInt8(count >> 8), UInt8(count & 0xFF), type, flags, 0, 0, 0, stream] + payload)
  }

  /// A response with this status, which HPACK's static table has.
  func respond(_ stream: UInt8, _ body: [UInt8]) throws {
    try send(type: 1, flags: 4, stream: stream, [0x88])
    try send(type: 0, flags: 1, stream: stream, body)
  }

  func refuse(_ stream: UInt8) throws { try send(type: 3, stream: stream, [0, 0, 0, 7]) }

  /// The stream of the next request.
  func takeRequest() throws -> UInt8 {
    while true {
      let header = try wire.take(9)
      _ = try wire.take(Int(header[1]) << 8 + Int(header[2]))
      if header[3] == 1 { return header[8] }
    }
  }
}
