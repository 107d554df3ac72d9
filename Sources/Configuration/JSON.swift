// A JSON value with its place in the text, and the code that writes JSON.
//
// The reader makes these values, command line flags replace some of them, and the decoder turns
// them into a `Configuration`. The schema and the defaults in the documentation are such values
// too, made from literals. Members keep their order; the reader has removed duplicates.

/// One JSON value with its origin.
struct JSON: Sendable {
  indirect enum Content: Sendable {
    case null
    case bool(Bool)
    /// As written, because messages show it unchanged.
    case number(String)
    case string(String)
    case list([JSON])
    case object([Member])
    /// Invalid JSON, already reported.
    case unreadable
  }

  /// Where a value or a name comes from.
  enum Origin: Hashable, Sendable {
    /// Its first byte in the file.
    case offset(Int)
    /// The flag that gave it.
    case flag(String)
    /// A default, or part of the schema.
    case none
  }

  struct Member: Sendable {
    var name: String
    var nameOrigin: Origin
    var value: JSON
  }

  var value: Content
  var origin: Origin

  init(_ value: Content, origin: Origin = .none) {
    self.value = value
    self.origin = origin
  }

  static func string(_ text: String) -> JSON { JSON(.string(text)) }
  static func integer(_ number: Int) -> JSON { JSON(.number("\(number)")) }
  static func list(_ items: [JSON]) -> JSON { JSON(.list(items)) }
  static func object(_ members: [(String, JSON)]) -> JSON {
    JSON(.object(members.map { Member(name: $0, nameOrigin: .none, value: $1) }))
  }

  /// The member of that name, if this is an object that has it. Setting nil removes it. Setting
  /// does nothing if this isn't an object; the decoder reports that.
  subscript(name: String) -> JSON? {
    get {
      guard case .object(let members) = value else { return nil }
      return members.first { $0.name == name }?.value
    }
    set {
      guard case .object(var members) = value else { return }
      let index = members.firstIndex { $0.name == name }
      switch (index, newValue) {
      case (let index?, let new?): members[index].value = new
      case (let index?, nil): members.remove(at: index)
      case (nil, let new?):
        members.append(Member(name: name, nameOrigin: new.origin, value: new))
      case (nil, nil): break
      }
      value = .object(members)
    }
  }

  /// The items of a list; nil for anything else.
  var items: [JSON]? {
    if case .list(let items) = value { items } else { nil }
  }

  var text: String? {
    if case .string(let text) = value { text } else { nil }
  }

  /// The text of a number or a boolean, as written; nil for anything else.
  var scalarText: String? {
    switch value {
    case .number(let text): text
    case .bool(let flag): "\(flag)"
    case .null, .string, .list, .object, .unreadable: nil
    }
  }

  /// The suggestion `"off"` for false and null; nil for anything else.
  var offForFalse: String? {
    switch value {
    case .null, .bool(false): "\"off\""
    case .bool, .number, .string, .list, .object, .unreadable: nil
    }
  }

  var integer: Int? {
    if case .number(let text) = value { Int(text) } else { nil }
  }

  /// The same value, with `origin` on all of it.
  func from(_ origin: Origin) -> JSON {
    switch value {
    case .list(let items):
      JSON(.list(items.map { $0.from(origin) }), origin: origin)
    case .object(let members):
      JSON(
        .object(
          members.map {
            Member(name: $0.name, nameOrigin: origin, value: $0.value.from(origin))
          }), origin: origin)
    default: JSON(value, origin: origin)
    }
  }

  /// For messages: short values as they are, others by their type.
  var brief: String {
    switch value {
    case .null: "null"
    case .bool(let flag): "\(flag)"
    case .number(let text): text.count <= 40 ? text : "\(text.prefix(40))..."
    case .string(let text):
      Self.quoted(text.count <= 60 ? text : text.prefix(60) + "...")
    case .list: "a list"
    case .object: "an object"
    case .unreadable: "this value"
    }
  }

  /// The value as JSON text: on one line if it fits into 100 columns, else indented by two.
  /// `prefix` columns after the indentation are already used.
  func formatted(indent: String = "", prefix: Int = 0) -> String {
    let flat = compact
    // One column is for a comma.
    if indent.count + prefix + flat.unicodeScalars.count < 100 { return flat }
    let inner = indent + "  "
    switch value {
    case .list(let items) where !items.isEmpty:
      let lines = items.map { inner + $0.formatted(indent: inner) }
      return "[\n" + lines.joined(separator: ",\n") + "\n\(indent)]"
    case .object(let members) where !members.isEmpty:
      let lines = members.map { member in
        let name = "\(Self.quoted(member.name)): "
        return inner + name + member.value.formatted(indent: inner, prefix: name.count)
      }
      return "{\n" + lines.joined(separator: ",\n") + "\n\(indent)}"
    default: return flat
    }
  }

  /// The value as JSON text on one line.
  var compact: String {
    switch value {
    case .null, .unreadable: "null"
    case .bool(let flag): "\(flag)"
    case .number(let text): text
    case .string(let text): Self.quoted(text)
    case .list(let items): "[" + items.map(\.compact).joined(separator: ", ") + "]"
    case .object(let members):
      members.isEmpty
        ? "{}"
        : "{ "
          + members.map { "\(Self.quoted($0.name)): \($0.value.compact)" }
          .joined(separator: ", ") + " }"
    }
  }

  /// `text` as a JSON string. Control characters are escaped, to protect the terminal.
  static func quoted(_ text: some StringProtocol) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      case "\n": result += "\\n"
      case "\r": result += "\\r"
      case "\t": result += "\\t"
      case _ where scalar.value < 0x20 || (0x7F..<0xA0).contains(scalar.value):
        let digits = String(scalar.value, radix: 16)
        result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result + "\""
  }
}

extension JSON: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral,
  ExpressibleByBooleanLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
  init(stringLiteral text: String) { self = .string(text) }
  init(integerLiteral number: Int) { self = .integer(number) }
  init(booleanLiteral flag: Bool) { self.init(.bool(flag)) }
  init(arrayLiteral items: JSON...) { self = .list(items) }
  init(dictionaryLiteral members: (String, JSON)...) { self = .object(members) }
}
