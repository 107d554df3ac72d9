// Decodes a document into a `Configuration`: keeps the current path, and collects diagnostics.
//
// It stores the origin of every value by its path, so that later checks of several values
// (`Validation`) can report the right line.

/// Walks through a document, collecting diagnostics.
struct Decoder {
  let source: SourceText
  /// Part of the text couldn't be read, so a missing key is not reported.
  let isPartial: Bool
  private(set) var diagnostics: [Diagnostic] = []
  private(set) var path = ""
  /// Whether the value at the current path may also be "off".
  private var mayBeOff = false
  /// The paths of lists with an item that could not be read. The items that were read do not
  /// represent the whole list, and their indices differ from those in the text.
  private var gaps: Set<String> = []
  private(set) var origins: [String: JSON.Origin] = [:]
  /// What the document refers to outside of itself, such as files, with the key of each.
  private(set) var references: [Configuration.Places.Reference] = []

  init(source: SourceText, isPartial: Bool) {
    self.source = source
    self.isPartial = isPartial
  }

  // MARK: Reporting

  /// The maximum number of reported errors, and of reported warnings. Each one costs time, mostly
  /// for the search for a similar name, and a file may have a million.
  static let findingMax = 100

  private var counts: [Diagnostic.Severity: Int] = [:]

  var hasErrors: Bool { counts[.error] != nil }

  /// Whether an error was reported about the value at `path`.
  func hasError(at path: String) -> Bool {
    diagnostics.contains { $0.key == path && $0.severity == .error }
  }

  /// There are more errors than are reported; the rest of the document is not read.
  var isFull: Bool { counts[.error, default: 0] > Self.findingMax }

  mutating func report(
    _ message: String, at origin: JSON.Origin, key: String? = nil, suggestion: String? = nil,
    severity: Diagnostic.Severity = .error
  ) {
    let count = counts[severity, default: 0] + 1
    counts[severity] = count
    if count > Self.findingMax + 1 { return }
    let place = source.place(origin)
    if count <= Self.findingMax {
      diagnostics.append(
        Diagnostic(severity, at: place, key: key ?? path, message, suggestion: suggestion))
    } else {
      diagnostics.append(
        Diagnostic(
          severity, at: place, key: "",
          "there are more \(severity.rawValue)s; the first \(Self.findingMax) found are reported"))
    }
  }

  /// Reports about the value at `path`, or at its nearest container in the text.
  mutating func report(
    key path: String, _ message: String, suggestion: String? = nil,
    severity: Diagnostic.Severity = .error
  ) {
    report(
      message, at: origins.nearest(to: path), key: path, suggestion: suggestion,
      severity: severity)
  }

  /// Reports that a value doesn't have the form.
  mutating func mismatch(_ json: JSON, _ form: FormDescription, suggestion: String? = nil) {
    if case .unreadable = json.value { return }
    let off = mayBeOff ? "; or \"off\"" : ""
    report("\(json.brief) is not \(form.noun); \(form.allowed)\(off)", at: json.origin,
      suggestion: suggestion)
  }

  /// Reports that a number is outside of its bounds.
  mutating func isOutOfRange(_ json: JSON, _ bounds: String) {
    let allowed = mayBeOff ? "\(bounds) or \"off\"" : bounds
    report("\(json.brief) is out of range; \(allowed) is allowed", at: json.origin)
  }

  /// Reads a value in place of which "off" is allowed, as messages about it say.
  mutating func orOff<Value>(_ read: (inout Decoder) -> Value?) -> Value? {
    mayBeOff = true
    defer { mayBeOff = false }
    return read(&self)
  }

  /// Stores that the value at the current path names something outside of the document.
  mutating func refer(to subject: String, at origin: JSON.Origin) {
    references.append(Configuration.Places.Reference(subject: subject, key: path, origin: origin))
  }

  /// Notes that an item of the list at `path` could not be read.
  mutating func noteGap(in path: String) { gaps.insert(path) }

  /// Whether an item of the list at `path` could not be read.
  func hasGap(in path: String) -> Bool { gaps.contains(path) }

  /// Whether this is true for a list at or below `path`.
  func hasGap(below path: String) -> Bool { gaps.contains { $0.hasPrefix(path) } }

  /// Whether the document has a value at `path`.
  func has(_ path: String) -> Bool { origins[path] != nil }

  // MARK: Walking

  mutating func within<Result>(
    _ component: String, _ json: JSON, _ body: (inout Decoder) -> Result
  ) -> Result {
    let (outer, outerMayBeOff) = (path, mayBeOff)
    path = component.hasPrefix("[") || outer.isEmpty ? outer + component : "\(outer).\(component)"
    mayBeOff = false
    origins[path] = json.origin
    defer { (path, mayBeOff) = (outer, outerMayBeOff) }
    return body(&self)
  }

  mutating func document<S: Section>(_ json: JSON, as: S.Type) -> S? {
    origins[""] = json.origin
    return section(json, as: S.self)
  }

  /// Reads an object by the keys of `S`; nil when it isn't an object.
  mutating func section<S: Section>(_ json: JSON, as: S.Type) -> S? {
    guard case .object(let members) = json.value else {
      mismatch(json, FormDescription.section(S.self))
      return nil
    }
    let keys = S.keys
    var result = S()
    var present = Set(members.map(\.name))
    for member in members {
      if isFull { return result }
      guard let key = keys.first(where: { $0.name == member.name }) else {
        let nearest = nearestName(to: member.name, among: keys.map(\.name))
        // The key is present but misspelt: don't report it as missing too.
        if let nearest { present.insert(nearest) }
        let known = keys.map(\.name).filter { $0 != "$schema" }.joined(separator: ", ")
        report(
          "there is no such key; the keys here are \(known)", at: member.nameOrigin,
          key: path.isEmpty ? member.name : "\(path).\(member.name)",
          suggestion: nearest.map { JSON.quoted($0) })
        continue
      }
      within(member.name, member.value) { key.read(member.value, &$0, &result) }
    }
    if !isPartial {
      for key in keys where key.isRequired && !present.contains(key.name) {
        report(
          "the key \"\(key.name)\" is missing: \(key.form.noun); \(key.form.allowed)",
          at: json.origin)
      }
    }
    return result
  }
}
