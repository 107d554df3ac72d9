// An error or a warning about a configuration, with its place. It is printed in the format of
// compilers, so that editors can jump to the place.
//
//   config.json:12:17: error: pools[0].strategy: "round-robbin" is not a strategy; one of
//   round-robin, weighted-round-robin, ... (did you mean "round-robin"?)

/// One finding about a configuration.
public struct Diagnostic: Hashable, Sendable {
  public enum Severity: String, Sendable {
    /// Martlet does not start; at a reload, the old configuration stays in force.
    case error
    /// Martlet starts, but the value is probably a mistake.
    case warning
  }

  /// The place of the text in question.
  public enum Place: Hashable, Sendable {
    /// Line and column count from 1; columns are characters (Unicode scalars), not bytes.
    case file(String, line: Int, column: Int)
    /// A flag of the command line, such as `--strategy`.
    case flag(String)
    /// No place: the value isn't written anywhere.
    case nowhere
  }

  public var severity: Severity
  public var place: Place
  /// The path of the key, such as `pools[0].strategy`; empty for the document as a whole.
  public var key: String
  /// What was found, and what is allowed.
  public var message: String
  /// The nearest valid value, ready to replace what was found.
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
  public var description: String { "\(origin)\(severity.rawValue): \(text)" }

  /// The same for a log, which shows the severity in another way.
  public var textWithoutSeverity: String { "\(origin)\(text)" }

  private var origin: String {
    switch place {
    case .file(let file, let line, let column): "\(file):\(line):\(column): "
    case .flag(let flag): "\(flag): "
    case .nowhere: ""
    }
  }

  private var text: String {
    let subject = subject.isEmpty ? "" : "\(subject): "
    let hint = suggestion.map { " (did you mean \($0)?)" } ?? ""
    return "\(subject)\(message)\(hint)"
  }

  /// The path of the key. A value of a flag has no path in a file: only a key in it is named, such
  /// as `weight` in `--backend ADDRESS,weight=0`.
  private var subject: String {
    guard case .flag(let flag) = place else { return key }
    let name = key.split(separator: ".").last.map(String.init) ?? ""
    return name.hasSuffix("]") || flag.contains(name) ? "" : name
  }
}
