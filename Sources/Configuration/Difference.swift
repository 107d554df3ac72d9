// The differences between two configurations, one line per change, for `martlet diff`, `martlet
// check` and the dashboard.
//
// Both are compared in their written form, so a default that is written out is no change. Named
// items (listeners, pools, backends) are matched by name, so their order doesn't matter. This file
// knows no single keys, except those that name an item, and those that a reload can't change.

extension Configuration {
  /// One difference.
  public struct Change: Hashable, Sendable {
    public enum Kind: String, Sendable { case added, removed, changed }

    public let kind: Kind
    /// Such as `pools[app].backends[10.0.0.1:8080].weight`.
    public let what: String
    /// As JSON, with the default of a key that is left out; nil if it has none.
    public let old: String?
    public let new: String?
    /// A reload doesn't apply it; an upgrade or a restart does.
    public let needsRestart: Bool
  }

  /// Keys that a process reads only at its start. A reload names those that have changed, and
  /// applies all other keys.
  static let keysOfTheStart: Set<String> = [
    "workers", "process.user", "process.group", "process.core-dumps",
  ]

  /// The differences of `other`, sorted by path.
  public func changes(to other: Configuration) -> [Change] {
    var comparison = Comparison()
    let (old, new) = (spelledOut(beside: other), other.spelledOut(beside: self))
    let place = FormDescription.Member(form: .section(Configuration.self), standard: nil)
    comparison.compare(old.comparedJSON, new.comparedJSON, at: "", place)
    return comparison.changes.sorted { ($0.what, $0.kind.rawValue) < ($1.what, $1.kind.rawValue) }
  }

  /// With the default protocols of listeners where `other` has written its own.
  private func spelledOut(beside other: Configuration) -> Configuration {
    let written = Set(other.listeners.filter { $0.protocols != nil }.map(\.name))
    var result = self
    for index in listeners.indices where written.contains(listeners[index].name) {
      result.listeners[index].protocols = listeners[index].spokenProtocols
    }
    return result
  }

  /// With the default listener, which is replaced when listeners are configured.
  private var comparedJSON: JSON {
    var json = self.json
    json["listeners"] = .list(listeners.map(\.json))
    return json
  }

  /// `changes` as a list in JSON, for programs.
  public static func json(of changes: [Change]) -> String {
    JSON.list(
      changes.map { change in
        var members: [(String, JSON)] = [
          ("change", .string(change.kind.rawValue)), ("what", .string(change.what)),
        ]
        if let old = change.old { members.append(("old", .string(old))) }
        if let new = change.new { members.append(("new", .string(new))) }
        members.append(("needs-restart", JSON(.bool(change.needsRestart))))
        return .object(members)
      }
    ).formatted() + "\n"
  }

  /// The changes that `json(of:)` wrote; nil for any other text.
  public static func changes(ofJSON bytes: [UInt8]) -> [Change]? {
    let (document, problems) = JSONReader.read(bytes)
    guard problems.isEmpty, let items = document.items else { return nil }
    let changes = items.compactMap { item -> Change? in
      guard let kind = item["change"]?.text.flatMap(Change.Kind.init(rawValue:)),
        let what = item["what"]?.text,
        case .bool(let needsRestart)? = item["needs-restart"]?.value
      else { return nil }
      return Change(
        kind: kind, what: what, old: item["old"]?.text, new: item["new"]?.text,
        needsRestart: needsRestart)
    }
    return changes.count == items.count ? changes : nil
  }
}

extension Configuration.Change: CustomStringConvertible {
  public var description: String {
    let tail = needsRestart ? "  (takes effect after an upgrade or a restart)" : ""
    switch kind {
    case .added: return "+ \(what)\(new.map { ": \($0)" } ?? "")\(tail)"
    case .removed: return "- \(what)\(old.map { ": \($0)" } ?? "")\(tail)"
    case .changed: return "~ \(what): \(old ?? "not set") -> \(new ?? "not set")\(tail)"
    }
  }
}

private struct Comparison {
  var changes: [Configuration.Change] = []

  /// Never shown.
  private static let secret = "stickiness.key"

  /// - Parameter place: what the key is, with the default that stands for a missing side.
  mutating func compare(
    _ old: JSON?, _ new: JSON?, at path: String, _ place: FormDescription.Member?
  ) {
    if old?.compact == new?.compact { return }
    if let items = items(old, new) {
      return compare(items.old, items.new, at: path, place)
    }
    if let members = members(old, new), !members.names.isEmpty {
      for name in members.names {
        compare(
          members.old[name], members.new[name], at: path.isEmpty ? name : "\(path).\(name)",
          place?.form.member(name))
      }
      return
    }
    note(.changed, path, old ?? place?.standard, new ?? place?.standard)
  }

  private mutating func compare(
    _ old: [JSON], _ new: [JSON], at path: String, _ place: FormDescription.Member?
  ) {
    let (before, after) = (named(old, at: path), named(new, at: path))
    for (name, item) in before where after[name] == nil { note(.removed, path, name, item) }
    for (name, item) in after {
      if let earlier = before[name] {
        compare(earlier, item, at: "\(path)[\(name)]", place)
      } else {
        note(.added, path, name, item)
      }
    }
  }

  private mutating func note(
    _ kind: Configuration.Change.Kind, _ path: String, _ name: String, _ item: JSON
  ) {
    // The path already contains an item that is only a name.
    let isPlain = item.compact == name || item.text == name
    note(
      kind, "\(path)[\(name)]", kind == .removed && !isPlain ? item : nil,
      kind == .added && !isPlain ? item : nil)
  }

  private mutating func note(
    _ kind: Configuration.Change.Kind, _ path: String, _ old: JSON?, _ new: JSON?
  ) {
    changes.append(
      Configuration.Change(
        kind: kind, what: path, old: shown(old, path), new: shown(new, path),
        needsRestart: Configuration.keysOfTheStart.contains(path)))
  }

  private func shown(_ value: JSON?, _ path: String) -> String? {
    guard let value else { return nil }
    if path.hasSuffix(Self.secret) { return "(not shown)" }
    return withoutSecrets(value, at: path).compact
  }

  private func withoutSecrets(_ value: JSON, at path: String) -> JSON {
    var result = value
    if let stickiness = value["stickiness"], stickiness["key"] != nil {
      result["stickiness"]?["key"] = "(not shown)"
    }
    if path.hasSuffix("stickiness") && value["key"] != nil { result["key"] = "(not shown)" }
    return result
  }

  /// Both sides as lists, if they are lists. A missing side counts as an empty list if the items
  /// are objects. For other items, the default may be another list.
  private func items(_ old: JSON?, _ new: JSON?) -> (old: [JSON], new: [JSON])? {
    func haveKeys(_ items: [JSON]) -> Bool {
      !items.isEmpty && items.allSatisfy { if case .object = $0.value { true } else { false } }
    }
    return switch (old?.items, new?.items) {
    case (let old?, let new?): (old, new)
    case (let old?, nil) where new == nil && haveKeys(old): (old, [])
    case (nil, let new?) where old == nil && haveKeys(new): ([], new)
    default: nil
    }
  }

  private struct Members {
    let old: [String: JSON]
    let new: [String: JSON]
    var names: Set<String> { Set(old.keys).union(new.keys) }
  }

  private func members(_ old: JSON?, _ new: JSON?) -> Members? {
    switch (old.map(members), new.map(members)) {
    case (.some(let old?), .some(let new?)): Members(old: old, new: new)
    case (.some(let old?), .none): Members(old: old, new: [:])
    case (.none, .some(let new?)): Members(old: [:], new: new)
    default: nil
    }
  }

  private func members(_ json: JSON) -> [String: JSON]? {
    guard case .object(let members) = json.value else { return nil }
    return Dictionary(members.map { ($0.name, $0.value) }) { first, _ in first }
  }

  // MARK: Names

  /// The items by their names; a second one of the same name gets a number.
  private func named(_ items: [JSON], at path: String) -> [String: JSON] {
    var result: [String: JSON] = [:]
    var counts: [String: Int] = [:]
    for item in items {
      let name = name(of: item, at: path)
      var number = counts[name, default: 0] + 1
      var unique = number == 1 ? name : "\(name) (\(number))"
      while result[unique] != nil {
        number += 1
        unique = "\(name) (\(number))"
      }
      counts[name] = number
      result[unique] = path.hasSuffix("backends") ? spelledOut(item) : item
    }
    return result
  }

  /// A backend may be written as its address alone.
  private func spelledOut(_ backend: JSON) -> JSON {
    backend.text == nil ? backend : .object([("address", backend)])
  }

  private func name(of item: JSON, at path: String) -> String {
    if let text = item.text { return text }
    for key in ["name", "address", "chain"] {
      if let text = item[key]?.text { return text }
    }
    if let listen = item["listen"] {
      return listen.text ?? listen.items?.first?.text ?? listen.compact
    }
    if path == "pools" { return Configuration.Pool.defaultName }
    if case .object = item.value { return routeName(item) }
    return item.compact
  }

  /// Everything that selects a route, so that the order of routes doesn't matter.
  private func routeName(_ route: JSON) -> String {
    let hosts = texts(route["host"])
    let listeners = texts(route["listeners"])
    return (hosts.isEmpty ? "*" : hosts.joined(separator: ",")) + (route["path"]?.text ?? "/")
      + (route["match"]?.text.map { " \($0)" } ?? "")
      + (listeners.isEmpty ? "" : " on " + listeners.joined(separator: ","))
  }

  /// The texts of a list, or the only one, sorted.
  private func texts(_ value: JSON?) -> [String] {
    (value.map { $0.items ?? [$0] } ?? []).compactMap(\.text).sorted()
  }
}
