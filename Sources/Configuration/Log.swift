// What is logged: a line for each request, and what happens to the process itself.

public import Primitives

extension Configuration {
  public struct Log: Hashable, Sendable {
    public enum Access: Hashable, Sendable, CustomStringConvertible {
      case json, text, off
      case template(LogTemplate)

      /// By name; nil for what could be a template.
      init?(named name: String) {
        switch name {
        case "json": self = .json
        case "text": self = .text
        case "off": self = .off
        case "combined": self = .template(.combined)
        default: return nil
        }
      }

      public var description: String {
        switch self {
        case .json: "json"
        case .text: "text"
        case .off: "off"
        case .template(let template): template.source
        }
      }
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
    /// Of the exchanges that went well and fast, one in so many is logged; 0 for none.
    public var sample = 1
    /// From here on an exchange isn't fast.
    public var slow = TimeSpan.seconds(1)
    /// Parameters of queries whose values are not logged.
    public var redactQuery: [String] = []
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
      // The files by which Linux offers the streams can't be opened where those are sockets, as
      // under systemd and in containers (ENXIO).
      switch json.text {
      case "stdout", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1": return .stdout
      case "stderr", "/dev/stderr", "/dev/fd/2", "/proc/self/fd/2": return .stderr
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
        "access", \.access, .logFormat,
        "The format of the access log, one line for each request. `json` for programs and `text` "
          + "for people have every attempt in it; `combined` is what nginx and Apache write; "
          + "`off`. Or a template of your own, such as `$time $client $status $ms`, with the "
          + "names that a line of JSON has, and $time_local, $request, $backend (the last one) "
          + "and $attempts (how many). What isn't known is `-`, and quotes, backslashes and all "
          + "that isn't printable ASCII are escaped as nginx does."),
      Key(
        "sample", \.sample, .integer(0...1_000_000),
        "Of the requests that went well, one in so many is logged, and its line says so "
          + "(`sample`); 0 logs none of them. Always logged are answers from 400 on, failures, "
          + "retries, and what was slow."),
      Key(
        "slow", \.slow, .duration(.milliseconds(1) ... .seconds(3600)),
        "What takes longer is logged whatever `sample` says."),
      Key(
        "redact-query", \.redactQuery, .list(of: .text(maxByteCount: 64, example: "token")),
        "Names of query parameters whose values are replaced by REDACTED, in targets and "
          + "referers. Cookie and Authorization are never logged."),
      Key(
        "target", \.target, target,
        "Where the access log goes. `/dev/stdout` and `/dev/stderr` mean `stdout` and `stderr`, "
          + "also as the target of a symbolic link. Or a regular file, a device such as "
          + "`/dev/null`, or a named pipe that a process reads. If a reader stops, lines are "
          + "dropped and counted."),
      Key(
        "level", \.level, .choice,
        "The least important messages of the process log that are shown. `martlet log-level` "
          + "changes it until the next reload."),
    ]
  }()
}

extension Form where Value == Configuration.Log.Access {
  fileprivate static var logFormat: Form {
    let description = FormDescription(
      noun: "a format of the access log",
      allowed: "one of json, combined, text, off, or a template such as \"$client $status\"",
      kind: "`\"json\"`, `\"combined\"`, `\"text\"`, `\"off\"` or template",
      schema: [
        "anyOf": [
          ["enum": ["json", "combined", "text", "off"]],
          ["type": "string", "pattern": "[$]"],
        ]
      ])
    return Form(description) { json, decoder in
      guard let text = json.text else {
        decoder.mismatch(json, description)
        return nil
      }
      if let format = Value(named: text) { return format }
      guard text.utf8.contains(UInt8(ascii: "$")) else {
        let names = ["json", "combined", "text", "off"]
        decoder.mismatch(
          json, description,
          suggestion: nearestName(to: text, among: names).map { JSON.quoted($0) })
        return nil
      }
      do throws(Configuration.LogTemplate.Mistake) {
        return .template(try Configuration.LogTemplate(text))
      } catch {
        decoder.report(
          error.message, at: json.origin.within(text, at: error.offset),
          suggestion: error.suggestion)
        return nil
      }
    } write: {
      .string("\($0)")
    }
  }
}

extension JSON.Origin {
  /// Where a byte of a text stands that begins here, if it was written without needless escapes.
  fileprivate func within(_ text: String, at index: Int) -> JSON.Origin {
    guard case .offset(let start) = self else { return self }
    let before = String(decoding: Array(text.utf8).prefix(index), as: UTF8.self)
    // The closing quote isn't in front of the byte.
    return .offset(start + JSON.quoted(before).utf8.count - 1)
  }
}
