// Writes metrics for Prometheus and compatible scrapers: in its text format 0.0.4, and in
// OpenMetrics 1.0. Each family has lines with its type and help, then one line per series.
//
// The formats differ in the name of a family: OpenMetrics omits the `_total` of counters and the
// `_info` of an info. It also has the unit, and an end marker. The lines with values are identical,
// so that a scraper can switch the format without a change of its series.

import Primitives

public enum ExpositionFormat: Sendable {
  case text, openMetrics

  /// The media type of a scrape.
  public var contentType: String {
    switch self {
    case .text: "text/plain; version=0.0.4; charset=utf-8"
    case .openMetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8"
    }
  }
}

/// What the values of a family are.
public enum FamilyKind: String, Sendable {
  case counter, gauge, histogram
  /// Information in labels; the value is always 1.
  case info

  /// The suffix that OpenMetrics appends to the family's name in series.
  fileprivate var suffix: String {
    switch self {
    case .counter: "_total"
    case .info: "_info"
    case .gauge, .histogram: ""
    }
  }
}

/// Writes families and their series.
public struct FamilyWriter: ~Copyable {
  private var output = ByteBuffer()
  private let format: ExpositionFormat

  public init(_ format: ExpositionFormat) { self.format = format }

  /// Everything that was written.
  public consuming func finish() -> [UInt8] {
    if format == .openMetrics { output.append("# EOF\n") }
    return output.array(0..<output.count)
  }

  /// Begins a family. The following series belong to it.
  ///
  /// - Parameters:
  ///   - name: the name of its series, with `_total` for a counter and `_info` for an info.
  ///   - help: must not contain quotes, backslashes and line ends.
  public mutating func family(_ name: String, _ kind: FamilyKind, _ help: String) {
    switch format {
    case .text:
      // The text format has no info; a gauge is used instead.
      let kind = kind == .info ? .gauge : kind
      output.append(string: "# HELP \(name) \(help)\n# TYPE \(name) \(kind.rawValue)\n")
    case .openMetrics:
      let family = String(name.dropLast(kind.suffix.count))
      output.append(string: "# TYPE \(family) \(kind.rawValue)\n")
      for unit in ["seconds", "bytes"] where family.hasSuffix("_\(unit)") {
        output.append(string: "# UNIT \(family) \(unit)\n")
      }
      output.append(string: "# HELP \(family) \(help)\n")
    }
  }

  public mutating func series(_ name: String, _ labels: [(String, String)] = [], _ value: String) {
    output.append(string: name)
    if !labels.isEmpty {
      output.append("{")
      for (index, label) in labels.enumerated() {
        if index > 0 { output.append(",") }
        output.append(string: "\(label.0)=\"\(Self.escaped(label.1))\"")
      }
      output.append("}")
    }
    output.append(string: " \(value)\n")
  }

  private static func escaped(_ value: String) -> String {
    value.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"")
      .replacing("\n", with: "\\n")
  }

  /// Every metric of the workers, including those with value 0, so that `rate()` includes the first
  /// event.
  public mutating func append(_ snapshot: MetricsSnapshot) {
    var name = ""
    for metric in Metric.allCases {
      let entry = metric.entry
      if entry.family.description != name {
        name = entry.family.description
        family(name, entry.kind, entry.help.description)
      }
      output.append(entry.family)
      if entry.labels.utf8CodeUnitCount > 0 {
        output.append("{")
        output.append(entry.labels)
        output.append("}")
      }
      output.append(" ")
      output.append(decimal: snapshot[metric])
      output.append("\n")
    }
  }
}
