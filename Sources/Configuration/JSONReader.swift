// Reads JSON (RFC 8259) with comments, and keeps the place of every name and value.
//
// Recursive descent, no deeper than `maxDepth`. It goes on after an error, from the next comma or
// closing bracket, to report several at once; what couldn't be read is left as `.unreadable`.
// Beyond JSON it allows // and /* */ comments, and nothing else: a duplicate name, a trailing comma
// and text without quotes are errors with messages of their own. It terminates on any input, since
// every step takes at least one byte or leaves its container, and after too many errors it stops.

/// Reads one document.
struct JSONReader {
  /// Something that isn't JSON, by its offset.
  struct Problem: Equatable, Sendable {
    var offset: Int
    var message: String
  }

  /// A file larger than this is hardly a configuration.
  static let maxByteCount = 4 * 1024 * 1024
  /// More than any configuration needs, and little enough for the smallest stack.
  static let maxDepth = 32
  /// The rest would mostly be consequences of these.
  static let maxProblemCount = 20

  private let bytes: [UInt8]
  private var position = 0
  private var problems: [Problem] = []

  private init(_ bytes: [UInt8]) { self.bytes = bytes }

  /// The document, as far as it could be read, and what is wrong with it.
  static func read(_ bytes: [UInt8]) -> (document: JSON, problems: [Problem]) {
    if bytes.count > maxByteCount {
      let message = "\(bytes.count) bytes are too many; at most \(maxByteCount) are read"
      return (JSON(.unreadable), [Problem(offset: 0, message: message)])
    }
    do throws(UTF8.ValidationError) {
      _ = try UTF8Span(validating: bytes.span)
    } catch {
      let offset = error.byteOffsets.lowerBound
      let message = "this is not UTF-8 text"
      return (JSON(.unreadable), [Problem(offset: offset, message: message)])
    }
    var reader = JSONReader(bytes)
    // A byte order mark may be ignored (RFC 8259 8.1), and some editors write one.
    if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { reader.position = 3 }
    let document = reader.value(depth: 1)
    reader.skipSpace()
    if reader.problems.isEmpty && reader.next != nil {
      reader.report("nothing may follow the value that the file holds")
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
      report("the file ends where a value should stand")
      value = .unreadable
    case UInt8(ascii: "{"), UInt8(ascii: "["):
      if depth > Self.maxDepth {
        report("this is nested too deeply; at most \(Self.maxDepth) levels are read")
        skipToSeparator()
        value = .unreadable
      } else {
        value = next == UInt8(ascii: "{") ? object(depth: depth) : list(depth: depth)
      }
    case UInt8(ascii: "\""): value = string().map(JSON.Content.string) ?? .unreadable
    case let byte? where isWordByte(byte) || byte == UInt8(ascii: "+"): value = word()
    case UInt8(ascii: "'"):
      report("text stands between double quotes")
      skipToSeparator()
      value = .unreadable
    case let byte?:
      report("\(shown(byte)) stands where a value should")
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
        report("this \"[\" is never closed", at: start)
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
        report("this \"{\" is never closed", at: start)
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
        report("a colon and a value should follow the key \(JSON.quoted(name))")
        skipToSeparator()
        comma = takeComma()
        continue
      }
      position += 1
      let value = value(depth: depth + 1)
      if let first = seen[name] {
        let line = bytes[..<first].count { $0 == UInt8(ascii: "\n") } + 1
        report("the key \(JSON.quoted(name)) stands here again, after line \(line)", at: nameStart)
      } else {
        seen[name] = nameStart
        members.append(JSON.Member(name: name, nameOrigin: .offset(nameStart), value: value))
      }
      comma = separator(after: value, closing: "}")
    }
  }

  /// A member's name; nil after reporting that there is none, with the position unmoved.
  private mutating func name() -> String? {
    guard let byte = next else { return nil }
    if byte == UInt8(ascii: "\"") { return string() }
    if isWordByte(byte) {
      let word = takeWord()
      report("the key \(word.text) needs double quotes", at: word.start)
      return word.text
    }
    report("\(shown(byte)) stands where a key in double quotes should")
    return nil
  }

  /// Takes the bracket that ends a container, which may be the wrong one.
  private mutating func closes(with bracket: UInt8, openedAt start: Int, _ comma: Int?) {
    if let comma { report("a comma may not stand before the closing bracket", at: comma) }
    if next != bracket && position < bytes.count {
      report("\(shown(bytes[position])) stands where \(shown(bracket)) should")
    }
    position = min(position + 1, bytes.count)
  }

  /// Takes the comma behind `item`, and returns where it stood; nil when there was none.
  private mutating func separator(after item: JSON, closing: String) -> Int? {
    skipSpace()
    switch next {
    case nil, UInt8(ascii: ","), UInt8(ascii: "]"), UInt8(ascii: "}"): break
    default:
      if case .unreadable = item.value {
        skipToSeparator()
      } else {
        report("a comma or \"\(closing)\" should stand before this")
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

  /// Takes word bytes, and a sign wherever one may stand in a number.
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
          ? "\(text) is not a number as JSON writes them; text needs double quotes"
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

  /// Text between double quotes, with its escapes undone; nil after reporting what is wrong.
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
        report("this text is never closed; its end would be a double quote on the line", at: start)
        return nil
      case 0..<0x20:
        report("control characters are written as escapes in text, such as \\t")
        isWhole = false
        position = min(position + 1, bytes.count)
      default:
        text.append(byte)
        position += 1
      }
    }
    report("this text is never closed", at: start)
    return nil
  }

  /// What an escape stands for (RFC 8259 7); nil after reporting a wrong one.
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
        report("four hexadecimal digits should follow \\u", at: start)
        return nil
      }
      if let scalar = Unicode.Scalar(unit) { return scalar }
      // A half of a pair: only the first followed by the second means something.
      if unit < 0xDC00 && next == UInt8(ascii: "\\") && position + 1 < bytes.count
        && bytes[position + 1] == UInt8(ascii: "u")
      {
        position += 2
        if let low = fourHexadecimalDigits(), (0xDC00...0xDFFF).contains(low) {
          return Unicode.Scalar(0x10000 + (unit - 0xD800) << 10 + (low - 0xDC00))
        }
      }
      report("this is one half of a surrogate pair; the other should follow or precede", at: start)
      return nil
    default:
      report("there is no such escape; a backslash itself is written \\\\", at: start)
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
    report("this comment is never closed", at: start)
  }

  /// Skips what can't be read, up to the next comma or closing bracket of the same level.
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

  /// A byte as messages show it: the whole character when it is the first of several.
  private func shown(_ byte: UInt8) -> String {
    if byte < 0x80 { return JSON.quoted(String(Character(Unicode.Scalar(byte)))) }
    let text = String(decoding: bytes[position..<min(position + 4, bytes.count)], as: UTF8.self)
    return JSON.quoted(text.prefix(1))
  }
}
