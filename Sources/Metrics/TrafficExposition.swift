// Writes the families with traffic per listener, route, pool or backend.
//
// Each kind of subject has its own families: a listener has no failed attempts, for example.

extension FamilyWriter {
  /// A family with several counters per subject, which the label `label` distinguishes.
  public mutating func counters(
    _ name: String, _ help: String, by label: String,
    _ counters: [(TrafficCounter, StaticString)],
    of subjects: [(labels: [(String, String)], reading: TrafficReading)]
  ) {
    family(name, .counter, help)
    for subject in subjects {
      for (counter, value) in counters {
        series(name, subject.labels + [(label, "\(value)")], "\(subject.reading[counter])")
      }
    }
  }

  /// The failed attempts of subjects, by the words of their causes.
  public mutating func failures(
    _ name: String, _ help: String, by words: [CounterWord],
    of subjects: [(labels: [(String, String)], reading: TrafficReading)]
  ) {
    family(name, .counter, help)
    for subject in subjects {
      for word in words {
        series(
          name, subject.labels + [("cause", "\(word.name)")],
          "\(subject.reading.failureCount(word))")
      }
    }
  }

  public mutating func counter(
    _ name: String, _ help: String, _ counter: TrafficCounter,
    of subjects: [(labels: [(String, String)], reading: TrafficReading)]
  ) {
    family(name, .counter, help)
    for subject in subjects { series(name, subject.labels, "\(subject.reading[counter])") }
  }

  public mutating func durations(
    _ name: String, _ help: String,
    of subjects: [(labels: [(String, String)], reading: TrafficReading)],
    _ part: KeyPath<TrafficReading, DurationCounts.Reading> = \.durations
  ) {
    histogram(name, help, of: subjects.map { ($0.labels, $0.reading[keyPath: part]) })
  }

  public mutating func histogram(
    _ name: String, _ help: String,
    of subjects: [(labels: [(String, String)], reading: DurationCounts.Reading)]
  ) {
    family(name, .histogram, help)
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
}
