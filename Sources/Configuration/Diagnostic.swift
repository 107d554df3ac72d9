// What is wrong with a configuration, and where: one value for each finding, printed as a compiler
// prints its own, so that editors and people find the place at once.
//
//   config.json:12:17: error: pools[0].strategy: "round-robbin" is not a strategy; one of
//   round-robin, weighted-round-robin, ... (did you mean "round-robin"?)

/// One finding about a configuration.
public struct Diagnostic: Hashable, Sendable {
  public enum Severity: String, Sendable {
    /// Nothing starts; at a reload, the old configuration goes on serving.
    case error
    /// It would run, but one thing probably isn't meant so.
    case warning
  }

  /// Where the text stands that the finding is about.
  public enum Place: Hashable, Sendable {
    /// Line and column count from 1; columns are characters (Unicode scalars), not bytes.
    case file(String, line: Int, column: Int)
    /// A flag of the command line, such as `--strategy`.
    case flag(String)
    /// Nowhere in particular: the value isn't written down.
    case nowhere
  }

  public var severity: Severity
  public var place: Place
  /// The path of the key, such as `pools[0].strategy`; empty for the document as a whole.
  public var key: String
  /// What was found, and what is allowed.
  public var message: String
  /// The nearest thing that would be allowed, ready to be put in place of what was found.
  public var suggestion: String?

  public init(
    _ severity: Severity, at place: Place, key: String, _ message: String,
    suggestion: String? = nil
  ) {
    self.severity = severity
    self.place = place
    self.key = key
    self.message = message
    self.suggestion = suggestion
  }
}

extension Diagnostic: CustomStringConvertible {
  public var description: String {
    let origin =
      switch place {
      case .file(let file, let line, let column): "\(file):\(line):\(column): "
      case .flag(let flag): "\(flag): "
      case .nowhere: ""
      }
    let subject = key.isEmpty ? "" : "\(key): "
    let hint = suggestion.map { " (did you mean \($0)?)" } ?? ""
    return "\(origin)\(severity.rawValue): \(subject)\(message)\(hint)"
  }
}
