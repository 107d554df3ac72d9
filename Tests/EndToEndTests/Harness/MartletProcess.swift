// The real binary, run as users run it: with a configuration file, on a port that the kernel chose
// and that Martlet prints on its standard error.

import Foundation
import Testing

/// The locations of this package's files.
enum Installation {
  static let binary = products + "/martlet"
  /// The load generator of the benchmark.
  static let steady = products + "/steady"
  /// The directory of the test bundle, with the other build products.
  private static let products: String = {
    let runner = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    let bundle = CommandLine.arguments.first { $0.hasSuffix(".xctest") } ?? runner ?? ""
    return (bundle as NSString).deletingLastPathComponent
  }()
  static let root = (#filePath as NSString).deletingLastPathComponent + "/../../.."
  static let scripts = root + "/scripts"
  /// Whether the binary was built with a sanitizer (set by scripts/test).
  static let isSanitized = ProcessInfo.processInfo.environment["MARTLET_SANITIZER"] != nil
}

/// An entry in a pool's list of backends.
protocol ConfiguredBackend: Sendable {
  var json: String { get }
}

extension String: ConfiguredBackend {
  var json: String { "\"\(self)\"" }
}

extension StubBackend: ConfiguredBackend {
  var json: String { "\"\(address)\"" }
}

extension Nginx: ConfiguredBackend {
  var json: String { "\"\(address)\"" }
}

/// A backend with more keys than its address.
struct Detailed: ConfiguredBackend {
  let backend: any ConfiguredBackend
  let keys: String
  var json: String { #"{ "address": \#(backend.json), \#(keys) }"# }
}

final class MartletProcess: Sendable {
  let process: ChildProcess
  /// The directory of the configuration and the access log.
  let folder: TemporaryFolder
  /// The ports in the order of the listeners.
  let ports: [Int]
  var port: Int { ports[0] }
  /// Objects that must live as long as this one.
  private let kept: [any Sendable]

  /// Starts with `configuration`, JSON whose access log goes to `access.log` by default, and waits
  /// until it listens. `wrapper` is a command that executes Martlet.
  init(
    _ configuration: String, _ flags: [String] = [], in folder: TemporaryFolder? = nil,
    binary: String = Installation.binary, wrapper: [String] = [],
    environment: [String: String] = [:],
    keeping kept: [any Sendable] = []
  ) throws {
    self.kept = kept
    let folder = folder ?? TemporaryFolder()
    self.folder = folder
    try folder.write(configuration, to: "config.json")
    process = try Self.start(
      ["run"] + flags, in: folder, binary: binary, wrapper: wrapper, environment: environment)
    let process = process
    let listens = poll {
      process.errorText.contains(" try: ") || process.errorText.contains("try: curl")
        || !process.isRunning
    }
    ports = Self.ports(in: process.errorText)
    guard listens, process.isRunning, !ports.isEmpty else {
      throw HarnessError("martlet doesn't listen: \(process.errorText)")
    }
  }

  /// One plain listener and one pool with these backends.
  convenience init(
    backends: [any ConfiguredBackend], pool: String = "", listener: String = "", rest: String = "",
    flags: [String] = [], wrapper: [String] = [], token: String? = nil
  ) throws {
    let folder = TemporaryFolder()
    if let token { try folder.write(token + "\n", to: "token") }
    try self.init(
      Self.configuration(backends: backends, pool: pool, listener: listener, rest: rest), flags,
      in: folder, wrapper: wrapper, keeping: backends)
  }

  static func configuration(
    backends: [any ConfiguredBackend], pool: String = "", listener: String = "", rest: String = ""
  ) -> String {
    let list = backends.map(\.json).joined(separator: ", ")
    return """
      {
        "listeners": [{ "listen": "127.0.0.1:0"\(listener.isEmpty ? "" : ", " + listener) }],
        "pools": [{ "backends": [\(list)]\(pool.isEmpty ? "" : ", " + pool) }],
        "log": { "target": "access.log" }\(rest.isEmpty ? "" : ", " + rest)
      }
      """
  }

  /// Starts the binary without waiting.
  static func start(
    _ arguments: [String], in folder: TemporaryFolder, binary: String = Installation.binary,
    wrapper: [String] = [], environment: [String: String] = [:]
  ) throws -> ChildProcess {
    guard FileManager.default.isExecutableFile(atPath: binary) else {
      throw HarnessError("no martlet at \(binary)")
    }
    // So that each process has a separate admin socket.
    let directory = ["RUNTIME_DIRECTORY": folder.path]
    return try ChildProcess(
      wrapper + [binary] + arguments, in: folder.path,
      environment: environment.merging(directory) { given, _ in given })
  }

  private static func ports(in text: String) -> [Int] {
    // In both formats of the process log.
    let line = /(?:Z notice listening url=|"listening","url":")(?:https?|[tu]..):\/\/\S*?:(\d+)\//
    return text.matches(of: line).compactMap { Int($0.1) }
  }

  /// The process log.
  var log: String { process.errorText }

  /// The port of `admin.listen` on 127.0.0.1, from the log.
  func adminPort() throws -> Int {
    let said = log.firstMatch(of: #/admin interface listening url=https?:\/\/127\.0\.0\.1:(\d+)/#)
    return try #require(said.flatMap { Int($0.1) })
  }

  /// The serial number of the certificate for a client without a server name.
  func servedSerial() throws -> String {
    try run(
      [
        "sh", "-c",
        "openssl s_client -connect 127.0.0.1:\(port) </dev/null 2>/dev/null"
          + " | openssl x509 -noout -serial",
      ]
    ).output
  }

  var accessLog: String { folder.read("access.log") }

  /// The access log, one object per line; throws for a line that is no JSON object.
  func accessLines() throws -> [[String: Any]] {
    try folder.lines(of: "access.log").map { line in
      guard let object = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
      else { throw HarnessError("no object: \(line)") }
      return object
    }
  }

  /// Waits for this number of lines in the access log.
  func accessLines(atLeast count: Int) throws -> [[String: Any]] {
    _ = poll { accessLog.count { $0 == "\n" } >= count }
    let lines = try accessLines()
    #expect(lines.count >= count)
    return lines
  }

  func wire(_ index: Int = 0, receiveBuffer: Int32? = nil) throws -> Wire {
    let wire = try Wire(port: ports[index], receiveBuffer: receiveBuffer)
    wire.owner = self
    return wire
  }

  /// The page of metrics, through the admin socket.
  func metrics() throws -> String {
    try run(
      ["curl", "-sS", "--unix-socket", folder.path("admin.sock"), "http://a/metrics"]
    ).output
  }

  /// The value of the first series that begins with this; 0 if there is none.
  func metric(_ series: String) throws -> Int {
    let line = try metrics().split(separator: "\n").first { $0.hasPrefix(series) }
    return line?.split(separator: " ").last.flatMap { Int($0) } ?? 0
  }

  /// One request on a separate connection.
  func get(_ target: String = "/", _ fields: String = "", listener: Int = 0) throws -> Message {
    try wire(listener).get(target, fields)
  }

  /// Martlet's response to these bytes.
  func answer(_ bytes: String) throws -> Message { try wire().exchange(bytes) }

  func signal(_ number: Int32) { process.signal(number) }

  /// Sends SIGTERM, and returns the exit status.
  func terminate() throws -> Int32 {
    signal(SIGTERM)
    let status = try process.waitForExit()
    // What Martlet says if a gauge or a count is wrong at its end.
    if log.contains("please report this bug") { throw HarnessError("counts are wrong: \(log)") }
    return status
  }

  /// Writes a new configuration and reloads it; returns when it is in force or refused.
  func reload(_ configuration: String) throws {
    try folder.write(configuration, to: "config.json")
    let before = reloadCount
    signal(SIGHUP)
    guard poll({ reloadCount > before }) else { throw HarnessError("no reload: \(log)") }
  }

  private var reloadCount: Int {
    log.components(separatedBy: "\n").count {
      $0.contains("configuration is in force") || $0.contains("configuration is refused")
    }
  }
}
