// A simulated client's request and misbehaviour. It is drawn before the run begins, so it depends
// only on the seed and not on the worker.

import Primitives

struct RequestPlan {
  enum Method: String { case GET, HEAD, OPTIONS, PUT, DELETE, POST, PATCH }

  enum Departure {
    /// After this number of bytes of the request was sent.
    case requestByte(Int)
    /// After this number of bytes of the response was read.
    case answerByte(Int)
  }

  enum Manner { case orderly, reset, cut }

  private(set) var id: Int
  var prefix = RoutePrefix.a
  var method = Method.GET
  var isHTTP10 = false
  var size = 0
  var framing = BodyFraming.none
  var expectsContinue = false
  /// The options of its Connection field.
  var connection: String?
  var hasTrailer = false
  /// It asks to switch protocols; then the client and the backend each send this number of bytes.
  var relaySize: Int?
  /// Its response never misbehaves. Only used to make a run simpler.
  var isAnsweredKindly = false
  /// The client leaves in the middle.
  var departure: (moment: Departure, manner: Manner)?
  /// The request violates RFC 9112 in this way, and must never reach a backend.
  var malformation: Malformation?
  /// Only for HTTP/2.
  private(set) var http2: HTTP2Shape?

  init(id: Int) { self.id = id }

  init(
    id: Int, level: SimulationLevel, role: SimulatedRole, sizeMax: Int,
    random: inout RandomGenerator
  ) {
    self.id = id
    method = random.pick([.GET, .GET, .GET, .HEAD, .POST, .POST, .PUT, .PATCH, .DELETE, .OPTIONS])
    isHTTP10 = random.chance(1, in: 10)
    if method == .POST || method == .PUT || method == .PATCH || random.chance(1, in: 16) {
      framing = isHTTP10 || random.chance(1, in: 2) ? .length : .chunked
      size = random.chance(1, in: 12) ? 0 : random.skewed(upTo: sizeMax)
      expectsContinue = !isHTTP10 && size > 0 && random.chance(1, in: 6)
      hasTrailer = framing == .chunked && random.chance(1, in: 4)
    }
    switch random.next(below: 12) {
    case 0: connection = "close"
    case 1: connection = "x-hop"
    case 2: connection = "Keep-Alive, X-Hop"
    default: connection = isHTTP10 && random.chance(2, in: 3) ? "keep-alive" : nil
    }
    if role == .proxy {
      prefix = random.pick([.a, .a, .a, .a, .a, .b, .b, .b])
      if random.chance(1, in: 12) { prefix = random.pick([.fixed, .moved, .nowhere]) }
      if method == .GET && framing == .none && !isHTTP10 && random.chance(1, in: 8) {
        relaySize = random.skewed(upTo: sizeMax)
        connection = "Upgrade"
      }
    }
    if level == .storm && random.chance(1, in: 8) { depart(&random) }
    // A relay forwards everything, so it can't refuse.
    if level == .storm && role == .proxy && random.chance(1, in: 24) {
      // It has no other special property.
      self = RequestPlan(id: id)
      method = .POST
      malformation = random.pick(Malformation.allCases)
    }
  }

  private mutating func depart(_ random: inout RandomGenerator) {
    let moment: Departure =
      random.chance(1, in: 2)
      ? .requestByte(1 + random.skewed(upTo: 200 + size))
      : .answerByte(random.skewed(upTo: 20_000))
    departure = (moment, random.pick([.orderly, .reset, .cut]))
  }

  /// Turns it into a request over HTTP/2, without what only HTTP/1 has.
  mutating func speakHTTP2(
    _ conduct: HTTP2Conduct, level: SimulationLevel, random: inout RandomGenerator
  ) {
    var shape = HTTP2Shape(drawnFrom: &random, level: level)
    shape.answerSizeMax = conduct.answerSizeMax
    if malformation != nil {
      malformation = nil
      shape.fault = random.pick(HeadFault.allCases)
      shape.paddingCount = 0
    }
    isHTTP10 = false
    connection = nil
    relaySize = nil
    http2 = shape
  }

  /// It must never reach a backend.
  var isMalformed: Bool { malformation != nil || http2?.fault != nil }

  /// RFC 9110 9.2.2.
  var isIdempotent: Bool { method != .POST && method != .PATCH }

  /// Whether the client will keep the connection open after the response.
  var isPersistent: Bool {
    let options = connection?.lowercased() ?? ""
    return isHTTP10 ? options.contains("keep-alive") : !options.contains("close")
  }

  var pattern: BodyPattern { BodyPattern(id) }
  var path: String { "/\(prefix.rawValue)/\(id)" }

  /// The bytes of client and backend after a protocol switch.
  var relayedPattern: BodyPattern { BodyPattern(id, 1 << 20) }
  func relayedPattern(from backend: Int) -> BodyPattern { BodyPattern(id, 1 << 20, backend + 1) }

  /// The number in a path.
  static func id(ofPath path: Substring) -> Int? {
    path.split(separator: "/").last.flatMap { Int($0) }
  }

  /// Including the empty line.
  var head: String {
    if let malformation { return malformation.head(path: path, id: id) }
    var text = "\(method.rawValue) \(path) HTTP/1.\(isHTTP10 ? 0 : 1)\r\n"
    text += "Host: site.example\r\nX-Id: \(id)\r\n"
    switch framing {
    case .none: break
    case .length: text += "Content-Length: \(size)\r\n"
    default: text += "Transfer-Encoding: chunked\r\n"
    }
    if let connection {
      text += "Connection: \(connection)\r\n"
      if connection.lowercased().contains("x-hop") { text += "X-Hop: 1\r\n" }
    }
    if relaySize != nil { text += "Upgrade: websocket\r\n" }
    if expectsContinue { text += "Expect: 100-continue\r\n" }
    if hasTrailer { text += "Trailer: X-Trailer\r\n" }
    return text + "\r\n"
  }

  func writer(random: RandomGenerator) -> MessageWriter {
    var chunks = random
    return MessageWriter(
      head: head, pattern: pattern, size: malformation == nil ? size : 0,
      framing: malformation == nil ? framing : .none,
      trailer: hasTrailer ? "X-Trailer: \(id)\r\n" : nil,
      chunkMax: 1 << chunks.next(below: 15), random: chunks)
  }
}

/// Requests that two parsers may read differently, or that are clearly invalid.
enum Malformation: CaseIterable {
  case lengthAndCoding, twoLengths, bareLineFeed, spaceBeforeColon, foldedField, noHost, nul
  case unknownCoding, garbage, unknownExpectation, tunnel
  /// Not a whole head, and nothing after it.
  case unfinished, emptyLines

  func head(path: String, id: Int) -> String {
    let start = "POST \(path) HTTP/1.1\r\nHost: site.example\r\nX-Id: \(id)\r\n"
    return switch self {
    case .lengthAndCoding:
      start + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    case .twoLengths: start + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"
    case .bareLineFeed: start + "X-A: 1\nContent-Length: 0\r\n\r\n"
    case .spaceBeforeColon: start + "Content-Length : 3\r\n\r\nabc"
    case .foldedField: start + "X-A: 1\r\n 2\r\nContent-Length: 0\r\n\r\n"
    case .noHost: "POST \(path) HTTP/1.1\r\nX-Id: \(id)\r\nContent-Length: 0\r\n\r\n"
    case .nul: start + "X-A: \0\r\nContent-Length: 0\r\n\r\n"
    case .unknownCoding: start + "Transfer-Encoding: chunked, x-odd\r\n\r\n0\r\n\r\n"
    case .unknownExpectation: start + "Expect: the-unexpected\r\nContent-Length: 0\r\n\r\n"
    case .tunnel:
      "CONNECT site.example:443 HTTP/1.1\r\nHost: site.example:443\r\nX-Id: \(id)\r\n\r\n"
    case .unfinished: "POST \(path) HT"
    case .emptyLines: "\r\n\r\n"
    case .garbage: "\u{16}\u{3}\u{1} not http \(id)\r\n\r\n"
    }
  }
}
