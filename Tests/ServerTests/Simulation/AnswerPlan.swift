// How a simulated backend responds to one delivery of one request, and how it may fail: determined
// by the seed, the request, the backend and the number of the delivery.

import Primitives

struct AnswerPlan {
  enum Conduct {
    case answer
    /// The response begins before the request body has ended.
    case answerEarly
    /// It never responds.
    case silence
    /// It doesn't even read any more.
    case deafness
    /// It closes before the first byte of the response.
    case die(reset: Bool)
    /// It closes after this number of bytes of the final response's head.
    case dieInHead(Int, reset: Bool)
    /// It closes after the head and this number of bytes of the framed body.
    case dieInBody(Int, reset: Bool)
    /// Bytes that are no HTTP response.
    case garbage(String)
    /// The chunked body becomes invalid after this number of bytes.
    case nonsenseAt(Int)
    /// A 101, and bytes both ways.
    case switchProtocols
    /// Additional bytes in the same segment as the end.
    case excess
    /// What only HTTP/2 has.
    case http2(HTTP2Misconduct)
  }

  enum Afterwards {
    case stay
    /// It sends `Connection: close` and closes.
    case close
    /// It closes without announcing it, after a while: a reused connection may meet this race.
    case closeSilently(TimeSpan)
    /// It sends bytes that nobody asked for, if it is idle after a while.
    case sendUnasked(UnaskedBytes, TimeSpan)
  }

  let id: Int
  let backend: Int
  let delivery: Int
  let isHTTP10: Bool
  var conduct = Conduct.answer
  var status = 200
  var size = 0
  var framing = BodyFraming.length
  var hasTrailer = false
  /// Statuses of interim responses.
  var interims: [Int] = []
  var sendsContinue = true
  var delay = TimeSpan.zero
  var afterwards = Afterwards.stay
  var chunkMax = 4096
  private var random: RandomGenerator

  init(
    seed: UInt64, request: RequestPlan, isHTTP10: Bool, backend: Int, delivery: Int,
    level: SimulationLevel, role: SimulatedRole, sizeMax: Int
  ) {
    id = request.id
    self.backend = backend
    self.isHTTP10 = isHTTP10
    self.delivery = delivery
    let salt = UInt64(request.id) << 32 | UInt64(backend) << 16 | UInt64(delivery)
    random = RandomGenerator(seed: mix(seed ^ mix(salt &+ 0x616E_7377)))
    status = random.pick([200, 200, 200, 200, 201, 204, 304, 404, 500])
    size = random.chance(1, in: 6) ? 0 : random.skewed(upTo: sizeMax)
    if let max = request.answerSizeMax { size = min(size, max) }
    framing = random.pick([.length, .length, .chunked, .chunked, .untilClose])
    if isHTTP10 && framing == .chunked { framing = .length }
    hasTrailer = framing == .chunked && random.chance(1, in: 3)
    chunkMax = 1 << random.next(below: 15)
    sendsContinue = random.chance(4, in: 5)
    if !isHTTP10 && random.chance(1, in: 12) {
      interims = random.chance(1, in: 3) ? [103, 103] : [103]
    }
    delay = .microseconds(Int64(random.skewed(upTo: 400_000)))
    if framing == .untilClose || random.chance(1, in: 8) { afterwards = .close }
    if level == .stale || level == .storm, framing != .untilClose, random.chance(1, in: 3) {
      afterwards = .closeSilently(.microseconds(Int64(random.skewed(upTo: 5_000_000))))
    }
    if hasNoBody(request) && framing == .untilClose { framing = .length }
    if level == .storm && random.chance(1, in: 4) && !request.isAnsweredKindly {
      misbehave(request, isHTTP10, role)
    } else if request.relaySize != nil && random.chance(3, in: 4) {
      conduct = .switchProtocols
      interims = []
      afterwards = .stay
    }
    if role == .proxy { drawIdleness(salt ^ seed, level) }
  }

  /// What it does with a connection that has been idle for a while.
  private mutating func drawIdleness(_ seed: UInt64, _ level: SimulationLevel) {
    var random = RandomGenerator(seed: mix(seed &+ 0x6964_6C65))
    guard level == .stale || level == .storm, random.chance(1, in: 5) else { return }
    let delay = TimeSpan.microseconds(Int64(random.skewed(upTo: 100_000_000)))
    switch (conduct, afterwards) {
    case (.excess, _), (.switchProtocols, _), (_, .close): break
    // The bytes may be taken for the response to a request that is on its way.
    case (_, .stay) where level == .storm:
      afterwards = .sendUnasked(random.pick(UnaskedBytes.allCases), delay)
    default: afterwards = .closeSilently(delay)
    }
  }

  private mutating func misbehave(
    _ request: RequestPlan, _ isHTTP10: Bool, _ role: SimulatedRole
  ) {
    let bodiless = hasNoBody(request)
    switch random.next(below: 10) {
    case 0: conduct = id.isMultiple(of: 2) ? .silence : .deafness
    // Longer than some timeouts.
    case 9: delay = .milliseconds(Int64(1_000 + random.next(below: 40_000)))
    case 1: conduct = .die(reset: random.chance(1, in: 2))
    case 2: conduct = .dieInHead(1 + random.next(below: 60), reset: random.chance(1, in: 2))
    case 3, 4:
      if bodiless || size == 0 { break }
      // A clean close can't be detected as a truncation when the body ends with the connection.
      let reset = framing == .untilClose || random.chance(1, in: 2)
      conduct = .dieInBody(random.next(below: size), reset: reset)
    // Violations of HTTP would pass through a relay.
    case 5 where role == .proxy:
      conduct = .garbage(random.pick(Self.garbage))
      interims = []
    case 6 where role == .proxy:
      if bodiless || isHTTP10 { break }
      framing = .chunked
      conduct = .nonsenseAt(random.skewed(upTo: size))
    case 7: conduct = .answerEarly
    default:
      // Not for HEAD and the like: with their framing fields, the bytes would already be excess.
      if framing == .length && !bodiless && role == .proxy {
        afterwards = .stay
        conduct = .excess
      }
    }
  }

  private static let garbage = [
    "\r\n\r\n\r\n", "SSH-2.0-OpenSSH_9\r\n", "HTTP/1.1 2OO OK\r\n\r\n", "HTTP/2 200\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 200 OK\r\n X: 1\r\n\r\n",
    "HTTP/1.1 99 Low\r\n\r\n", "\u{1}\u{2}\u{3}\u{0}", "HTTP/1.1 200 OK\r\nX: " + huge,
  ]
  private static let huge = String(repeating: "x", count: 300_000) + "\r\n\r\n"

  /// Bytes after a response that is already complete.
  static let excessBytes = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nX-Id: 0\r\n\r\npoison"

  /// Closes after the response, because the request asked for it.
  mutating func closeAsAsked() { afterwards = .close }

  func hasNoBody(_ request: RequestPlan) -> Bool {
    request.method == .HEAD || status == 204 || status == 304
  }

  /// For the log.
  var summary: String {
    "\(conduct), then \(afterwards): \(status), \(size) bytes, \(framing), trailer \(hasTrailer), "
      + "interims \(interims), after \(delay.nanoseconds / 1_000)"
  }

  var pattern: BodyPattern { BodyPattern(id, backend + 1, delivery + 1) }

  func head(for request: RequestPlan) -> String {
    if case .switchProtocols = conduct {
      return "HTTP/1.1 101 Whatever\r\nX-Id: \(id)\r\nX-Backend: \(backend)\r\n"
        + "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    }
    var text = "HTTP/1.1 \(status) Whatever\r\nX-Id: \(id)\r\nX-Backend: \(backend)\r\n"
    text += "X-Delivery: \(delivery)\r\nX-Size: \(hasNoBody(request) ? 0 : size)\r\n"
    if status != 204 {
      switch framing {
      case .length: text += "Content-Length: \(size)\r\n"
      case .chunked: text += "Transfer-Encoding: chunked\r\n"
      default: break
      }
    }
    if hasTrailer { text += "Trailer: X-Trailer\r\n" }
    if case .close = afterwards {
      text += "Connection: close\r\n"
    } else if isHTTP10 {
      text += "Connection: keep-alive\r\n"
    } else if case .closeSilently = afterwards {
      text += "Connection: x-secret\r\nX-Secret: 1\r\n"
    }
    return text + "\r\n"
  }

  func writer(for request: RequestPlan) -> MessageWriter {
    var stop: Int?
    var stopsBetweenChunks = false
    switch conduct {
    case .dieInHead(let count, _): stop = count
    case .dieInBody(let count, _): stop = head(for: request).utf8.count + count
    case .nonsenseAt(let count):
      stop = head(for: request).utf8.count + count
      stopsBetweenChunks = true
    default: break
    }
    if case .switchProtocols = conduct {
      return MessageWriter(
        head: head(for: request), pattern: request.relayedPattern(from: backend),
        size: request.relaySize ?? 0, framing: .untilClose, random: random)
    }
    return MessageWriter(
      head: head(for: request), pattern: pattern, size: size,
      framing: hasNoBody(request) ? .none : framing,
      trailer: hasTrailer ? "X-Trailer: \(id)\r\n" : nil, chunkMax: chunkMax, stop: stop,
      stopsBetweenChunks: stopsBetweenChunks, random: random)
  }

  /// Whether the whole response will be sent.
  var isWhole: Bool {
    switch conduct {
    case .answer, .answerEarly, .excess, .switchProtocols: true
    default: false
    }
  }
}

/// What a backend sends on an idle connection.
enum UnaskedBytes: CaseIterable {
  /// As some servers do when a connection was idle for too long.
  case timeout
  case response
  case partOfHead, garbage

  var text: String {
    switch self {
    case .timeout:
      "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    case .response: "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nX-Unasked: 1\r\n\r\npoison"
    case .partOfHead: "HTTP/1.1 20"
    case .garbage: "\u{1}\u{2}\r\n"
    }
  }

  var status: Int? {
    switch self {
    case .timeout: 408
    case .response: 200
    case .partOfHead, .garbage: nil
    }
  }

  /// Whether it closes the connection after them.
  var closes: Bool { self == .timeout || self == .partOfHead }
}
