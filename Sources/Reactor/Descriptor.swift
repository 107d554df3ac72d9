// A file descriptor with an owner, to pass from one process to another.
//
// It is blocking, so it is for the control thread and for threads that only wait. Sockets of
// connections don't use this type: workers close those themselves (EpollIO).

import CLinux
import Glibc

/// A descriptor that is closed with its last reference, and that children don't inherit by
/// accident.
public final class Descriptor: Sendable {
  public let number: Int32

  private init(owning number: Int32) { self.number = number }

  deinit { _ = Glibc.close(number) }

  /// Takes ownership of a descriptor that this process was started with. Throws EBADF.
  public static func inherited(_ number: Int32) throws(SystemError) -> Descriptor {
    if fcntl(number, F_SETFD, FD_CLOEXEC) < 0 { throw .last }
    return Descriptor(owning: number)
  }

  /// A file that exists only in memory and contains `bytes`. It has no name, and is gone with its
  /// last descriptor.
  public static func memory(_ bytes: [UInt8]) throws(SystemError) -> Descriptor {
    let number = clinux_memory_file()
    if number < 0 { throw .last }
    let file = Descriptor(owning: number)
    try file.write(bytes)
    if lseek(number, 0, SEEK_SET) < 0 { throw .last }
    return file
  }

  /// Two ends: what is written to one is read from the other.
  public static func pair() throws(SystemError) -> (Descriptor, Descriptor) {
    var ends: InlineArray<2, Int32> = [-1, -1]
    var span = ends.mutableSpan
    let result = unsafe span.withUnsafeMutableBufferPointer { buffer in
      unsafe socketpair(
        AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, buffer.baseAddress)
    }
    if result < 0 { throw .last }
    return (Descriptor(owning: ends[0]), Descriptor(owning: ends[1]))
  }

  /// Writes all of `bytes`.
  public func write(_ bytes: [UInt8]) throws(SystemError) {
    var written = 0
    while written < bytes.count {
      let count = unsafe bytes.withUnsafeBytes { buffer in
        unsafe Glibc.write(
          number, buffer.baseAddress?.advanced(by: written), buffer.count - written)
      }
      if count < 0 {
        if errno == EINTR { continue }
        throw .last
      }
      written += count
    }
  }

  /// Reads up to the end. Throws EFBIG when there are more than `limit` bytes.
  public func readAll(limit: Int) throws(SystemError) -> [UInt8] {
    var bytes: [UInt8] = []
    while true {
      var chunk = [UInt8](repeating: 0, count: Self.chunkByteCount)
      let count = unsafe chunk.withUnsafeMutableBytes {
        unsafe Glibc.read(number, $0.baseAddress, $0.count)
      }
      if count == 0 { return bytes }
      if count < 0 {
        if errno == EINTR { continue }
        throw .last
      }
      if count > limit - bytes.count { throw .fileTooLarge }
      bytes += chunk[..<count]
    }
  }

  private static let chunkByteCount = 16 * 1024
}

extension Descriptor {
  /// Opens the file at `path` for reading. Throws ENOENT, EACCES and similar errors.
  ///
  /// The file must be a regular file, unless `isAny` is set: the open would wait without limit for
  /// a pipe to which no process writes.
  static func file(_ path: String, isAny: Bool) throws(SystemError) -> Descriptor {
    let flags = O_RDONLY | O_CLOEXEC | O_NOCTTY
    let number = unsafe open(path, isAny ? flags : flags | O_NONBLOCK)
    if number < 0 { throw errno == ENXIO ? .notRegularFile : .last }
    let descriptor = Descriptor(owning: number)
    if isAny { return descriptor }
    var status = stat()
    if unsafe fstat(number, &status) < 0 { throw .last }
    switch status.st_mode & S_IFMT {
    case S_IFREG: return descriptor
    case S_IFDIR: throw SystemError(code: EISDIR)
    default: throw .notRegularFile
    }
  }
}
