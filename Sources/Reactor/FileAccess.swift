// Whether a file could be written, without touching it. The answer may change at any time, so use
// it for advice and not before you open the file.

import Glibc

extension File {
  /// Why the file at `path` can't be opened for appending or created: ENOENT for a missing
  /// directory, EACCES, EISDIR and the like; nil when it can.
  public static func obstacle(toAppendingTo path: String) -> SystemError? {
    switch kind(of: path) {
    case S_IFDIR: SystemError(code: EISDIR)
    case nil: obstacle(toMakingFileAt: path)
    default: unsafe access(path, W_OK) == 0 ? nil : .last
    }
  }

  /// Why no file can be created at `path`.
  public static func obstacle(toMakingFileAt path: String) -> SystemError? {
    let directory = directory(of: path)
    switch kind(of: directory) {
    case S_IFDIR: return unsafe access(directory, W_OK | X_OK) == 0 ? nil : .last
    case nil: return SystemError(code: ENOENT)
    default: return SystemError(code: ENOTDIR)
    }
  }

  /// Why `LocalListener` can't create a socket at `path`. It creates the directory if only that is
  /// missing.
  public static func obstacle(toMakingSocketAt path: String) -> SystemError? {
    // A dead process may have left a socket, which is replaced; other kinds of files are not.
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
