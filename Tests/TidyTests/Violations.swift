// How a tidy test reports: one issue that lists every violation of its rule.

import Testing

/// Fails once, with all `places` if there are any; each is "path:line: what".
func expectNone(
  _ rule: String, _ places: [String], sourceLocation: SourceLocation = #_sourceLocation
) {
  guard !places.isEmpty else { return }
  Issue.record(
    "\(rule)\n\(places.joined(separator: "\n"))", sourceLocation: sourceLocation)
}

/// Every line for which `breaks` returns a message. Line numbers start at 1.
func places(
  in files: [SourceFile], of lines: (SourceFile) -> [String] = { $0.lines },
  where breaks: (String) -> String?
) -> [String] {
  files.flatMap { file in
    lines(file).enumerated().compactMap { number, line in
      breaks(line).map { "\(file.path):\(number + 1): \($0)" }
    }
  }
}
