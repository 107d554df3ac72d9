// The text form in which Prometheus reads metrics (exposition format 0.0.4): for each family a
// HELP and a TYPE line, then one line per series.

public import Primitives

extension MetricsSnapshot {
  /// The media type of what `write` produces.
  public static let contentType: StaticString = "text/plain; version=0.0.4; charset=utf-8"

  /// Appends every metric, those that stand at zero included, so that a rate can be taken from
  /// the first event on.
  public func write(to output: inout ByteBuffer) {
    var family = ""
    for metric in Metric.allCases {
      let entry = metric.entry
      if entry.family.description != family {
        family = entry.family.description
        writeHead(of: entry, to: &output)
      }
      output.append(entry.family)
      if entry.labels.utf8CodeUnitCount > 0 {
        output.append("{")
        output.append(entry.labels)
        output.append("}")
      }
      output.append(" ")
      output.append(decimal: self[metric])
      output.append("\n")
    }
  }

  private func writeHead(of entry: Entry, to output: inout ByteBuffer) {
    output.append("# HELP ")
    output.append(entry.family)
    output.append(" ")
    output.append(entry.help)
    output.append("\n# TYPE ")
    output.append(entry.family)
    switch entry.kind {
    case .counter: output.append(" counter\n")
    case .gauge: output.append(" gauge\n")
    }
  }
}
