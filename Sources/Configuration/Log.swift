// What is logged: a line for each request, and what happens to the process itself.

extension Configuration {
  public struct Log: Hashable, Sendable {
    public enum Access: String, Choice {
      case json, text, off
      static var noun: String { "a format of the access log" }
    }

    public enum Level: String, Choice, Comparable {
      case debug, info, warning, error
      static var noun: String { "a level" }

      public static func < (left: Level, right: Level) -> Bool {
        let all = Self.allCases
        return (all.firstIndex(of: left) ?? 0) < (all.firstIndex(of: right) ?? 0)
      }
    }

    public enum Target: Hashable, Sendable, CustomStringConvertible {
      case stdout, stderr
      case file(String)

      public var description: String {
        switch self {
        case .stdout: "stdout"
        case .stderr: "stderr"
        case .file(let path): path
        }
      }
    }

    /// The format of the access log.
    public var access = Access.json
    /// Where the access log goes. The process log always goes to the standard error.
    public var target = Target.stdout
    /// The least important messages of the process log that are shown.
    public var level = Level.info

    public init() {}
  }
}

extension Configuration.Log: Section {
  static let title = "log"
  static let about = """
    What is logged. The process log (start, reload, backends going up and down) always goes to \
    the standard error.
    """
  static let keys: [Key<Self>] = {
    let file = Form<String>.file
    let description = FormDescription(
      noun: "a target of the log", allowed: "write \"stdout\", \"stderr\" or the path of a file",
      kind: "`\"stdout\"`, `\"stderr\"` or path", schema: file.description.schema)
    let target = Form<Target>(description) { json, decoder in
      switch json.text {
      case "stdout": return .stdout
      case "stderr": return .stderr
      case let text? where !text.isEmpty: return file.read(json, &decoder).map(Target.file)
      default:
        decoder.mismatch(json, description)
        return nil
      }
    } write: {
      .string("\($0)")
    }
    return [
      Key(
        "access", \.access, .choice,
        "The format of the access log, one line for each request with every attempt in it: "
          + "`json` for programs, `text` for people, or `off`."),
      Key("target", \.target, target, "Where the access log goes."),
      Key(
        "level", \.level, .choice,
        "The least important messages of the process log that are shown."),
    ]
  }()
}
