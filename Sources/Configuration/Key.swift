// How a section of the configuration is declared: a plain struct with a table of keys.
//
// The table is the only declaration. The decoder, the schema, the reference and the error messages
// all use it, and the default of a key is the value that the struct's `init()` sets. So they can't
// contradict each other.

/// A struct that is written as an object in the file.
protocol Section: Hashable, Sendable {
  /// Every key at its default. A required key has a placeholder, which is never used, because the
  /// decoder refuses an object without that key.
  init()
  /// Its name in the schema and the reference, such as `listener`.
  static var title: String { get }
  /// One or two sentences for operators.
  static var about: String { get }
  static var keys: [Key<Self>] { get }
}

/// One key of a section.
struct Key<Root: Sendable>: Sendable {
  let name: String
  let isRequired: Bool
  /// Meaning, unit and reason of the default, for operators.
  let meaning: String
  let form: FormDescription
  /// Reads the value into the section; reports what is wrong with it.
  let read: @Sendable (JSON, inout Decoder, inout Root) -> Void
  /// The value in its written form; nil if there is none.
  let write: @Sendable (Root) -> JSON?

  /// A key with a default, or a required one.
  init<Value: Sendable>(
    _ name: String, _ property: any WritableKeyPath<Root, Value> & Sendable, _ form: Form<Value>,
    required isRequired: Bool = false, _ meaning: String
  ) {
    self.init(
      name, form, required: isRequired, meaning,
      get: { $0[keyPath: property] }, set: { $0[keyPath: property] = $1 })
  }

  /// A key that may be absent.
  init<Value: Sendable>(
    _ name: String, optional property: any WritableKeyPath<Root, Value?> & Sendable,
    _ form: Form<Value>, _ meaning: String
  ) {
    self.init(
      name, form, meaning, get: { $0[keyPath: property] }, set: { $0[keyPath: property] = $1 })
  }

  init<Value: Sendable>(
    _ name: String, _ form: Form<Value>, required isRequired: Bool = false, _ meaning: String,
    get: @escaping @Sendable (Root) -> Value?,
    set: @escaping @Sendable (inout Root, Value) -> Void
  ) {
    self.name = name
    self.isRequired = isRequired
    self.meaning = meaning
    self.form = form.description
    read = { json, decoder, root in
      if let value = form.read(json, &decoder) { set(&root, value) }
    }
    write = { get($0).map(form.write) }
  }
}

extension Section {
  /// The section in its written form, without keys that have their default.
  var json: JSON {
    let standard = Self()
    return .object(
      Self.keys.compactMap { key in
        guard let value = key.write(self) else { return nil }
        let isDefault = !key.isRequired && key.write(standard)?.compact == value.compact
        return isDefault ? nil : (key.name, value)
      })
  }
}
