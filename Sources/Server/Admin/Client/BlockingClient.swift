// A client of HTTP/1.1 that waits, one request a connection: commands ask a running process with
// it, and traces are sent by it.

import HTTP
import HTTP1
public import Primitives
import Reactor
import TLS

public struct BlockingClient {
  private let address: SocketAddress
  /// As in the Host field.
  private let host: String
  /// For each step; nil to wait as long as it takes.
  private let limit: TimeSpan?
  /// The name that the certificate of the other end must be for; nil where TLS isn't spoken.
  private let secureName: String?
  private let credentials: Credentials

  /// What a client shows, and whom it trusts.
  public struct Credentials {
    /// A PEM file; nil for the authorities of the system.
    public var authority: String?
    /// PEM files.
    public var certificate: (chain: String, key: String)?
    public var token: String?

    public init() {}
  }

  public struct Failure: Error {
    public let message: String
    /// Nobody could be connected to.
    public let isUnreachable: Bool

    public init(message: String, isUnreachable: Bool = false) {
      self.message = message
      self.isUnreachable = isUnreachable
    }
  }

  public struct Response {
    public let status: UInt16
    public let body: [UInt8]
  }

  /// In plain.
  public init(
    to address: SocketAddress, host: String = "localhost", atMost limit: TimeSpan? = nil
  ) {
    self.address = address
    self.host = host
    self.limit = limit
    secureName = nil
    credentials = Credentials()
  }

  /// By an address such as `https://edge.internal:9091`.
  public init(url: String, _ credentials: Credentials) throws(Failure) {
    let parts = url.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
    guard parts.count >= 3, parts[0] == "https:" || parts[0] == "http:", parts[1].isEmpty,
      parts.dropFirst(3).allSatisfy(\.isEmpty),
      let authority = Authority(Array(parts[2].utf8).span)
    else {
      throw Failure(message: "\(url) is no address; write one such as https://localhost:9091")
    }
    let isSecure = parts[0] == "https:"
    host = parts[2]
    // An IPv6 address stands in brackets there (RFC 3986 3.2.2).
    let name = String(decoding: Array(host.utf8)[authority.host], as: UTF8.self)
      .filter { $0 != "[" && $0 != "]" }
    address = .ip(try Self.resolve(name), port: authority.port ?? (isSecure ? 443 : 80))
    secureName = isSecure ? name : nil
    limit = nil
    self.credentials = credentials
  }

  private static func resolve(_ name: String) throws(Failure) -> IPAddress {
    if let address = IPAddress(name) { return address }
    do throws(ResolverError) {
      // `localhost` may have both, and a server only this.
      let all = try Resolver.addresses(of: name)
      return all.first(where: \.isV4) ?? all[0]
    } catch {
      throw Failure(message: "\(error)")
    }
  }

  private func makeSession(with name: String) throws(Failure) -> ClientSession {
    var identity: Certificate?
    do throws(CertificateFailure) {
      if let files = credentials.certificate {
        identity = try Certificate(chainPath: files.chain, keyPath: files.key)
      }
    } catch {
      throw Failure(message: "\(error)")
    }
    do throws(ClientSession.Failure) {
      return try ClientSession(to: name, trusting: credentials.authority, identity: identity)
    } catch {
      throw Failure(message: error.message)
    }
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
    let token = credentials.token.map { "Authorization: Bearer \($0)\r\n" } ?? ""
    let type = body.isEmpty ? "" : "Content-Type: application/json\r\n"
    let head = """
      \(method) \(path) HTTP/1.1\r
      Host: \(host)\r
      Connection: close\r
      \(token)\(type)Content-Length: \(body.count)\r
      \r\n
      """
    var session: ClientSession?
    if let secureName { session = try makeSession(with: secureName) }
    let conversation = try ClientConversation(with: address, session, atMost: limit)
    try conversation.send(Array(head.utf8) + body)
    var reader = Reader()
    while true {
      let bytes = try conversation.receive()
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
}

/// Puts an answer together from what a socket gives.
private struct Reader: ~Copyable {
  private var parser = ResponseParser()
  private var decoder: BodyDecoder?
  private var buffer = ByteBuffer()
  private var interimCount = 0
  private(set) var status: UInt16 = 0

  /// The pieces of the body in `bytes`, and whether it ends with them.
  mutating func take(_ bytes: [UInt8]) throws(HTTP1Error) -> (pieces: [[UInt8]], isComplete: Bool) {
    buffer.append(bytes.span)
    var pieces: [[UInt8]] = []
    if decoder == nil {
      var head = ResponseHead()
      repeat {
        guard try parser.take(from: &buffer, into: &head) else { return ([], false) }
        // Interim responses, as many as a check waits through.
        if head.isInterim { interimCount += 1 }
        if interimCount > ActiveCheck.interimMax { throw .badStatusLine }
      } while head.isInterim
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
