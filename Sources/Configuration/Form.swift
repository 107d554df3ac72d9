// The form of a value: how to read it from JSON and write it, its JSON Schema, and its description
// in messages and in the reference. `Form+Values` has simple values, `Form+Addresses` has addresses
// and other text of HTTP; this file combines them.

/// How messages, the reference and the schema describe a form.
struct FormDescription: Sendable {
  /// With its article, as in "5 is not a duration".
  let noun: String
  /// The rest of the message: "write one such as ...".
  let allowed: String
  /// One or two words for the table in the reference.
  let kind: String
  let schema: JSON
  /// The keys of the object that may be written here, or in the items of the list, by name.
  var member: @Sendable (String) -> Member? = { _ in nil }

  /// What stands for a value in an example.
  private var example: String { kind.hasPrefix("list of ") ? "[ ... ]" : "..." }

  /// A key of a section.
  struct Member: Sendable {
    let form: FormDescription
    /// As in the file; nil if the key is required, or has no default that can be written.
    let standard: JSON?
  }

  static func section<S: Section>(_: S.Type) -> FormDescription {
    let keys = S.keys.filter { $0.name != "$schema" }
    let names = keys.map(\.name).joined(separator: ", ")
    let only = keys.count == 1 ? keys.first : nil
    let example = only.map { "{ \"\($0.name)\": \($0.form.example) }" }
    return FormDescription(
      noun: "an object", allowed: "write " + (example ?? "{ } with the keys \(names)"),
      kind: "[\(S.title)](#\(S.title.anchor))",
      schema: ["$ref": .string("#/$defs/\(S.title.anchor)")]
    ) { name in
      S.keys.first { $0.name == name }.map { key in
        Member(form: key.form, standard: key.isRequired ? nil : key.write(S()))
      }
    }
  }
}

extension String {
  /// The title of a section as the fragment of a URL.
  var anchor: String { lowercased().replacing(" ", with: "-") }
}

/// The suggestion for a value that is not in a list although its key requires one.
private func asOnlyItem(_ json: JSON) -> String? {
  switch json.value {
  case .string, .number: "[\(json.compact)]"
  case .object: "[{ ... }]"
  case .null, .bool, .list, .unreadable: nil
  }
}

/// How one kind of value is read and written.
struct Form<Value: Sendable>: Sendable {
  let description: FormDescription
  /// Nil after reporting what is wrong.
  let read: @Sendable (JSON, inout Decoder) -> Value?
  let write: @Sendable (Value) -> JSON

  init(
    _ description: FormDescription, read: @escaping @Sendable (JSON, inout Decoder) -> Value?,
    write: @escaping @Sendable (Value) -> JSON
  ) {
    self.description = description
    self.read = read
    self.write = write
  }

  /// A form for text. `parse` returns nil for an invalid text; `suggest` returns a valid one to
  /// propose instead.
  init(
    text description: FormDescription, parse: @escaping @Sendable (String) -> Value?,
    suggest: @escaping @Sendable (String) -> String? = { _ in nil },
    write: @escaping @Sendable (Value) -> String
  ) {
    self.init(description) { json, decoder in
      if let text = json.text, let value = parse(text) { return value }
      // A number or a boolean lacks its quotes.
      let unquoted = json.scalarText.flatMap { parse($0) == nil ? nil : $0 }
      let suggestion = json.text.map(suggest) ?? unquoted
      decoder.mismatch(json, description, suggestion: suggestion.map { JSON.quoted($0) })
      return nil
    } write: {
      .string(write($0))
    }
  }

  /// A list of at least `minimum` items.
  static func list<Element: Sendable>(of element: Form<Element>, minimum: Int = 0) -> Form
  where Value == [Element] {
    var schema: JSON = ["type": "array", "items": element.description.schema]
    if minimum > 0 { schema["minItems"] = .integer(minimum) }
    let description = FormDescription(
      noun: "a list", allowed: "write [ ... ], where each item is \(element.description.noun)",
      kind: "list of \(element.description.kind)", schema: schema,
      member: element.description.member)
    return Form(description) { json, decoder in
      guard let items = json.items else {
        decoder.mismatch(json, description, suggestion: asOnlyItem(json))
        decoder.noteGap(in: decoder.path)
        return nil
      }
      if items.count < minimum && !decoder.isPartial {
        decoder.report("the list is empty; at least one item is required", at: json.origin)
      }
      let path = decoder.path
      var values: [Element] = []
      for (index, item) in items.enumerated() where !decoder.isFull {
        let value = decoder.within("[\(index)]", item) { element.read(item, &$0) }
        if let value { values.append(value) } else { decoder.noteGap(in: path) }
      }
      return values
    } write: {
      .list($0.map(element.write))
    }
  }

  /// One value, or a list of them.
  static func oneOrMore<Element: Sendable>(of element: Form<Element>) -> Form
  where Value == [Element] {
    let list = Form.list(of: element, minimum: 1)
    return Form(
      FormDescription(
        noun: element.description.noun,
        allowed: element.description.allowed + "; or a list of them",
        kind: "\(element.description.kind), or a list",
        schema: ["anyOf": [element.description.schema, list.description.schema]],
        member: element.description.member)
    ) { json, decoder in
      if json.items != nil { return list.read(json, &decoder) }
      return element.read(json, &decoder).map { [$0] }
    } write: {
      $0.count == 1 ? element.write($0[0]) : list.write($0)
    }
  }

  /// A value, or `"off"` for nil.
  static func off<Wrapped: Sendable>(or form: Form<Wrapped>) -> Form where Value == Wrapped? {
    Form(
      FormDescription(
        noun: form.description.noun, allowed: form.description.allowed + "; or \"off\"",
        kind: form.description.kind + " or `\"off\"`",
        schema: ["anyOf": [form.description.schema, ["const": "off"]]],
        member: form.description.member)
    ) { json, decoder in
      if json.text == "off" { return .some(.none) }
      return decoder.orOff { decoder in
        if let off = json.offForFalse {
          decoder.mismatch(json, form.description, suggestion: off)
          return nil
        }
        return form.read(json, &decoder).map { .some($0) }
      }
    } write: {
      $0.map(form.write) ?? "off"
    }
  }
}

extension Form where Value: Section {
  /// An object with the keys of its section.
  static var section: Form {
    Form(.section(Value.self)) { json, decoder in
      decoder.section(json, as: Value.self)
    } write: {
      $0.json
    }
  }

  /// An object with the keys of its section, or only its most important value.
  static func section<Short: Sendable>(
    or short: Form<Short>, expand: @escaping @Sendable (Short) -> Value,
    shorten: @escaping @Sendable (Value) -> Short?
  ) -> Form {
    let section = FormDescription.section(Value.self)
    return Form(
      FormDescription(
        noun: short.description.noun,
        allowed: short.description.allowed + "; or write an object to set more keys of a "
          + Value.title,
        kind: short.description.kind + " or " + section.kind,
        schema: ["anyOf": [short.description.schema, section.schema]],
        member: section.member)
    ) { json, decoder in
      if case .object = json.value { return decoder.section(json, as: Value.self) }
      return short.read(json, &decoder).map(expand)
    } write: { value in
      shorten(value).map(short.write) ?? value.json
    }
  }
}
