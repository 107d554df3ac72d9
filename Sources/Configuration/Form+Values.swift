// Simple values: booleans, numbers, durations, sizes, text, choices, and ranges of statuses.

public import Primitives

extension Form where Value == Bool {
  static var flag: Form {
    let description = FormDescription(
      noun: "a boolean", allowed: "write true or false", kind: "true or false",
      schema: ["type": "boolean"])
    return Form(description) { json, decoder in
      if case .bool(let flag) = json.value { return flag }
      let suggestion: String? =
        switch json.text?.lowercased() ?? json.scalarText {
        case "true", "yes", "on", "1": "true"
        case "false", "no", "off", "0": "false"
        default: nil
        }
      decoder.mismatch(json, description, suggestion: suggestion)
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
        decoder.isOutOfRange(json, bounds)
        return nil
      }
      // A number in quotes.
      let bare = json.text.flatMap(Int.init).flatMap { range.contains($0) ? "\($0)" : nil }
      decoder.mismatch(json, description, suggestion: bare)
      return nil
    } write: {
      .integer($0)
    }
  }

  /// A size in bytes, such as "64KiB".
  static func size(_ range: ClosedRange<Int>) -> Form {
    let bounds = "\(sizeText(range.lowerBound)) to \(sizeText(range.upperBound))"
    let examples = examples([64 << 10, 10 << 20], in: range, sizeText)
    let description = FormDescription(
      noun: "a size", allowed: "write one such as \(examples), from \(bounds)",
      kind: "size, \(bounds)",
      schema: ["type": "string", "pattern": "^[0-9]+(B|KiB|MiB|GiB|TiB)$"])
    return Form(description) { json, decoder in
      if let size = json.text.flatMap({ parseQuantity($0, units: sizeUnits) }) {
        if range.contains(size) { return size }
        decoder.isOutOfRange(json, bounds)
        return nil
      }
      decoder.mismatch(json, description, suggestion: nearestSize(json, in: range))
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
    let examples = examples(
      [.milliseconds(250), .seconds(5), .seconds(120)], in: range, durationText)
    let description = FormDescription(
      noun: "a duration", allowed: "write one such as \(examples), from \(bounds)",
      kind: "duration, \(bounds)",
      schema: ["type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$"])
    return Form(description) { json, decoder in
      if let span = json.text.flatMap(parseDuration) {
        if range.contains(span) { return span }
        decoder.isOutOfRange(json, bounds)
        return nil
      }
      decoder.mismatch(json, description, suggestion: nearestDuration(json, in: range))
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
      noun: "text", allowed: "write it in double quotes, such as \(JSON.quoted(example))",
      kind: "text", schema: ["type": "string"])
    return Form(description) { json, decoder in
      guard let text = json.text else {
        let quoted = json.scalarText.map { JSON.quoted($0) }
        decoder.mismatch(json, description, suggestion: quoted)
        return nil
      }
      if text.utf8.count <= maxByteCount { return text }
      decoder.report(
        "the text has \(text.utf8.count) bytes; at most \(maxByteCount) are allowed",
        at: json.origin)
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
      // Brackets and the asterisk, because the default name of a listener is its address.
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

  /// The path of a file. A relative path in the file starts at the directory of the configuration
  /// file; a relative path in a flag starts at the working directory.
  static var file: Form {
    let description = FormDescription(
      noun: "the path of a file",
      allowed: "write a string; a relative path starts at this file's directory", kind: "path",
      schema: ["type": "string", "minLength": 1])
    return Form(description) { json, decoder in
      guard let text = json.text, !text.isEmpty, !text.utf8.contains(0) else {
        decoder.mismatch(json, description)
        return nil
      }
      var path = text
      if case .flag = json.origin {
        // Relative to the working directory.
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
  /// What people write for a case, in lower case, although no edit distance leads there.
  static var meant: [String: Self] { get }
}

extension Choice {
  static var meant: [String: Self] { [:] }
}

extension Form where Value: Choice {
  static var choice: Form {
    let names = Value.allCases.map(\.rawValue)
    // Without its quotes, a version would look like a number.
    let listed = names.map { $0.first?.isNumber == true ? JSON.quoted($0) : $0 }
    let description = FormDescription(
      noun: Value.noun, allowed: "one of \(listed.joined(separator: ", "))",
      kind: names.map { "`\"\($0)\"`" }.joined(separator: ", "),
      schema: ["enum": .list(names.map(JSON.string))])
    return Form(description) { json, decoder in
      if let value = json.text.flatMap(Value.init(rawValue:)) { return value }
      // `"minimum-version": 1.3` lacks its quotes, and false means "off".
      let unquoted = json.scalarText == "false" ? "off" : json.scalarText
      let nearest =
        (json.text ?? json.scalarText).flatMap { Value.meant[$0.lowercased()]?.rawValue }
        ?? json.text.flatMap { nearestName(to: $0, among: names) }
        ?? unquoted.flatMap { names.contains($0) ? $0 : nil }
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

/// The candidates that are in range, for a message; the upper bound if none is.
private func examples<Value>(
  _ candidates: [Value], in range: ClosedRange<Value>, _ text: (Value) -> String
) -> String {
  let allowed = candidates.filter { range.contains($0) }
  let texts = (allowed.isEmpty ? [range.upperBound] : allowed).map { JSON.quoted(text($0)) }
  return texts.dropLast().joined(separator: ", ") + (texts.count > 1 ? " or " : "")
    + (texts.last ?? "")
}

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

/// A duration as a configuration writes it: in the largest unit without a fraction.
public func durationText(_ span: TimeSpan) -> String {
  span == .zero ? "0s" : quantityText(Int(span.milliseconds), units: durationUnits)
}

/// A size in the largest unit that gives a whole number.
func sizeText(_ byteCount: Int) -> String { quantityText(byteCount, units: sizeUnits) }

private func quantityText(_ count: Int, units: [(name: String, factor: Int)]) -> String {
  let unit = units.last { count % $0.factor == 0 && count >= $0.factor } ?? units[0]
  return "\(count / unit.factor)\(unit.name)"
}

/// What "64K", "64KB", "64kib" and 65536 probably mean; nil if that is out of range.
private func nearestSize(_ json: JSON, in range: ClosedRange<Int>) -> String? {
  if let number = json.integer {
    return range.contains(number) ? JSON.quoted(sizeText(number)) : nil
  }
  guard let (digits, unit) = json.text.flatMap(quantityParts) else { return nil }
  let match = sizeUnits.first { name, _ in
    let lower = name.lowercased()
    let prefix = lower.prefix(1)
    return unit == lower || name.utf8.count == 3 && (unit == prefix || unit == prefix + "b")
  }
  guard let match, let size = parseQuantity(digits + match.0, units: sizeUnits),
    range.contains(size)
  else { return nil }
  return JSON.quoted(digits + match.0)
}

/// What 5, "5", "5 s" and "5sec" probably mean; nil if that is out of range.
private func nearestDuration(_ json: JSON, in range: ClosedRange<TimeSpan>) -> String? {
  var text = json.text
  if case .number(let number) = json.value { text = number }
  guard let (digits, unit) = text.flatMap(quantityParts) else { return nil }
  let name: String? =
    switch unit {
    case "", "s", "sec", "secs", "second", "seconds": "s"
    case "ms", "msec", "millisecond", "milliseconds": "ms"
    case "m", "min", "mins", "minute", "minutes": "m"
    case "h", "hr", "hrs", "hour", "hours": "h"
    case "d", "day", "days": "d"
    default: nil
    }
  guard let name, let span = parseDuration(digits + name), range.contains(span) else { return nil }
  return JSON.quoted(digits + name)
}

/// The digits in front of a text, and the rest in lower case without spaces; nil without digits.
private func quantityParts(_ text: String) -> (digits: String, unit: String)? {
  let digits = String(text.prefix { $0.isASCII && $0.isNumber })
  let unit = text.dropFirst(digits.count).lowercased().filter { $0 != " " }
  return digits.isEmpty ? nil : (digits, unit)
}
