// The forms in which Prometheus and its kin read metrics: its own text format 0.0.4 and OpenMetrics
// 1.0. For each family lines about the family, then one line per series.
//
// The two differ in how a family is named: OpenMetrics names it without the `_total` of its
// counters and the `_info` of an info, states its unit, and says when all has been said. The lines
// with the values are the same to the byte, so that nothing breaks when a scraper changes over.

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
  /// Facts in labels; the value is always 1.
  case info

  /// What the names of its series have behind the family's in OpenMetrics.
  fileprivate var suffix: String {
    switch self {
    case .counter: "_total"
    case .info: "_info"
    case .gauge, .histogram: ""
    }
  }
}

/// Writes families, one series after the other.
public struct FamilyWriter: ~Copyable {
  private var output = ByteBuffer()
  private let format: ExpositionFormat

  public init(_ format: ExpositionFormat) { self.format = format }

  /// The whole of it. Nothing may be written after that.
  public consuming func finish() -> [UInt8] {
    if format == .openMetrics { output.append("# EOF\n") }
    return output.array(0..<output.count)
  }

  /// Begins a family: everything up to the next one belongs to it.
  ///
  /// - Parameters:
  ///   - name: that of its series; of a counter with `_total`, of an info with `_info` behind it.
  ///   - help: without quotes, backslashes and line ends.
  public mutating func family(_ name: String, _ kind: FamilyKind, _ help: String) {
    switch format {
    case .text:
      // There a fact is a gauge that stands still.
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

  /// Every metric of the workers, those that stand at zero included, so that a rate can be taken
  /// from the first event on.
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
