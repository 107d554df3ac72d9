// Reads and writes whole files: configuration, certificates and small files of the kernel.
// Blocking, so only for the control thread.

import Glibc

public enum File {
  /// The bytes of the file at `path`. Throws EFBIG if there are more than `limit`,
  /// `notRegularFile`, ENOENT, EACCES, EISDIR and similar errors.
  public static func read(_ path: String, limit: Int) throws(SystemError) -> [UInt8] {
    try Descriptor.file(path, isAny: false).readAll(limit: limit)
  }

  /// The same for a command, which may get a pipe from a shell. Waits for the process that writes
  /// to it.
  public static func readStream(_ path: String, limit: Int) throws(SystemError) -> [UInt8] {
    try Descriptor.file(path, isAny: true).readAll(limit: limit)
  }

  /// Replaces the file at `path` atomically: readers get either the old content or all of the new
  /// one. Throws EACCES when the directory isn't writable, ENOENT and the like; `notRegularFile`
  /// for a device, a pipe, a socket or a link, which stay as they are.
  public static func replace(_ path: String, with text: String) throws(SystemError) {
    if let obstacle = obstacle(toReplacing: path) { throw obstacle }
    let fresh = "\(path).\(getpid())"
    // It is from a process that had the same id, or from another user. Neither is opened.
    _ = unsafe unlink(fresh)
    let number = unsafe open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
    if number < 0 { throw .last }
    do throws(SystemError) {
      try Descriptor.inherited(number).write(Array(text.utf8))
      if unsafe rename(fresh, path) < 0 { throw .last }
    } catch {
      _ = unsafe unlink(fresh)
      throw error
    }
  }

  /// The absolute path without links; nil if no file is there.
  public static func absolutePath(of path: String) -> String? {
    guard let absolute = unsafe realpath(path, nil) else { return nil }
    defer { unsafe free(absolute) }
    return unsafe String(cString: absolute)
  }

  /// Removes the file at `path`, if it exists and the permissions allow it.
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

/// The target of the symbolic link at `path`; nil if there is none.
func readLink(_ path: String) -> String? {
  var target = [UInt8](repeating: 0, count: Int(PATH_MAX))
  let count = unsafe target.withUnsafeMutableBytes { bytes in
    // It isn't empty, so it has an address.
    unsafe readlink(
      path, bytes.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: CChar.self), bytes.count)
  }
  return count > 0 ? String(decoding: target[..<count], as: UTF8.self) : nil
}
