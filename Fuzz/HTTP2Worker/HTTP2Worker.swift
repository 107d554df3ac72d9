// A whole worker that speaks HTTP/2 with a client or with a backend, whose bytes are the input.
//
// Properties for any input, however it is split:
//
// - A backend with HTTP/1 gets complete, strictly valid requests, each framed in one way.
// - The worker writes whole frames. A client with HTTP/1 gets valid responses; the last one may be
//   cut off, if the backend's was.
// - After the client has gone, no exchange, connection or reserved slot is left.

import FuzzSupport
import HTTP2

@testable import FuzzWorld
@testable import Server

/// Bits of the first byte.
private enum Variant {
  static let isBackend: UInt8 = 1
  /// The input begins after the preface and an empty SETTINGS frame.
  static let isBegun: UInt8 = 2
  static let sendsLittle: UInt8 = 4
}

private let emptySettings: [UInt8] = [0, 0, 0, 4, 0, 0, 0, 0, 0]

@c(LLVMFuzzerTestOneInput)
public func fuzzHTTP2Worker(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  guard let input = FuzzInput(start, count) else { return 0 }
  for arrivals in input.arrivals {
    var pieces: [[UInt8]] = []
    var done = 0
    for count in arrivals where count > done {
      pieces.append(Array(input.bytes[done..<count]))
      done = count
    }
    if input.control & Variant.isBackend == 0 {
      runClient(input.control, pieces)
    } else {
      runBackend(input.control, pieces)
    }
  }
  return 0
}

private func sendMax(_ control: UInt8) -> Int {
  control & Variant.sendsLittle == 0 ? .max : 37
}

private func runClient(_ control: UInt8, _ pieces: [[UInt8]]) {
  let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)
  let isBegun = control & Variant.isBegun != 0
  let io = ScriptedIO(
    pieces: (isBegun ? [preface + emptySettings] : []) + pieces,
    answers: AnswerScript(rawValue: control >> 3 & 3) ?? .measured, sendMax: sendMax(control))
  var stand = TestStand(io, clients: ListenerProtocols(http1: false, http2: true))
  stand.run()
  // A client that doesn't begin with HTTP/2 gets an explanation in HTTP/1.
  let isHTTP1 = io.client.outbound.starts(with: Array("HTTP/1.1 ".utf8))
  if !io.client.wasReset && !isHTTP1 { requireFrames(io.client.outbound) }
}

/// The client sends requests with and without a body, in HTTP/1.
private func runBackend(_ control: UInt8, _ pieces: [[UInt8]]) {
  let requests = [
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    "2\r\nhi\r\n0\r\nX: y\r\n\r\n",
  ]
  let isBegun = control & Variant.isBegun != 0
  let io = ScriptedIO(
    pieces: [requests.flatMap { Array($0.utf8) }],
    backendPieces: (isBegun ? [emptySettings] : []) + pieces, sendMax: sendMax(control))
  var stand = TestStand(io, backends: .http2)
  stand.run()
  for backend in io.backends {
    requireFrames(Array(backend.outbound.dropFirst(24)), mayBeCut: true)
  }
  var reader = MessageReader(.answers)
  reader.append(io.client.outbound)
  while reader.next(atEnd: true) != nil {}
  require(
    reader.fault == nil,
    "the client got \(quoted(io.client.outbound)): \(reader.fault ?? "")")
}

private func requireFrames(_ bytes: [UInt8], mayBeCut: Bool = false) {
  var position = 0
  while position + 9 <= bytes.count {
    let length =
      Int(bytes[position]) << 16 | Int(bytes[position + 1]) << 8 | Int(bytes[position + 2])
    require(length <= 16_384, "a frame of \(length) bytes")
    position += 9 + length
  }
  require(mayBeCut || position == bytes.count, "a frame is cut off")
}
