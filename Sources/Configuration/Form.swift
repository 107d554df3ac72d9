// The form of a value: how it is read from JSON and written back, what the schema says of it, and
// how messages and the reference describe it. Simple values are in `Form+Values`, addresses and
// other text of HTTP in `Form+Addresses`; here is how they combine.

/// What a reader of messages, reference or schema needs to know about a form.
struct FormDescription: Sendable {
  /// With its article, as in "5 is not a duration".
  let noun: String
  /// Goes on from there: "write one such as ...".
  let allowed: String
  /// One word or two in the table of the reference.
  let kind: String
  let schema: JSON

  static func section<S: Section>(_: S.Type) -> FormDescription {
    let keys = S.keys.map(\.name).filter { $0 != "$schema" }
    return FormDescription(
      noun: "an object", allowed: "write { } with the keys " + keys.joined(separator: ", "),
      kind: "[\(S.title)](#\(S.title.anchor))",
      schema: ["$ref": .string("#/$defs/\(S.title.anchor)")])
  }
}

extension String {
  /// The title of a section as a fragment of an address.
  var anchor: String { lowercased().replacing(" ", with: "-") }
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

  /// A form whose values are what `parse` makes of text, with nothing more to say than that it
  /// isn't one.
  init(
    text description: FormDescription, parse: @escaping @Sendable (String) -> Value?,
    suggest: @escaping @Sendable (String) -> String? = { _ in nil },
    write: @escaping @Sendable (Value) -> String
  ) {
    self.init(description) { json, decoder in
      if let text = json.text, let value = parse(text) { return value }
      let suggestion = json.text.flatMap(suggest)
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
      noun: "a list", allowed: "it stands in [ ], and each item is \(element.description.noun)",
      kind: "list of \(element.description.kind)", schema: schema)
    return Form(description) { json, decoder in
      guard let items = json.items else {
        decoder.mismatch(json, description)
        decoder.noteGap(in: decoder.path)
        return nil
      }
      if items.count < minimum && !decoder.isPartial {
        decoder.report("the list is empty; at least one item is needed", at: json.origin)
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
        schema: ["anyOf": [element.description.schema, list.description.schema]])
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
        schema: ["anyOf": [form.description.schema, ["const": "off"]]])
    ) { json, decoder in
      if json.text == "off" { return .some(.none) }
      return form.read(json, &decoder).map { .some($0) }
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

  /// An object with the keys of its section, or its most important value alone.
  static func section<Short: Sendable>(
    or short: Form<Short>, expand: @escaping @Sendable (Short) -> Value,
    shorten: @escaping @Sendable (Value) -> Short?
  ) -> Form {
    let section = FormDescription.section(Value.self)
    return Form(
      FormDescription(
        noun: short.description.noun,
        allowed: short.description.allowed + "; or an object for the other keys of a "
          + Value.title,
        kind: short.description.kind + " or " + section.kind,
        schema: ["anyOf": [short.description.schema, section.schema]])
    ) { json, decoder in
      if case .object = json.value { return decoder.section(json, as: Value.self) }
      return short.read(json, &decoder).map(expand)
    } write: { value in
      shorten(value).map(short.write) ?? value.json
    }
  }
}
