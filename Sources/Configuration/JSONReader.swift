// Reads JSON (RFC 8259) with comments, and keeps the place of every name and value.
//
// Recursive descent, at most `maxDepth` levels. After an error it continues at the next comma or
// closing bracket, to report several errors at once; a value with an error becomes `.unreadable`.
// Beyond JSON it only allows // and /* */ comments: a duplicate name, a trailing comma and text
// without quotes are errors with their own messages. It terminates on any input, because every step
// takes at least one byte or leaves its container, and it stops after too many errors.

/// Reads one document.
struct JSONReader {
  /// An error in the JSON, at an offset.
  struct Problem: Equatable, Sendable {
    var offset: Int
    var message: String
  }

  /// No configuration needs a larger file.
  static let maxByteCount = 4 * 1024 * 1024
  /// More than any configuration needs, and safe on a small stack.
  static let maxDepth = 32
  /// Further errors are mostly consequences of these.
  static let maxProblemCount = 20

  private let bytes: [UInt8]
  private var position = 0
  private var problems: [Problem] = []

  private init(_ bytes: [UInt8]) { self.bytes = bytes }

  /// The part of the document that could be read, and the errors in it.
  static func read(_ bytes: [UInt8]) -> (document: JSON, problems: [Problem]) {
    if bytes.count > maxByteCount {
      let message = "the file has \(bytes.count) bytes; at most \(maxByteCount) are allowed"
      return (JSON(.unreadable), [Problem(offset: 0, message: message)])
    }
    do throws(UTF8.ValidationError) {
      _ = try UTF8Span(validating: bytes.span)
    } catch {
      let offset = error.byteOffsets.lowerBound
      let message = "this is not valid UTF-8"
      return (JSON(.unreadable), [Problem(offset: offset, message: message)])
    }
    var reader = JSONReader(bytes)
    // Some editors write a byte order mark; readers may ignore it (RFC 8259 8.1).
    if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { reader.position = 3 }
    let document = reader.value(depth: 1)
    reader.skipSpace()
    if reader.problems.isEmpty && reader.next != nil {
      reader.report("unexpected text after the end of the configuration")
    }
    return (document, reader.problems)
  }

  // MARK: Values

  private var next: UInt8? { position < bytes.count ? bytes[position] : nil }

  private mutating func report(_ message: String, at offset: Int? = nil) {
    guard problems.count < Self.maxProblemCount else { return }
    problems.append(Problem(offset: offset ?? position, message: message))
    if problems.count == Self.maxProblemCount { position = bytes.count }
  }

  private mutating func value(depth: Int) -> JSON {
    skipSpace()
    let start = position
    let value: JSON.Content
    switch next {
    case nil:
      report("the file ends where a value is expected")
      value = .unreadable
    case UInt8(ascii: "{"), UInt8(ascii: "["):
      if depth > Self.maxDepth {
        report("this is nested too deeply; at most \(Self.maxDepth) levels are allowed")
        skipToSeparator()
        value = .unreadable
      } else {
        value = next == UInt8(ascii: "{") ? object(depth: depth) : list(depth: depth)
      }
    case UInt8(ascii: "\""): value = string().map(JSON.Content.string) ?? .unreadable
    case let byte? where isWordByte(byte) || byte == UInt8(ascii: "+"): value = word()
    case UInt8(ascii: "'"):
      report("use double quotes for text")
      skipToSeparator()
      value = .unreadable
    case let byte?:
      report("unexpected \(shown(byte)); a value is expected here")
      skipToSeparator()
      value = .unreadable
    }
    return JSON(value, origin: .offset(start))
  }

  private mutating func list(depth: Int) -> JSON.Content {
    let start = position
    position += 1
    var items: [JSON] = []
    var comma: Int?
    while true {
      skipSpace()
      switch next {
      case nil:
        report("this \"[\" is not closed", at: start)
        return .list(items)
      case UInt8(ascii: "]"), UInt8(ascii: "}"):
        closes(with: UInt8(ascii: "]"), openedAt: start, comma)
        return .list(items)
      case UInt8(ascii: ","):
        report("a value is missing before this comma")
        position += 1
      default:
        let item = value(depth: depth + 1)
        items.append(item)
        comma = separator(after: item, closing: "]")
      }
    }
  }

  private mutating func object(depth: Int) -> JSON.Content {
    let start = position
    position += 1
    var members: [JSON.Member] = []
    var seen: [String: Int] = [:]
    var comma: Int?
    while true {
      skipSpace()
      switch next {
      case nil:
        report("this \"{\" is not closed", at: start)
        return .object(members)
      case UInt8(ascii: "}"), UInt8(ascii: "]"):
        closes(with: UInt8(ascii: "}"), openedAt: start, comma)
        return .object(members)
      case UInt8(ascii: ","):
        report("a key is missing before this comma")
        position += 1
        continue
      default: break
      }
      let nameStart = position
      guard let name = name() else {
        skipToSeparator()
        comma = takeComma()
        continue
      }
      skipSpace()
      guard next == UInt8(ascii: ":") else {
        report("a colon and a value must follow the key \(JSON.quoted(name))")
        skipToSeparator()
        comma = takeComma()
        continue
      }
      position += 1
      let value = value(depth: depth + 1)
      if let first = seen[name] {
        let line = bytes[..<first].count { $0 == UInt8(ascii: "\n") } + 1
        report("duplicate key \(JSON.quoted(name)); line \(line) has it already", at: nameStart)
      } else {
        seen[name] = nameStart
        members.append(JSON.Member(name: name, nameOrigin: .offset(nameStart), value: value))
      }
      comma = separator(after: value, closing: "}")
    }
  }

  /// A member's name; nil after reporting that there is none, with the position unchanged.
  private mutating func name() -> String? {
    guard let byte = next else { return nil }
    if byte == UInt8(ascii: "\"") { return string() }
    if isWordByte(byte) {
      let word = takeWord()
      report("the key \(word.text) needs double quotes", at: word.start)
      return word.text
    }
    report("unexpected \(shown(byte)); a key in double quotes is expected here")
    return nil
  }

  /// Takes the bracket that ends a container, which may be the wrong one.
  private mutating func closes(with bracket: UInt8, openedAt start: Int, _ comma: Int?) {
    if let comma { report("a comma is not allowed before a closing bracket", at: comma) }
    if next != bracket && position < bytes.count {
      report("unexpected \(shown(bytes[position])); \(shown(bracket)) is expected here")
    }
    position = min(position + 1, bytes.count)
  }

  /// Takes the comma after `item`, and returns its position; nil if there was none.
  private mutating func separator(after item: JSON, closing: String) -> Int? {
    skipSpace()
    switch next {
    case nil, UInt8(ascii: ","), UInt8(ascii: "]"), UInt8(ascii: "}"): break
    default:
      if case .unreadable = item.value {
        skipToSeparator()
      } else {
        report("a comma or \"\(closing)\" is missing before this")
        // The next value or key is probably fine: only the comma was forgotten.
        if next != UInt8(ascii: "\"") && next != UInt8(ascii: "{") { skipToSeparator() }
      }
    }
    return takeComma()
  }

  private mutating func takeComma() -> Int? {
    guard next == UInt8(ascii: ",") else { return nil }
    position += 1
    return position - 1
  }

  // MARK: Words, numbers, text

  private func isWordByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"),
      UInt8(ascii: "."), UInt8(ascii: "$"), 0x80...:
      true
    default: false
    }
  }

  /// Takes word bytes, and the sign in a number.
  private mutating func takeWord() -> (text: String, start: Int) {
    let start = position
    while let byte = next, isWordByte(byte) || byte == UInt8(ascii: "+") { position += 1 }
    return (String(decoding: bytes[start..<position], as: UTF8.self), start)
  }

  private mutating func word() -> JSON.Content {
    let word = takeWord()
    switch word.text {
    case "true": return .bool(true)
    case "false": return .bool(false)
    case "null": return .null
    case let text where isNumber(Array(text.utf8)): return .number(text)
    case let text:
      let isNumeric = text.utf8.first.map { !(0x41...0x7A).contains($0) } ?? false
      let start = word.start
      report(
        isNumeric
          ? "\(text) is not a valid JSON number; text needs double quotes"
          : "\(text) is not a JSON value; text needs double quotes", at: start)
      return .unreadable
    }
  }

  /// RFC 8259 6: minus, digits without a leading zero, fraction, exponent.
  private func isNumber(_ text: [UInt8]) -> Bool {
    var rest = text[...]
    func digits(_ rest: inout ArraySlice<UInt8>) -> Int {
      let run = rest.prefix { (0x30...0x39).contains($0) }
      rest = rest.dropFirst(run.count)
      return run.count
    }
    if rest.first == UInt8(ascii: "-") { rest.removeFirst() }
    let leadingZero = rest.first == UInt8(ascii: "0")
    let whole = digits(&rest)
    if whole == 0 || (leadingZero && whole > 1) { return false }
    if rest.first == UInt8(ascii: ".") {
      rest.removeFirst()
      if digits(&rest) == 0 { return false }
    }
    if rest.first == UInt8(ascii: "e") || rest.first == UInt8(ascii: "E") {
      rest.removeFirst()
      if rest.first == UInt8(ascii: "+") || rest.first == UInt8(ascii: "-") { rest.removeFirst() }
      if digits(&rest) == 0 { return false }
    }
    return rest.isEmpty
  }

  /// Text in double quotes, with its escapes decoded; nil after reporting an error.
  private mutating func string() -> String? {
    let start = position
    position += 1
    var text: [UInt8] = []
    var isWhole = true
    while let byte = next {
      switch byte {
      case UInt8(ascii: "\""):
        position += 1
        return isWhole ? String(decoding: text, as: UTF8.self) : nil
      case UInt8(ascii: "\\"):
        if let scalar = escape() {
          text.append(contentsOf: Array(String(Character(scalar)).utf8))
        } else {
          isWhole = false
        }
      case UInt8(ascii: "\n"):
        report("this text is not closed: a double quote is missing", at: start)
        return nil
      case 0..<0x20:
        report("write control characters in text as escapes, such as \\t")
        isWhole = false
        position = min(position + 1, bytes.count)
      default:
        text.append(byte)
        position += 1
      }
    }
    report("this text is not closed", at: start)
    return nil
  }

  /// The character of an escape (RFC 8259 7); nil after reporting an invalid one.
  private mutating func escape() -> Unicode.Scalar? {
    let start = position
    position += 1
    guard let byte = next else { return nil }
    position += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return Unicode.Scalar(byte)
    case UInt8(ascii: "b"): return "\u{8}"
    case UInt8(ascii: "f"): return "\u{C}"
    case UInt8(ascii: "n"): return "\n"
    case UInt8(ascii: "r"): return "\r"
    case UInt8(ascii: "t"): return "\t"
    case UInt8(ascii: "u"):
      guard let unit = fourHexadecimalDigits() else {
        report("four hexadecimal digits must follow \\u", at: start)
        return nil
      }
      if let scalar = Unicode.Scalar(unit) { return scalar }
      // Half of a surrogate pair: valid only if the first half is followed by the second.
      if unit < 0xDC00 && next == UInt8(ascii: "\\") && position + 1 < bytes.count
        && bytes[position + 1] == UInt8(ascii: "u")
      {
        position += 2
        if let low = fourHexadecimalDigits(), (0xDC00...0xDFFF).contains(low) {
          return Unicode.Scalar(0x10000 + (unit - 0xD800) << 10 + (low - 0xDC00))
        }
      }
      report("this is one half of a surrogate pair; the other half is missing", at: start)
      return nil
    default:
      report("unknown escape; write a backslash as \\\\", at: start)
      return nil
    }
  }

  private mutating func fourHexadecimalDigits() -> UInt32? {
    guard position + 4 <= bytes.count else { return nil }
    var unit: UInt32 = 0
    for byte in bytes[position..<position + 4] {
      guard let digit = Character(Unicode.Scalar(byte)).hexDigitValue else { return nil }
      unit = unit << 4 | UInt32(digit)
    }
    position += 4
    return unit
  }

  // MARK: Moving on

  private mutating func skipSpace() {
    while let byte = next {
      switch byte {
      case 0x20, 0x09, 0x0A, 0x0D: position += 1
      case UInt8(ascii: "/"):
        let second = position + 1 < bytes.count ? bytes[position + 1] : 0
        if second == UInt8(ascii: "/") {
          while let byte = next, byte != UInt8(ascii: "\n") { position += 1 }
        } else if second == UInt8(ascii: "*") {
          skipBlockComment()
        } else {
          return
        }
      default: return
      }
    }
  }

  private mutating func skipBlockComment() {
    let start = position
    position += 2
    while position + 1 < bytes.count {
      if bytes[position] == UInt8(ascii: "*") && bytes[position + 1] == UInt8(ascii: "/") {
        position += 2
        return
      }
      position += 1
    }
    position = bytes.count
    report("this comment is not closed", at: start)
  }

  /// Skips invalid text, up to the next comma or closing bracket of the same level.
  private mutating func skipToSeparator() {
    var depth = 0
    while true {
      skipSpace()
      guard let byte = next else { return }
      switch byte {
      case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
      case UInt8(ascii: "}"), UInt8(ascii: "]"):
        if depth == 0 { return }
        depth -= 1
      case UInt8(ascii: ","):
        if depth == 0 { return }
      case UInt8(ascii: "\""):
        skipString()
        continue
      default: break
      }
      position += 1
    }
  }

  /// Skips text up to its closing quote or the end of its line.
  private mutating func skipString() {
    position += 1
    while let byte = next, byte != UInt8(ascii: "\n") {
      position = min(position + (byte == UInt8(ascii: "\\") ? 2 : 1), bytes.count)
      if byte == UInt8(ascii: "\"") { return }
    }
  }

  /// A byte for messages; the whole character if it is the first byte of one.
  private func shown(_ byte: UInt8) -> String {
    if byte < 0x80 { return JSON.quoted(String(Character(Unicode.Scalar(byte)))) }
    let text = String(decoding: bytes[position..<min(position + 4, bytes.count)], as: UTF8.self)
    return JSON.quoted(text.prefix(1))
  }
}
