// Checks the rules of the OpenMetrics 1.0 specification that our output could violate: names and
// grouping of families, series of each kind, format of numbers.

import Foundation

struct OpenMetrics {
  private(set) var faults: [String] = []
  /// The kind of each family, by name.
  private(set) var kinds: [String: String] = [:]
  private(set) var units: [String: String] = [:]
  /// The values by series, as text.
  private(set) var values: [String: String] = [:]

  private static let suffixes = [
    "counter": ["_total"], "gauge": [""], "info": ["_info"],
    "histogram": ["_bucket", "_sum", "_count"],
  ]
  private var family = ""
  private var helps: Set<String> = []
  private var hasSeries = false
  /// The current histogram: its labels without `le`, and its buckets so far.
  private var histogram = ""
  private var buckets: [(bound: String, count: Double)] = []
  private var finishedHistograms: Set<String> = []

  init(_ text: String) {
    var lines = text.components(separatedBy: "\n")
    if lines.popLast() != "" || lines.popLast() != "# EOF" { faults.append("no # EOF at the end") }
    for line in lines {
      let fault = line.hasPrefix("#") ? describe(line) : series(line)
      if let fault { faults.append("\(fault): \(line)") }
    }
  }

  private mutating func describe(_ line: String) -> String? {
    let words = line.split(separator: " ", maxSplits: 3, omittingEmptySubsequences: false)
    guard words.count == 4, words[0] == "#" else { return "no metadata" }
    let (name, value) = (String(words[2]), String(words[3]))
    if name != family {
      if kinds[name] != nil { return "a family torn apart" }
      family = name
      hasSeries = false
    } else if hasSeries {
      return "metadata behind a series"
    }
    switch words[1] {
    case "TYPE":
      if kinds.updateValue(value, forKey: name) != nil { return "a second TYPE" }
      if Self.suffixes[value] == nil { return "an unknown type" }
    case "UNIT":
      if units.updateValue(value, forKey: name) != nil { return "a second UNIT" }
      if !name.hasSuffix("_\(value)") { return "a unit that the name doesn't end with" }
    case "HELP":
      if !helps.insert(name).inserted { return "a second HELP" }
      if value.contains(where: { "\"\\".contains($0) }) { return "HELP wants escaping" }
    default: return "unknown metadata"
    }
    return nil
  }

  private mutating func series(_ line: String) -> String? {
    guard let match = line.wholeMatch(of: /([a-z0-9_]+)(?:\{(.*)\})? (\S+)/) else {
      return "no series"
    }
    hasSeries = true
    let (name, value) = (String(match.1), String(match.3))
    let labels = match.2.map(String.init) ?? ""
    guard let kind = kinds[family],
      let suffix = Self.suffixes[kind]?.first(where: { family + $0 == name })
    else { return "not of the family \(family)" }
    if values.updateValue(value, forKey: "\(name){\(labels)}") != nil { return "a second time" }
    guard let number = Double(value), number.isFinite, kind == "gauge" || number >= 0 else {
      return "no value"
    }
    // Each label only once, its value escaped.
    var names: Set<String> = []
    var rest = labels[...]
    while !rest.isEmpty {
      guard let label = rest.prefixMatch(of: /([a-z_]+)="(?:[^"\\\n]|\\[\\"n])*"(?:,(?=.)|$)/)
      else { return "bad labels" }
      if !names.insert(String(label.1)).inserted { return "a label twice" }
      rest = rest[label.range.upperBound...]
    }
    return kind == "histogram" ? bucket(suffix, labels, value, number) : nil
  }

  private mutating func bucket(
    _ suffix: String, _ labels: String, _ value: String, _ number: Double
  ) -> String? {
    let others = labels.replacing(/,?le="[^"]*"/, with: "")
    let key = "\(family){\(others)}"
    if key != histogram {
      if finishedHistograms.contains(key) { return "a histogram torn apart" }
      histogram = key
      buckets = []
    }
    finishedHistograms.insert(key)
    switch suffix {
    case "_bucket":
      guard let bound = labels.firstMatch(of: /le="([^"]*)"/).map({ String($0.1) }),
        let limit = bound == "+Inf" ? .infinity : Double(bound)
      else { return "no bound" }
      // There are two valid formats for small numbers.
      if limit.isFinite && limit >= 0.001 && bound != "\(limit)" {
        return "a bound that isn't canonical"
      }
      if let last = buckets.last {
        let before = last.bound == "+Inf" ? Double.infinity : Double(last.bound) ?? 0
        if limit <= before { return "bounds out of order" }
        if number < last.count { return "not cumulative" }
      }
      buckets.append((bound, number))
    case "_count":
      if buckets.last?.bound != "+Inf" || buckets.last?.count != number {
        return "a count other than that of +Inf"
      }
    default: break
    }
    return nil
  }
}
