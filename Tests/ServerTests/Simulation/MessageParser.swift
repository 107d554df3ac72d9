// A strict HTTP/1 parser for the actors, independent of the parser under test.
//
// It follows RFC 9112 without any tolerance, since the worker wrote what an actor receives. It only
// knows framing; actors interpret fields. It is meant to be obviously correct and not fast: heads
// become Strings.

import Primitives

/// The head of a message, names in lower case.
struct MessageHead {
  /// `GET /path HTTP/1.1` or `HTTP/1.1 200 OK`.
  var startLine: String
  var fields: [(name: String, value: String)]

  func values(_ name: String) -> [String] {
    fields.compactMap { $0.name == name ? $0.value : nil }
  }

  func number(_ name: String) -> Int? {
    let values = values(name)
    return values.count == 1 ? Int(values[0]) : nil
  }

  /// Whether the Connection field lists `option`, in any of its lines.
  func connectionHas(_ option: String) -> Bool {
    values("connection").contains {
      $0.split(separator: ",").contains { $0.trimmed.lowercased() == option }
    }
  }

  /// The three parts of the start line; the last of a status line may contain spaces or be empty.
  var parts: [String] {
    startLine.split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false).map(String.init)
  }

  var status: Int { Int(parts[1]) ?? 0 }
}

struct MessageParser {
  enum Kind { case requests, answers }

  enum Step {
    /// More bytes are needed.
    case more
    case head(MessageHead)
    /// This number of bytes at the front of the input is body; the caller consumes them.
    case body(Int)
    case end(trailers: [(name: String, value: String)])
    case malformed(String)
  }

  private enum State {
    case head
    case length(Int)
    case chunkSize
    case chunk(Int)
    case chunkEnd
    case trailers
    case untilClose
    case ended
    case broken
  }

  let kind: Kind
  /// For responses: whether the next one is for a HEAD request.
  var answersHead = false
  private var state = State.head
  private var scanned = 0

  private static let headMax = 128 * 1024

  init(_ kind: Kind) { self.kind = kind }

  /// Whether no message has begun, not counting bytes in the input.
  var isBetweenMessages: Bool { if case .head = state { true } else { false } }
  /// Whether the current body ends with the connection.
  var isUntilClose: Bool { if case .untilClose = state { true } else { false } }

  /// The next step. `atEnd`: no bytes follow those in `input`.
  mutating func next(_ input: inout ByteBuffer, atEnd: Bool = false) -> Step {
    switch state {
    case .head:
      if input.isEmpty { return .more }
      return parseHead(&input)
    case .length(let left):
      if left == 0 { return finish() }
      if input.isEmpty { return .more }
      let count = min(left, input.count)
      state = .length(left - count)
      return .body(count)
    case .chunkSize:
      guard let line = takeLine(&input, limit: 256) else { return missingLine }
      guard let size = chunkSize(line) else { return broken("chunk size '\(line)'") }
      state = size == 0 ? .trailers : .chunk(size)
      return next(&input, atEnd: atEnd)
    case .chunk(let left):
      if left == 0 {
        state = .chunkEnd
        return next(&input, atEnd: atEnd)
      }
      if input.isEmpty { return .more }
      let count = min(left, input.count)
      state = .chunk(left - count)
      return .body(count)
    case .chunkEnd:
      guard let line = takeLine(&input, limit: 2) else { return missingLine }
      if !line.isEmpty { return broken("'\(line)' behind a chunk") }
      state = .chunkSize
      return next(&input, atEnd: atEnd)
    case .trailers:
      return parseTrailers(&input)
    case .untilClose:
      if !input.isEmpty { return .body(input.count) }
      return atEnd ? finish() : .more
    case .ended:
      return finish()
    case .broken:
      return .malformed("broken before")
    }
  }

  private mutating func finish() -> Step {
    state = .head
    return .end(trailers: [])
  }

  private mutating func broken(_ reason: String) -> Step {
    state = .broken
    return .malformed(reason)
  }

  // MARK: Lines

  /// The step when there is no complete line, or when `takeLine` has found an invalid one.
  private var missingLine: Step {
    if case .broken = state { .malformed("bad or endless line") } else { .more }
  }

  /// Takes a line that ends in CRLF from the input; nil when it is incomplete or invalid. If it is
  /// invalid, the state becomes `broken`.
  private mutating func takeLine(_ input: inout ByteBuffer, limit: Int) -> String? {
    guard let end = lineEnd(input.bytes, limit) else { return nil }
    let line = String(decoding: input.bytes.extracting(first: end - 1))
    input.consume(end + 1)
    return line
  }

  /// The position of the first LF; nil as in `takeLine`.
  private mutating func lineEnd(_ bytes: Span<UInt8>, _ limit: Int) -> Int? {
    var index = scanned
    scanned = 0
    while index < bytes.count {
      let byte = bytes[index]
      let followsReturn = index > 0 && bytes[index - 1] == 0x0D
      if byte == 0x0A && followsReturn { return index }
      let isControl = byte < 0x20 && byte != 0x0D && byte != 0x09 || byte == 0x7F
      if followsReturn || isControl || index > limit {
        state = .broken
        return nil
      }
      index += 1
    }
    scanned = index
    return nil
  }

  private func chunkSize(_ line: String) -> Int? {
    let digits = line.prefix { $0.isHexDigit }
    let rest = line.dropFirst(digits.count)
    if !rest.isEmpty && !rest.hasPrefix(";") { return nil }
    return digits.count > 8 ? nil : Int(digits, radix: 16)
  }

  private static func field(_ line: Substring) -> (name: String, value: String)? {
    guard let colon = line.firstIndex(of: ":"), colon != line.startIndex else { return nil }
    let name = line[..<colon]
    let isToken = name.utf8.allSatisfy {
      ($0 >= 0x30 && $0 <= 0x39) || ($0 | 0x20 >= 0x61 && $0 | 0x20 <= 0x7A)
        || "!#$%&'*+-.^_`|~".utf8.contains($0)
    }
    return isToken ? (name.lowercased(), line[line.index(after: colon)...].trimmed) : nil
  }

  // MARK: Heads

  private mutating func parseHead(_ input: inout ByteBuffer) -> Step {
    guard let length = headLength(input.bytes) else {
      if input.count > Self.headMax { return broken("endless head") }
      return .more
    }
    scanned = 0
    let text = String(decoding: input.bytes.extracting(first: length - 4))
    input.consume(length)
    var lines = text.utf8.split(separator: 0x0D, omittingEmptySubsequences: false).map {
      Substring($0)
    }
    for index in lines.indices.dropFirst() {
      if lines[index].utf8.first != 0x0A { return broken("bare CR in a head") }
      lines[index] = Substring(lines[index].utf8.dropFirst())
    }
    if let bad = lines.first(where: { $0.utf8.contains { $0 < 0x20 && $0 != 0x09 || $0 == 0x7F } })
    {
      return broken("a control character in '\(bad)'")
    }
    var head = MessageHead(startLine: String(lines[0]), fields: [])
    for line in lines.dropFirst() {
      guard let field = Self.field(line) else { return broken("field line '\(line)'") }
      head.fields.append(field)
    }
    if let reason = fault(inStartLineOf: head) { return broken(reason) }
    if let reason = frame(head) { return broken(reason) }
    return .head(head)
  }

  /// The length including the empty line, or nil while that is missing.
  private mutating func headLength(_ bytes: Span<UInt8>) -> Int? {
    var index = max(scanned, 3)
    while index < bytes.count {
      if bytes[index] == 0x0A && bytes[index - 1] == 0x0D && bytes[index - 2] == 0x0A
        && bytes[index - 3] == 0x0D
      {
        return index + 1
      }
      index += 1
    }
    scanned = max(0, bytes.count)
    return nil
  }

  private func fault(inStartLineOf head: MessageHead) -> String? {
    let parts = head.parts
    guard parts.count == 3 else { return "start line '\(head.startLine)'" }
    let version = kind == .requests ? parts[2] : parts[0]
    if version != "HTTP/1.1" && version != "HTTP/1.0" { return "version '\(version)'" }
    if kind == .answers {
      let isStatus = parts[1].utf8.count == 3 && (100...599).contains(head.status)
      if !isStatus { return "status '\(parts[1])'" }
    } else if !parts[1].hasPrefix("/") && parts[1] != "*" {
      return "target '\(parts[1])'"
    }
    return nil
  }

  /// Decides how the body ends (RFC 9112 6.3), or returns the error.
  private mutating func frame(_ head: MessageHead) -> String? {
    let lengths = head.values("content-length")
    let codings = head.values("transfer-encoding")
    if !codings.isEmpty {
      if !lengths.isEmpty { return "Content-Length with Transfer-Encoding" }
      if codings.count > 1 || codings[0].lowercased() != "chunked" { return "coding \(codings)" }
      if head.startLine.contains("HTTP/1.0") { return "chunked in HTTP/1.0" }
    }
    var length: Int?
    if let text = lengths.first {
      let isNumber = !text.isEmpty && text.utf8.allSatisfy { $0 >= 0x30 && $0 <= 0x39 }
      guard lengths.count == 1, isNumber, let value = Int(text) else { return "length \(lengths)" }
      length = value
    }
    if kind == .answers {
      let status = head.status
      if status < 200 || status == 204 {
        return codings.isEmpty && lengths.isEmpty ? bodiless(status) : "body framing in a \(status)"
      }
      if answersHead || status == 304 { return bodiless(status) }
    }
    if !codings.isEmpty {
      state = .chunkSize
    } else if let length {
      state = .length(length)
    } else {
      state = kind == .requests ? .ended : .untilClose
    }
    return nil
  }

  private mutating func bodiless(_ status: Int) -> String? {
    // The end of an interim response is not reported.
    state = status < 200 ? .head : .ended
    return nil
  }

  private var trailers: [(name: String, value: String)] = []

  private mutating func parseTrailers(_ input: inout ByteBuffer) -> Step {
    while let line = takeLine(&input, limit: 8192) {
      if line.isEmpty {
        state = .head
        defer { trailers = [] }
        return .end(trailers: trailers)
      }
      guard let field = Self.field(line[...]) else { return broken("trailer '\(line)'") }
      trailers.append(field)
    }
    return missingLine
  }
}

extension Substring {
  /// Without optional white space around a field value.
  var trimmed: String {
    var rest = self
    while let first = rest.first, first == " " || first == "\t" { rest.removeFirst() }
    while let last = rest.last, last == " " || last == "\t" { rest.removeLast() }
    return String(rest)
  }
}
