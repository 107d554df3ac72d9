// A strict reader of HTTP/1 messages, which checks what the worker wrote.
//
// It shares no code with the parser under test, and is simple enough to be obviously correct. A
// head is the bytes before the first empty line, and lines are split at CRLF. Any other CR, LF or
// control, any blank around a name, and any second framing field is an error.

struct ReadMessage: Equatable {
  var startLine: String
  var fields: [String]
  var body: [UInt8] = []

  var status: Int {
    let words = startLine.split(separator: " ", omittingEmptySubsequences: false)
    return words.count > 1 ? Int(words[1]) ?? 0 : 0
  }
}

struct ReadAnswer: Equatable {
  let status: Int
  let body: [UInt8]

  init(_ status: Int, _ body: [UInt8]) {
    self.status = status
    self.body = body
  }
}

struct MessageReader {
  enum Kind { case requests, answers }

  private let kind: Kind
  private var bytes: ArraySlice<UInt8> = []
  /// Why no more messages can be read.
  private(set) var fault: String?

  init(_ kind: Kind) { self.kind = kind }

  var isEmpty: Bool { bytes.isEmpty }

  mutating func append(_ more: [UInt8]) { bytes += more }

  /// The next complete message, if there is one. `atEnd`: no more bytes follow.
  mutating func next(atEnd: Bool) -> ReadMessage? {
    guard fault == nil, let end = find([13, 10, 13, 10], in: bytes) else { return nil }
    let lines = split(bytes[..<end])
    for line in lines where line.contains(where: { $0 < 0x20 && $0 != 9 || $0 == 0x7F }) {
      return fail("a control")
    }
    // One character per byte: in UTF-8, a colon and the byte after it may form one character.
    let text = lines.map { line in String(line.map { Character(Unicode.Scalar($0)) }) }
    var message = ReadMessage(startLine: text[0], fields: Array(text.dropFirst()))
    if kind == .requests ? !isRequestLine(text[0]) : !text[0].hasPrefix("HTTP/1.1 ") {
      return fail("start line")
    }
    var lengths: [String] = []
    var codings: [String] = []
    var hostCount = 0
    for field in message.fields {
      guard let colon = field.firstIndex(of: ":"), let name = token(field[..<colon]) else {
        return fail("field \(field.debugDescription)")
      }
      let value = field[field.index(after: colon)...].drop { $0 == " " || $0 == "\t" }
      switch name {
      case "content-length": lengths.append(String(value))
      case "transfer-encoding": codings.append(String(value))
      case "host": hostCount += 1
      default: break
      }
    }
    if kind == .requests && hostCount != 1 { return fail("\(hostCount) hosts") }
    var rest = bytes[(end + 4)...]
    switch (lengths.count, codings.count) {
    case (0, 1) where codings == ["chunked"]:
      guard let body = chunks(&rest) else { return nil }
      message.body = body
    case (1, 0):
      guard let count = Int(lengths[0]), count >= 0, "\(count)" == lengths[0] else {
        return fail("length \(lengths[0].debugDescription)")
      }
      if rest.count < count { return nil }
      message.body = Array(rest.prefix(count))
      rest = rest.dropFirst(count)
    case (0, 0):
      let isUntilClose = kind == .answers && message.status >= 200 && message.status != 204
      if isUntilClose {
        if !atEnd { return nil }
        message.body = Array(rest)
        rest = []
      }
    default: return fail("lengths \(lengths), codings \(codings)")
    }
    bytes = rest
    return message
  }

  private mutating func fail(_ reason: String) -> ReadMessage? {
    fault = reason
    return nil
  }

  /// The payload of a complete chunked body. Removes the body and its trailers from `rest`.
  private mutating func chunks(_ rest: inout ArraySlice<UInt8>) -> [UInt8]? {
    var payload: [UInt8] = []
    while true {
      guard let end = find([13, 10], in: rest) else { return nil }
      guard let size = Int(String(decoding: rest[..<end], as: UTF8.self), radix: 16), size >= 0
      else {
        fault = "chunk size"
        return nil
      }
      rest = rest[(end + 2)...]
      if size == 0 { break }
      guard rest.count >= size + 2 else { return nil }
      payload += rest.prefix(size)
      rest = rest.dropFirst(size)
      guard rest.starts(with: [13, 10]) else {
        fault = "end of chunk"
        return nil
      }
      rest = rest.dropFirst(2)
    }
    while true {
      guard let end = find([13, 10], in: rest) else { return nil }
      let line = rest[..<end]
      rest = rest[(end + 2)...]
      if line.isEmpty { return payload }
    }
  }

  /// Method, target and version, with single spaces.
  private func isRequestLine(_ line: String) -> Bool {
    let words = line.split(separator: " ", omittingEmptySubsequences: false)
    return words.count == 3 && token(words[0]) != nil && !words[1].isEmpty
      && words[2] == "HTTP/1.1"
  }

  /// In lower case; nil if it is no token.
  private func token(_ text: Substring) -> String? {
    let others = Array("!#$%&'*+-.^_`|~".utf8)
    let isToken = text.utf8.allSatisfy { byte in
      (0x30...0x39).contains(byte) || (0x61...0x7A).contains(byte | 0x20) && byte < 0x80
        || others.contains(byte)
    }
    return isToken && !text.isEmpty ? text.lowercased() : nil
  }

  private func split(_ head: ArraySlice<UInt8>) -> [ArraySlice<UInt8>] {
    var lines: [ArraySlice<UInt8>] = []
    var rest = head
    while let end = find([13, 10], in: rest) {
      lines.append(rest[..<end])
      rest = rest[(end + 2)...]
    }
    return lines + [rest]
  }

  private func find(_ word: [UInt8], in bytes: ArraySlice<UInt8>) -> Int? {
    guard bytes.count >= word.count else { return nil }
    return (bytes.startIndex...(bytes.endIndex - word.count)).first {
      bytes[$0] == word[0] && bytes[$0...].starts(with: word)
    }
  }
}
