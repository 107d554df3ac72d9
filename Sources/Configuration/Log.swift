// Settings of the access log and of the process log.

public import Primitives

extension Configuration {
  public struct Log: Hashable, Sendable {
    public enum Access: Hashable, Sendable, CustomStringConvertible {
      case json, text, off
      case template(LogTemplate)

      /// By name; nil if the text could be a template.
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

    /// Of the process log.
    public enum Format: String, Choice {
      case text, json
      static var noun: String { "a format of the process log" }
    }

    /// Where the process log goes.
    public enum ProcessTarget: Hashable, Sendable {
      case stderr
      case syslog(SocketAddress)
    }

    public enum Target: Hashable, Sendable, CustomStringConvertible {
      case stdout, stderr
      case file(String)
      case syslog(SocketAddress)

      public var description: String {
        switch self {
        case .stdout: "stdout"
        case .stderr: "stderr"
        case .file(let path): path
        case .syslog(let address): syslogText(address)
        }
      }
    }

    /// The receivers of syslog, by the key that names them.
    public var syslogTargets: [(key: String, address: SocketAddress)] {
      var targets: [(key: String, address: SocketAddress)] = []
      if access != .off, case .syslog(let address) = target { targets.append(("target", address)) }
      if case .syslog(let address) = processTarget { targets.append(("process-target", address)) }
      return targets
    }

    /// The format of the access log.
    public var access = Access.json
    /// One of this many successful, fast exchanges is logged; 0 for none.
    public var sample = 1
    /// An exchange that takes longer isn't fast.
    public var slow = TimeSpan.seconds(1)
    /// Query parameters whose values are not logged.
    public var redactQuery: [String] = []
    /// Where the access log goes.
    public var target = Target.stdout
    /// The format of the process log.
    public var format = Format.text
    /// Where the process log goes.
    public var processTarget = ProcessTarget.stderr
    /// The lowest level that the process log shows.
    public var level = Level.info

    public init() {}
  }
}

extension Configuration.Log: Section {
  static let title = "log"
  static let about = """
    Access log and process log. The access log has a line for each request. The process log has \
    events of the process: start, reload, backends going up and down.
    """
  static let keys: [Key<Self>] = {
    let file = Form<String>.file
    let description = FormDescription(
      noun: "a log target",
      allowed: "write \"stdout\", \"stderr\", the path of a file, \"syslog:/dev/log\", or"
        + " \"syslog:ADDRESS:PORT\" for UDP",
      kind: "`\"stdout\"`, `\"stderr\"`, path, or `\"syslog:…\"`", schema: file.description.schema)
    let target = Form<Target>(description) { json, decoder in
      // Under systemd and in containers the standard streams are often sockets, and these paths
      // can't be opened then (ENXIO).
      switch json.text {
      case "stdout", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1": return .stdout
      case "stderr", "/dev/stderr", "/dev/fd/2", "/proc/self/fd/2": return .stderr
      case let text? where text.hasPrefix("syslog"):
        guard let address = syslogAddress(text) else {
          if decoder.refusesPort(of: text, at: json.origin) { return nil }
          decoder.mismatch(json, description, suggestion: syslogSuggestion(text))
          return nil
        }
        return .syslog(address)
      case let text? where !text.isEmpty:
        decoder.warn(ofFileLikeTarget: text, at: json.origin)
        return file.read(json, &decoder).map(Target.file)
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
        "Format of the access log; one line per request. `json`: for programs, with every "
          + "attempt. `text`: for people, with every attempt. `combined`: the format of nginx "
          + "and Apache. `off`: no access log. Or a template, such as `$time $client $status "
          + "$ms`. A template can use the names in a line of JSON, and `$time_local`, "
          + "`$request`, `$backend` (of the last attempt) and `$attempts` (their number). An "
          + "unknown value is `-`. Quotes, backslashes and everything that is not printable "
          + "ASCII are escaped as in nginx."),
      Key(
        "sample", \.sample, .integer(0...1_000_000),
        "Log one in this many successful requests: with 100, one in a hundred. The line contains "
          + "the number (`sample`). `0` logs none of them. Responses with status 400 or higher, "
          + "failures, retries and slow requests are always logged."),
      Key(
        "slow", \.slow, .duration(.milliseconds(1) ... .seconds(3600)),
        "Requests that take longer are slow: they are logged whatever `sample` says."),
      Key(
        "redact-query", \.redactQuery, .list(of: .text(maxByteCount: 64, example: "token")),
        "Names of query parameters whose values are replaced by REDACTED, in targets and "
          + "referers. Cookie and Authorization are never logged."),
      Key(
        "target", \.target, target,
        "Where the access log goes. `/dev/stdout` and `/dev/stderr` mean `stdout` and `stderr`, "
          + "also as the target of a symbolic link. A path is a regular file, a device such as "
          + "`/dev/null`, or a named pipe that a process reads. `syslog` sends each line as a "
          + "message of RFC 5424 to `/dev/log`, `syslog:/PATH` to another Unix datagram socket, "
          + "and `syslog:ADDRESS:PORT` by UDP to an IP address. The facility is daemon and the "
          + "MSGID `access`. If the target accepts no lines, they are dropped when the buffer is "
          + "full, and counted."),
      Key(
        "level", \.level, .choice,
        "Lowest level of messages in the process log. `martlet log-level` changes it until the "
          + "next reload."),
      Key(
        "format", \.format, .choice,
        "The format of the process log. `text`: time, level, message, and `key=value` for details. "
          + "`json`: the same as one object for each line."),
      Key(
        "process-target", \.processTarget, .processTarget,
        "Where the process log goes. With `syslog` as in `target`, with the MSGID `process`. "
          + "Messages before the configuration is read, and those that syslog doesn't take, go to "
          + "the standard error."),
    ]
  }()
}

/// The receiver in `syslog`, `syslog:/PATH` or `syslog:ADDRESS:PORT`; nil for anything else.
private func syslogAddress(_ text: String) -> SocketAddress? {
  if text == "syslog" { return .unix("/dev/log") }
  guard text.hasPrefix("syslog:") else { return nil }
  let place = text.dropFirst("syslog:".count)
  if place.hasPrefix("/") { return .unix(String(place)) }
  guard case .address(let address) = parseEndpoint(String(place)) else { return nil }
  return address
}

/// What a text may mean that begins like a receiver of syslog.
private func syslogSuggestion(_ text: String) -> String {
  let place = text.dropFirst("syslog:".count)
  guard text.hasPrefix("syslog:"), !place.isEmpty, !place.contains("/") else {
    return "\"syslog:/dev/log\""
  }
  let isPlain = place == "localhost" || parseEndpoint("\(place):514") == nil
  return JSON.quoted("syslog:\(isPlain ? "127.0.0.1" : place):514")
}

extension Decoder {
  /// Warns of `sislog` or `sislog:/dev/log`, which are valid names of files.
  fileprivate mutating func warn(ofFileLikeTarget text: String, at origin: JSON.Origin) {
    let words = ["stdout", "stderr", "syslog"]
    let name = String(text.prefix { $0 != ":" })
    guard let nearest = nearestName(to: name, among: words) else { return }
    let isWord = name.count == text.count
    report(
      "\(JSON.quoted(text)) is the name of a file in the directory of the configuration",
      at: origin,
      suggestion: JSON.quoted(isWord ? nearest : nearest + text.dropFirst(name.count)),
      severity: .warning)
  }
}

private func syslogText(_ address: SocketAddress) -> String {
  if case .unix(let path) = address { "syslog:\(path)" } else { "syslog:\(address)" }
}

extension Form where Value == Configuration.Log.ProcessTarget {
  fileprivate static var processTarget: Form {
    let description = FormDescription(
      noun: "a target of the process log",
      allowed: "write \"stderr\", \"syslog:/dev/log\", or \"syslog:ADDRESS:PORT\" for UDP",
      kind: "`\"stderr\"` or `\"syslog:…\"`",
      schema: ["type": "string", "pattern": "^(stderr|syslog(:.+)?)$"])
    return Form(description) { json, decoder in
      if json.text == "stderr" { return .stderr }
      if let text = json.text, let address = syslogAddress(text) { return .syslog(address) }
      let text = json.text ?? ""
      if decoder.refusesPort(of: text, at: json.origin) { return nil }
      decoder.mismatch(
        json, description,
        suggestion: text.hasPrefix("syslog")
          ? syslogSuggestion(text)
          : nearestName(to: text, among: ["stderr", "syslog"]).map { JSON.quoted($0) })
      return nil
    } write: {
      switch $0 {
      case .stderr: .string("stderr")
      case .syslog(let address): .string(syslogText(address))
      }
    }
  }
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
        decoder.mismatch(json, description, suggestion: json.offForFalse)
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
  /// The place of a byte in a string that begins here, if it has no unnecessary escapes.
  fileprivate func within(_ text: String, at index: Int) -> JSON.Origin {
    guard case .offset(let start) = self else { return self }
    let before = String(decoding: Array(text.utf8).prefix(index), as: UTF8.self)
    // Don't count the closing quote.
    return .offset(start + JSON.quoted(before).utf8.count - 1)
  }
}
