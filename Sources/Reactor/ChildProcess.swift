// Starts another process, and passes data in its environment.
//
// It uses posix_spawn and not fork: between fork and exec, a process with several threads may call
// hardly anything, since another thread may hold any lock. All our descriptors are close-on-exec,
// so a child has the standard streams and the descriptors that are passed explicitly.

import CLinux
import Glibc
public import Primitives

/// A child of this process. Call `wait` once it has ended.
public struct ChildProcess: Sendable {
  public let id: Int32

  /// How a process ended.
  public enum Ending: Equatable, Sendable, CustomStringConvertible {
    case exited(status: Int32)
    case killed(signal: Int32)

    public var description: String {
      switch self {
      case .exited(let status): "exit status \(status)"
      case .killed(let signal): "signal \(signal)"
      }
    }
  }

  /// Starts `arguments[0]`, which is searched in PATH unless it is a path. `descriptors` keep their
  /// numbers. No signal is blocked, and SIGPIPE has its default action. Throws ENOENT, EACCES,
  /// ENOEXEC, EAGAIN.
  public init(
    _ arguments: [String], environment: [String], descriptors: [Int32]
  ) throws(SystemError) {
    var actions = unsafe posix_spawn_file_actions_t()
    unsafe posix_spawn_file_actions_init(&actions)
    defer { unsafe posix_spawn_file_actions_destroy(&actions) }
    // Duplicating a descriptor onto itself clears close-on-exec, in the child only.
    for number in descriptors {
      unsafe posix_spawn_file_actions_adddup2(&actions, number, number)
    }
    var attributes = posix_spawnattr_t()
    unsafe posix_spawnattr_init(&attributes)
    defer { unsafe posix_spawnattr_destroy(&attributes) }
    var none = sigset_t()
    unsafe sigemptyset(&none)
    unsafe posix_spawnattr_setsigmask(&attributes, &none)
    var usual = sigset_t()
    unsafe sigemptyset(&usual)
    unsafe sigaddset(&usual, SIGPIPE)
    unsafe posix_spawnattr_setsigdefault(&attributes, &usual)
    unsafe posix_spawnattr_setflags(
      &attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))

    var argv = unsafe arguments.map { unsafe strdup($0) } + [nil]
    var variables = unsafe environment.map { unsafe strdup($0) } + [nil]
    defer {
      unsafe argv.forEach { unsafe free($0) }
      unsafe variables.forEach { unsafe free($0) }
    }
    var started: pid_t = 0
    let code = unsafe posix_spawnp(
      &started, arguments[0], &actions, &attributes, &argv, &variables)
    if code != 0 { throw SystemError(code: code) }
    id = started
  }

  /// Asks the process to end (SIGTERM).
  public func terminate() { _ = Glibc.kill(id, SIGTERM) }

  /// Ends the process at once (SIGKILL).
  public func kill() { _ = Glibc.kill(id, SIGKILL) }

  /// Waits until the process has ended. Call it only once: afterwards the id may be reused.
  public func wait() -> Ending {
    var status: Int32 = 0
    while unsafe waitpid(id, &status, 0) < 0 && errno == EINTR {}
    let signal = status & 0x7F
    return signal == 0 ? .exited(status: status >> 8 & 0xFF) : .killed(signal: signal)
  }
}

/// This process.
public enum CurrentProcess {
  public static var id: Int32 { getpid() }
  public static var parentID: Int32 { getppid() }

  /// The path of this process's program when it was started, even if another file is there now.
  public static var program: String? {
    guard let text = readLink("/proc/self/exe") else { return nil }
    let mark = " (deleted)"
    return text.hasSuffix(mark) ? String(text.dropLast(mark.count)) : text
  }

  /// Whether the process has a terminal for a question and its answer.
  public static var hasTerminal: Bool { isatty(STDIN_FILENO) == 1 && isatty(STDERR_FILENO) == 1 }

  /// Sends `signal` to another process. Throws ESRCH and EPERM.
  public static func send(_ signal: Signal, to process: Int32) throws(SystemError) {
    if Glibc.kill(process, signal.number) < 0 { throw .last }
  }

  /// Whether there is a process of that id.
  public static func exists(_ process: Int32) -> Bool {
    Glibc.kill(process, 0) == 0 || errno == EPERM
  }

  /// Sleeps, for a command that waits for another process.
  public static func pause(_ span: TimeSpan) {
    _ = poll(nil, 0, pollMilliseconds(span))
  }
}

/// The variables of the environment. Use it at start, before there are other threads.
public enum Environment {
  /// Removes and returns a variable, so that no child inherits what was meant for this process.
  public static func take(_ name: String) -> String? {
    guard let value = self[name] else { return nil }
    _ = unsafe unsetenv(name)
    return value
  }

  public static subscript(name: String) -> String? {
    guard let value = unsafe getenv(name) else { return nil }
    return unsafe String(cString: value)
  }

  /// All variables, as `NAME=value`.
  public static var all: [String] {
    var variables: [String] = []
    guard var next = unsafe clinux_environment() else { return [] }
    while let variable = unsafe next.pointee {
      unsafe variables.append(String(cString: variable))
      unsafe next += 1
    }
    return variables
  }
}
