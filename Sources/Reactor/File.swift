// Reads and writes whole files: configuration, certificates and small files of the kernel.
// Blocking, so only for the control thread.

import Glibc

public enum File {
  /// The content of the file at `path`. Throws EFBIG when it is larger than `limit`, ENOENT,
  /// EACCES, EISDIR and the like.
  public static func read(_ path: String, limit: Int) throws(SystemError) -> [UInt8] {
    try Descriptor.file(path).readAll(limit: limit)
  }

  /// Replaces the file at `path` atomically: readers get either the old content or all of the new
  /// one. Throws EACCES when the directory isn't writable, ENOENT and the like.
  public static func replace(_ path: String, with text: String) throws(SystemError) {
    let fresh = "\(path).\(getpid())"
    let number = unsafe open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o644)
    if number < 0 { throw .last }
    do throws(SystemError) {
      try Descriptor.inherited(number).write(Array(text.utf8))
      if unsafe rename(fresh, path) < 0 { throw .last }
    } catch {
      _ = unsafe unlink(fresh)
      throw error
    }
  }

  /// The path from the root, without links; nil when nothing is there.
  public static func absolutePath(of path: String) -> String? {
    guard let absolute = unsafe realpath(path, nil) else { return nil }
    defer { unsafe free(absolute) }
    return unsafe String(cString: absolute)
  }

  /// Removes the file at `path`, if it is there and may be removed.
  public static func remove(_ path: String) { _ = unsafe unlink(path) }
}

/// Identifies the file at a path and its content at one moment. Another file, or changed content,
/// is another version.
public struct FileVersion: Equatable, Sendable {
  private let device: UInt64
  private let number: UInt64
  private let seconds: Int
  private let nanoseconds: Int

  /// Nil when there is no file.
  public init?(of path: String) {
    var status = stat()
    if unsafe stat(path, &status) < 0 { return nil }
    device = UInt64(status.st_dev)
    number = UInt64(status.st_ino)
    seconds = status.st_mtim.tv_sec
    nanoseconds = status.st_mtim.tv_nsec
  }
}
