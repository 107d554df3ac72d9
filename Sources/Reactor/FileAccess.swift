// Whether a file could be written, without touching it. The answer may change at any time, so use
// it for advice and not before you open the file.

import CLinux
import Glibc
import Primitives

extension File {
  /// Why an `OutputFile` at `path` cannot be opened or created: ENOENT for a missing directory,
  /// EACCES, EISDIR and similar errors; nil if it can.
  public static func obstacle(toAppendingTo path: String) -> SystemError? {
    let obstacle = OutputFile.obstacle(at: path)
    if obstacle != .noSuchFile { return obstacle }
    // The file is created at the target of a symbolic link.
    guard let target = target(of: path) else { return SystemError(code: ELOOP) }
    return self.obstacle(toMakingFileAt: target)
  }

  /// Why no file can be created at `path`.
  public static func obstacle(toMakingFileAt path: String) -> SystemError? {
    var status = stat()
    // A name that is too long, or a file instead of a directory.
    if unsafe lstat(path, &status) < 0 && errno != ENOENT { return .last }
    let directory = directory(of: path)
    switch kind(of: directory) {
    // For root, the permissions of /dev/fd seem to allow writing.
    case S_IFDIR where unsafe clinux_is_kernel_directory(directory) == 1: return .noSuchFile
    case S_IFDIR: return unsafe access(directory, W_OK | X_OK) == 0 ? nil : .last
    case nil: return SystemError(code: ENOENT)
    default: return SystemError(code: ENOTDIR)
    }
  }

  /// Why `replace` cannot replace or create the file at `path`.
  public static func obstacle(toReplacing path: String) -> SystemError? {
    var status = stat()
    if unsafe lstat(path, &status) == 0 && status.st_mode & S_IFMT != S_IFREG {
      return .notRegularFile
    }
    return obstacle(toMakingFileAt: path)
  }

  /// The target of the symbolic links at `path`, whether or not it exists; nil if there are more
  /// links than the kernel follows.
  private static func target(of path: String) -> String? {
    var path = path
    for _ in 0..<40 {
      guard let link = readLink(path) else { return path }
      path = link.hasPrefix("/") ? link : directory(of: path) + "/" + link
    }
    return nil
  }

  /// Why `LocalListener` cannot create a socket at `path`. It creates the directory if only that is
  /// missing.
  public static func obstacle(toMakingSocketAt path: String) -> SystemError? {
    do throws(SystemError) { _ = try KernelAddress(.unix(path)) } catch { return error }
    // A process that ended may have left a socket there. Anything else is not removed.
    if let kind = kind(of: path), kind != S_IFSOCK { return .fileExists }
    let directory = directory(of: path)
    return kind(of: directory) == nil
      ? obstacle(toMakingFileAt: directory) : obstacle(toMakingFileAt: path)
  }

  private static func directory(of path: String) -> String {
    guard let slash = path.lastIndex(of: "/") else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
  }

  /// The format bits of its mode; nil when it doesn't exist or isn't visible.
  private static func kind(of path: String) -> mode_t? {
    var status = stat()
    return unsafe stat(path, &status) < 0 ? nil : status.st_mode & S_IFMT
  }
}

extension SystemError {
  /// The description for an operation on a file. If a permission is missing, it names the user.
  public var ofFile: String {
    self == .permissionDenied ? "\(self) for the user \(Privileges.userName)" : "\(self)"
  }
}
