// Whether a file could be written, without touching it. The answer may change at any time, so use
// it for advice and not before you open the file.

import CLinux
import Glibc
import Primitives

extension File {
  /// Why an `OutputFile` can't be opened at `path`, or be made: ENOENT for a missing directory,
  /// EACCES, EISDIR and the like; nil when it can.
  public static func obstacle(toAppendingTo path: String) -> SystemError? {
    let obstacle = OutputFile.obstacle(at: path)
    if obstacle != .noSuchFile { return obstacle }
    // It is made where a symbolic link leads to.
    guard let target = target(of: path) else { return SystemError(code: ELOOP) }
    return self.obstacle(toMakingFileAt: target)
  }

  /// Why no file can be created at `path`.
  public static func obstacle(toMakingFileAt path: String) -> SystemError? {
    var status = stat()
    // A name that is too long, or a file in place of a directory.
    if unsafe lstat(path, &status) < 0 && errno != ENOENT { return .last }
    let directory = directory(of: path)
    switch kind(of: directory) {
    // Root seems to be allowed to write in /dev/fd.
    case S_IFDIR where unsafe clinux_is_kernel_directory(directory) == 1: return .noSuchFile
    case S_IFDIR: return unsafe access(directory, W_OK | X_OK) == 0 ? nil : .last
    case nil: return SystemError(code: ENOENT)
    default: return SystemError(code: ENOTDIR)
    }
  }

  /// Where the symbolic links at `path` end, whether anything is there or not; nil when there are
  /// more of them than the kernel follows.
  private static func target(of path: String) -> String? {
    var path = path
    for _ in 0..<40 {
      guard let link = readLink(path) else { return path }
      path = link.hasPrefix("/") ? link : directory(of: path) + "/" + link
    }
    return nil
  }

  /// Why no socket can be made at `path` by `LocalListener`, which makes its directory if that
  /// alone is missing.
  public static func obstacle(toMakingSocketAt path: String) -> SystemError? {
    do throws(SystemError) { _ = try KernelAddress(.unix(path)) } catch { return error }
    // A socket may be left there by a process that is gone, and nothing else is taken away.
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
