// A client of HTTP/1.1 that waits, one request a connection: commands ask a running process with
// it, and traces are sent by it.

import HTTP
import HTTP1
public import Primitives
import Reactor

public struct BlockingClient {
  private let address: SocketAddress
  /// What Host says.
  private let host: String
  /// For each step; nil to wait as long as it takes.
  private let limit: TimeSpan?

  public init(
    to address: SocketAddress, host: String = "localhost", atMost limit: TimeSpan? = nil
  ) {
    self.address = address
    self.host = host
    self.limit = limit
  }

  public struct Failure: Error {
    public let message: String
  }

  public struct Response {
    public let status: UInt16
    public let body: [UInt8]
  }

  /// Asks once, and takes the whole answer. A body is JSON.
  public func ask(
    _ method: String, _ path: String, body: [UInt8] = []
  ) throws(Failure) -> Response {
    var bytes: [UInt8] = []
    let status = try stream(method, path, body: body) { piece in
      bytes += piece
      return true
    }
    return Response(status: status, body: bytes)
  }

  /// Asks once, and hands each piece of the answer's body over as it comes, until `take` returns
  /// false. Returns the status.
  @discardableResult
  public func stream(
    _ method: String, _ path: String, body: [UInt8] = [], _ take: ([UInt8]) -> Bool
  ) throws(Failure) -> UInt16 {
    let type = body.isEmpty ? "" : "Content-Type: application/json\r\n"
    let head = """
      \(method) \(path) HTTP/1.1\r
      Host: \(host)\r
      Connection: close\r
      Content-Length: \(body.count)\r
      \(type)\r\n
      """
    let socket = try asking { () throws(SystemError) in
      let socket = try ClientSocket(to: address, atMost: limit)
      try socket.send(Array(head.utf8) + body)
      return socket
    }
    var reader = Reader()
    while true {
      let bytes = try asking { () throws(SystemError) in try socket.receive() }
      let arrived: (pieces: [[UInt8]], isComplete: Bool)
      do throws(HTTP1Error) {
        arrived = try reader.take(bytes)
      } catch {
        throw Failure(message: "the answer from \(address) is no HTTP: \(error.name)")
      }
      for piece in arrived.pieces where !take(piece) { return reader.status }
      if arrived.isComplete { return reader.status }
      if bytes.isEmpty { throw Failure(message: "\(address) closed before the answer ended") }
    }
  }

  private func asking<Result>(
    _ body: () throws(SystemError) -> Result
  ) throws(Failure) -> Result {
    do throws(SystemError) {
      return try body()
    } catch {
      throw Failure(message: "\(address): \(error)")
    }
  }
}

/// Puts an answer together from what a socket gives.
private struct Reader: ~Copyable {
  private var parser = ResponseParser()
  private var decoder: BodyDecoder?
  private var buffer = ByteBuffer()
  private(set) var status: UInt16 = 0

  /// The pieces of the body in `bytes`, and whether it ends with them.
  mutating func take(_ bytes: [UInt8]) throws(HTTP1Error) -> (pieces: [[UInt8]], isComplete: Bool) {
    buffer.append(bytes.span)
    var pieces: [[UInt8]] = []
    if decoder == nil {
      var head = ResponseHead()
      guard try parser.take(from: &buffer, into: &head) else { return ([], false) }
      status = head.status
      decoder = BodyDecoder(try head.framing(answering: .get))
    }
    guard var decoder else { return ([], false) }
    defer { self.decoder = decoder }
    var trailers = FieldBlock()
    while true {
      switch try decoder.next(in: buffer, limit: buffer.count, trailers: &trailers) {
      case .piece(let skip, let count):
        pieces.append(buffer.array(skip..<(skip + count)))
        buffer.consume(skip + count)
      case .needsInput(let consumed):
        buffer.consume(consumed)
        return (pieces, false)
      case .end(let consumed):
        buffer.consume(consumed)
        return (pieces, true)
      }
    }
  }
}
