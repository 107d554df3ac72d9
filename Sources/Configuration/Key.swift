// How a part of the configuration is declared: a section is a plain struct with a table of keys.
//
// The table is the only declaration there is. The decoder reads by it, the schema, the reference
// and the texts of errors are printed from it, and the default of a key is whatever the struct's
// own `init()` puts there. So none of these can disagree.

/// A struct that an object of the file describes.
protocol Section: Hashable, Sendable {
  /// Every key at its default. Where a required key has none, a placeholder stands that can't come
  /// through, since the decoder refuses an object without that key.
  init()
  /// Its name in the schema and the reference, such as `listener`.
  static var title: String { get }
  /// What it is, in a sentence or two, for operators.
  static var about: String { get }
  static var keys: [Key<Self>] { get }
}

/// One key of a section.
struct Key<Root: Sendable>: Sendable {
  let name: String
  let isRequired: Bool
  /// What it means, its unit and why the default is what it is, for operators.
  let meaning: String
  let form: FormDescription
  /// Reads the value into the section; reports what is wrong with it.
  let read: @Sendable (JSON, inout Decoder, inout Root) -> Void
  /// The value as it would be written; nil for one that isn't there.
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
  /// The section as it would be written, without the keys that are at their defaults.
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
