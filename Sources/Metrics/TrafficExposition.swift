// The families that tell traffic by whom it concerns, in the text form of Exposition.swift.
//
// Every kind of subject has its own families, since a listener has no failures of backends and a
// backend no handshakes. A label's value is escaped as the format wants it.

import Primitives

/// Writes families with labels, one series after the other.
public struct FamilyWriter: ~Copyable {
  private var output = ByteBuffer()

  public init() {}

  public var bytes: [UInt8] { output.array(0..<output.count) }

  public mutating func append(_ snapshot: MetricsSnapshot) { snapshot.write(to: &output) }

  /// Begins a family: everything up to the next one belongs to it.
  public mutating func family(_ name: String, _ kind: StaticString, _ help: String) {
    output.append(string: "# HELP \(name) \(help)\n# TYPE \(name) ")
    output.append(kind)
    output.append("\n")
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

  /// One counter family over subjects, split by what tells its counters apart.
  public mutating func counters(
    _ name: String, _ help: String, by label: String,
    _ counters: [(TrafficCounter, StaticString)],
    of subjects: [(labels: [(String, String)], reading: TrafficReading)]
  ) {
    family(name, "counter", help)
    for subject in subjects {
      for (counter, value) in counters {
        series(name, subject.labels + [(label, "\(value)")], "\(subject.reading[counter])")
      }
    }
  }

  public mutating func counter(
    _ name: String, _ help: String, _ counter: TrafficCounter,
    of subjects: [(labels: [(String, String)], reading: TrafficReading)]
  ) {
    family(name, "counter", help)
    for subject in subjects { series(name, subject.labels, "\(subject.reading[counter])") }
  }

  public mutating func durations(
    _ name: String, _ help: String,
    of subjects: [(labels: [(String, String)], reading: TrafficReading)]
  ) {
    family(name, "histogram", help)
    for subject in subjects {
      var sum: UInt64 = 0
      for (index, bound) in DurationHistogram.labels.enumerated() {
        sum += subject.reading.buckets[index]
        series("\(name)_bucket", subject.labels + [("le", bound)], "\(sum)")
      }
      let seconds = Double(subject.reading.sumMicroseconds) / 1e6
      series("\(name)_sum", subject.labels, "\(seconds)")
      series("\(name)_count", subject.labels, "\(sum)")
    }
  }

  private static func escaped(_ value: String) -> String {
    value.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: "\\n")
  }
}
