// The simple values: flags, numbers, durations, sizes, text, choices, and ranges of statuses.

public import Primitives

extension Form where Value == Bool {
  static var flag: Form {
    let description = FormDescription(
      noun: "a flag", allowed: "write true or false", kind: "true or false",
      schema: ["type": "boolean"])
    return Form(description) { json, decoder in
      if case .bool(let flag) = json.value { return flag }
      decoder.mismatch(json, description)
      return nil
    } write: {
      JSON(.bool($0))
    }
  }
}

extension Form where Value == Int {
  /// A whole number.
  static func integer(_ range: ClosedRange<Int>, noun: String = "a whole number") -> Form {
    let bounds = "\(range.lowerBound) to \(range.upperBound)"
    let description = FormDescription(
      noun: noun, allowed: "\(bounds) is allowed", kind: bounds,
      schema: [
        "type": "integer", "minimum": .integer(range.lowerBound),
        "maximum": .integer(range.upperBound),
      ])
    return Form(description) { json, decoder in
      if let number = json.integer {
        if range.contains(number) { return number }
        decoder.report("\(json.brief) is out of range; \(bounds) is allowed", at: json.origin)
        return nil
      }
      // A number between quotes is a number that lost its way.
      let bare = json.text.flatMap(Int.init).map(String.init)
      decoder.mismatch(json, description, suggestion: bare)
      return nil
    } write: {
      .integer($0)
    }
  }

  /// A size in bytes, such as "64KiB".
  static func size(_ range: ClosedRange<Int>) -> Form {
    let bounds = "\(sizeText(range.lowerBound)) to \(sizeText(range.upperBound))"
    let description = FormDescription(
      noun: "a size", allowed: "write one such as \"64KiB\" or \"10MiB\", \(bounds)",
      kind: "size, \(bounds)",
      schema: ["type": "string", "pattern": "^[0-9]+(B|KiB|MiB|GiB|TiB)$"])
    return Form(description) { json, decoder in
      if let size = json.text.flatMap({ parseQuantity($0, units: sizeUnits) }) {
        if range.contains(size) { return size }
        decoder.report("\(json.brief) is out of range; \(bounds) is allowed", at: json.origin)
        return nil
      }
      decoder.mismatch(json, description, suggestion: nearestSize(json))
      return nil
    } write: {
      .string(sizeText($0))
    }
  }
}

extension Form where Value == UInt16 {
  static func port(_ noun: String = "a port") -> Form {
    let number = Form<Int>.integer(1...65535, noun: noun)
    return Form(number.description) { json, decoder in
      number.read(json, &decoder).map { UInt16(truncatingIfNeeded: $0) }
    } write: {
      .integer(Int($0))
    }
  }
}

extension Form where Value == TimeSpan {
  /// A length of time, such as "250ms".
  static func duration(_ range: ClosedRange<TimeSpan>) -> Form {
    let bounds = "\(durationText(range.lowerBound)) to \(durationText(range.upperBound))"
    let description = FormDescription(
      noun: "a duration", allowed: "write one such as \"250ms\", \"5s\" or \"2m\", \(bounds)",
      kind: "duration, \(bounds)",
      schema: ["type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$"])
    return Form(description) { json, decoder in
      if let span = json.text.flatMap(parseDuration) {
        if range.contains(span) { return span }
        decoder.report("\(json.brief) is out of range; \(bounds) is allowed", at: json.origin)
        return nil
      }
      let seconds = json.integer ?? json.text.flatMap(Int.init)
      let suggestion = seconds.flatMap { $0 >= 0 ? "\"\($0)s\"" : nil }
      decoder.mismatch(json, description, suggestion: suggestion)
      return nil
    } write: {
      .string(durationText($0))
    }
  }
}

extension Form where Value == String {
  /// Any text of at most `maxByteCount` bytes.
  static func text(maxByteCount: Int = 64 * 1024, example: String) -> Form {
    let description = FormDescription(
      noun: "text", allowed: "write it between double quotes, such as \(JSON.quoted(example))",
      kind: "text", schema: ["type": "string"])
    return Form(description) { json, decoder in
      guard let text = json.text else {
        decoder.mismatch(json, description)
        return nil
      }
      if text.utf8.count <= maxByteCount { return text }
      decoder.report(
        "\(text.utf8.count) bytes are too many; \(maxByteCount) are allowed", at: json.origin)
      return nil
    } write: {
      .string($0)
    }
  }

  /// A name that routes, metrics and logs use.
  static var name: Form {
    Form(
      text: FormDescription(
        noun: "a name",
        allowed: "write letters, digits, \"-\", \"_\", \".\" and \":\", 1 to 64 of them",
        kind: "name", schema: ["type": "string", "pattern": "^[A-Za-z0-9_.:*\\[\\]-]{1,64}$"])
    ) { text in
      // Brackets and the asterisk, because a listener without a name is called by its address.
      let others = Array("-_.:[]*".utf8)
      let isName = text.utf8.allSatisfy { byte in
        byte < 0x80 && Character(Unicode.Scalar(byte)).isLetter || (0x30...0x39).contains(byte)
          || others.contains(byte)
      }
      return isName && (1...64).contains(text.utf8.count) ? text : nil
    } write: {
      $0
    }
  }

  /// The path of a file. A relative one starts at the directory of the configuration file, so that
  /// it means the same wherever Martlet is started; from a flag it starts where the shell is.
  static var file: Form {
    let description = FormDescription(
      noun: "the path of a file",
      allowed: "write it as text; a relative one starts at this file's directory", kind: "path",
      schema: ["type": "string", "minLength": 1])
    return Form(description) { json, decoder in
      guard let text = json.text, !text.isEmpty, !text.utf8.contains(0) else {
        decoder.mismatch(json, description)
        return nil
      }
      var path = text
      if case .flag = json.origin {
        // As the shell means it.
      } else if !text.hasPrefix("/") {
        path = decoder.source.directory + text
      }
      decoder.refer(to: path, at: json.origin)
      return path
    } write: {
      .string($0)
    }
  }
}

/// An enum that is written by the name of a case.
protocol Choice: CaseIterable, RawRepresentable, Hashable, Sendable where RawValue == String {
  /// With its article: "a strategy".
  static var noun: String { get }
}

extension Form where Value: Choice {
  static var choice: Form {
    let names = Value.allCases.map(\.rawValue)
    let description = FormDescription(
      noun: Value.noun, allowed: "one of \(names.joined(separator: ", "))",
      kind: names.map { "`\"\($0)\"`" }.joined(separator: ", "),
      schema: ["enum": .list(names.map(JSON.string))])
    return Form(description) { json, decoder in
      if let value = json.text.flatMap(Value.init(rawValue:)) { return value }
      let nearest = json.text.flatMap { nearestName(to: $0, among: names) }
      decoder.mismatch(json, description, suggestion: nearest.map { JSON.quoted($0) })
      return nil
    } write: {
      .string($0.rawValue)
    }
  }
}

extension Form where Value == ClosedRange<Int> {
  /// One status or a range of them: 204 or "200-399".
  static var statuses: Form {
    let description = FormDescription(
      noun: "a status or a range of them", allowed: "write 204 or \"200-399\", from 100 to 599",
      kind: "status or range",
      schema: [
        "anyOf": [
          ["type": "integer", "minimum": 100, "maximum": 599],
          ["type": "string", "pattern": "^[1-5][0-9][0-9](-[1-5][0-9][0-9])?$"],
        ]
      ])
    return Form(description) { json, decoder in
      let parts =
        json.integer.map { [$0] }
        ?? json.text?.split(separator: "-", omittingEmptySubsequences: false).compactMap { part in
          part.utf8.count == 3 ? UInt16(part).map(Int.init) : nil
        } ?? []
      if let first = parts.first, let last = parts.last, parts.count <= 2, first <= last,
        first >= 100, last <= 599, json.text.map({ $0.utf8.count == parts.count * 4 - 1 }) ?? true
      {
        return first...last
      }
      decoder.mismatch(json, description)
      return nil
    } write: {
      $0.count == 1
        ? .integer($0.lowerBound) : .string("\($0.lowerBound)-\($0.upperBound)")
    }
  }
}

// MARK: Units

private let durationUnits = [
  ("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000),
]

private let sizeUnits = [
  ("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40),
]

/// Digits and one unit, without space; nil for anything else, and for what doesn't fit.
private func parseQuantity(_ text: String, units: [(name: String, factor: Int)]) -> Int? {
  let digits = text.utf8.prefix { (0x30...0x39).contains($0) }
  let rest = String(text.dropFirst(digits.count))
  guard let count = Int(String(digits) ?? ""), let unit = units.first(where: { $0.name == rest })
  else { return nil }
  let (product, overflow) = count.multipliedReportingOverflow(by: unit.factor)
  return overflow ? nil : product
}

/// A duration such as "250ms"; nil for anything else.
func parseDuration(_ text: String) -> TimeSpan? {
  parseQuantity(text, units: durationUnits).map { .milliseconds(Int64($0)) }
}

/// A duration as a configuration writes it: in the largest unit that leaves no rest.
public func durationText(_ span: TimeSpan) -> String {
  span == .zero ? "0s" : quantityText(Int(span.milliseconds), units: durationUnits)
}

/// A size as a configuration writes it.
func sizeText(_ byteCount: Int) -> String { quantityText(byteCount, units: sizeUnits) }

private func quantityText(_ count: Int, units: [(name: String, factor: Int)]) -> String {
  let unit = units.last { count % $0.factor == 0 && count >= $0.factor } ?? units[0]
  return "\(count / unit.factor)\(unit.name)"
}

/// What "64K", "64KB", "64kib" and 65536 probably mean.
private func nearestSize(_ json: JSON) -> String? {
  if let number = json.integer { return number >= 0 ? "\"\(sizeText(number))\"" : nil }
  guard let text = json.text else { return nil }
  let digits = text.utf8.prefix { (0x30...0x39).contains($0) }.count
  let unit = text.dropFirst(digits).lowercased().filter { $0 != " " }
  guard digits > 0 else { return nil }
  let match = sizeUnits.first { name, _ in
    let lower = name.lowercased()
    let prefix = lower.prefix(1)
    return unit == lower || name.utf8.count == 3 && (unit == prefix || unit == prefix + "b")
  }
  return match.map { "\"\(text.prefix(digits))\($0.0)\"" }
}
