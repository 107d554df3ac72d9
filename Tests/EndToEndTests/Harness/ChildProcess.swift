// A process that a test starts, with its output in files. It is ended by its id when the test is
// over.
//
// Foundation's Process needs run loops and changes signal handling. These tests stop, kill and
// count processes, so they use the system calls directly.

import Foundation
import Synchronization

final class ChildProcess: Sendable {
  let id: pid_t
  let output: String
  let errors: String
  private let folder: TemporaryFolder
  private let status = Mutex<Int32?>(nil)

  /// Starts `arguments[0]`, which is searched in PATH unless it is a path, in `directory`. Without
  /// `input` the standard input is empty.
  init(
    _ arguments: [String], in directory: String? = nil, input: String? = nil,
    output: String? = nil, environment: [String: String] = [:]
  ) throws {
    // `env` changes the directory and then executes the command, with the same id.
    let arguments = (directory.map { ["env", "--chdir=\($0)"] } ?? []) + arguments
    folder = TemporaryFolder()
    self.output = output ?? folder.path("out")
    errors = folder.path("err")
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    let creating = O_WRONLY | O_CREAT | O_APPEND
    posix_spawn_file_actions_addopen(&actions, 0, input ?? "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&actions, 1, self.output, creating, 0o600)
    posix_spawn_file_actions_addopen(&actions, 2, errors, creating, 0o600)
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    // The test runner may block or ignore signals that the child needs.
    var none = sigset_t()
    var all = sigset_t()
    sigemptyset(&none)
    sigfillset(&all)
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setsigdefault(&attributes, &all)
    posix_spawnattr_setflags(
      &attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
    var variables = ProcessInfo.processInfo.environment
    variables.merge(environment) { $1 }
    var argv = arguments.map { strdup($0) } + [nil]
    var envp = variables.map { strdup("\($0.key)=\($0.value)") } + [nil]
    defer { (argv + envp).forEach { free($0) } }
    var started: pid_t = 0
    let result = posix_spawnp(&started, arguments[0], &actions, &attributes, &argv, &envp)
    guard result == 0 else {
      throw HarnessError("can't start \(arguments[0]): \(String(cString: strerror(result)))")
    }
    id = started
    Children.shared.add(started)
  }

  deinit { end() }

  var outputText: String { Self.text(output) }
  var errorText: String { Self.text(errors) }

  private static func text(_ path: String) -> String {
    String(decoding: FileManager.default.contents(atPath: path) ?? Data(), as: UTF8.self)
  }

  func signal(_ number: Int32) {
    status.withLock { if $0 == nil { kill(id, number) } }
  }

  /// The exit status, or the negative number of the signal that ended it; nil while it runs.
  var exitStatus: Int32? {
    status.withLock { status in
      if status != nil { return status }
      var word: Int32 = 0
      guard waitpid(id, &word, WNOHANG) == id else { return nil }
      Children.shared.remove(id)
      status = word & 0x7F == 0 ? (word >> 8) & 0xFF : -(word & 0x7F)
      return status
    }
  }

  var isRunning: Bool { exitStatus == nil }

  func waitForExit(atMost limit: Double = 30) throws -> Int32 {
    guard poll(atMost: limit, { !isRunning }), let exitStatus else {
      throw HarnessError("process \(id) still runs after \(limit) seconds; it says: \(errorText)")
    }
    return exitStatus
  }

  /// Kills the process if it still runs.
  func end() {
    guard isRunning else { return }
    signal(SIGKILL)
    _ = poll(atMost: 5) { !isRunning }
  }

  /// The processor time that it has used so far, in seconds.
  var processorTime: Double {
    // After the name, which may contain blanks and brackets: utime and stime are fields 14 and 15.
    guard let stat = try? String(contentsOfFile: "/proc/\(id)/stat", encoding: .utf8),
      let end = stat.lastIndex(of: ")")
    else { return .infinity }
    let fields = stat[end...].split(separator: " ")
    guard fields.count > 13, let user = Double(fields[12]), let system = Double(fields[13]) else {
      return .infinity
    }
    return (user + system) / Double(sysconf(Int32(_SC_CLK_TCK)))
  }

  /// The number of the next descriptor that it will open.
  var lowestFreeDescriptor: Int {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(id)/fd")) ?? []
    let taken = Set(names.compactMap { Int($0) })
    return (0...taken.count).first { !taken.contains($0) } ?? 0
  }

  /// Its peak resident memory, in bytes.
  var peakMemory: Int {
    guard let status = try? String(contentsOfFile: "/proc/\(id)/status", encoding: .utf8),
      let line = status.split(separator: "\n").first(where: { $0.hasPrefix("VmHWM:") }),
      let count = line.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first
    else { return .max }
    return (Int(count) ?? .max / 1024) * 1024
  }
}

/// The running processes, so that all of them are ended with the tests.
private final class Children: Sendable {
  static let shared = Children()
  private let ids = Mutex<Set<pid_t>>([])

  private init() {
    atexit { Children.shared.ids.withLock { for id in $0 { kill(id, SIGKILL) } } }
  }

  func add(_ id: pid_t) { _ = ids.withLock { $0.insert(id) } }
  func remove(_ id: pid_t) { _ = ids.withLock { $0.remove(id) } }
}

/// The result of a command that has ended.
struct CommandResult {
  let status: Int32
  let output: String
  let errors: String
}

/// Runs a command and waits until it ends.
@discardableResult
func run(
  _ arguments: [String], in directory: String? = nil, input: String? = nil,
  atMost limit: Double = 60
) throws -> CommandResult {
  var file: String?
  let folder = TemporaryFolder()
  if let input { file = try folder.write(input, to: "in") }
  let child = try ChildProcess(arguments, in: directory, input: file)
  let status = try child.waitForExit(atMost: limit)
  return CommandResult(status: status, output: child.outputText, errors: child.errorText)
}
