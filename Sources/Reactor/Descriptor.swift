// A file descriptor with an owner, to pass from one process to another.
//
// It is blocking, so it is for the control thread and for threads that only wait. Sockets of
// connections don't use this type: workers close those themselves (EpollIO).

import CLinux
import Glibc
public import Primitives

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

  // MARK: Sockets

  /// The other end reads the end of what was written; this end can still read.
  public func endWriting() throws(SystemError) {
    if shutdown(number, Int32(SHUT_WR)) < 0 { throw .last }
  }

  /// The other end reads the end, and can't send any more, whoever else has this descriptor.
  public func hangUp() { _ = shutdown(number, Int32(SHUT_RDWR)) }

  /// The longest that one send or receive waits.
  public func limitWaits(to span: TimeSpan) {
    let microseconds = max(0, span.microseconds)
    var time = timeval(
      tv_sec: Int(microseconds / 1_000_000), tv_usec: Int(microseconds % 1_000_000))
    for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
      _ = unsafe setsockopt(
        number, SOL_SOCKET, option, &time, socklen_t(MemoryLayout<timeval>.size))
    }
  }

  /// Of a millisecond.
  private static let waitsMax = 10_000

  /// The most descriptors that one `send` passes.
  public static let passedMax = Int(CLINUX_DESCRIPTOR_MAX)

  /// Sends bytes, and with the first of them descriptors, which the receiver gets as its own.
  public func send(_ bytes: [UInt8], passing descriptors: [Int32]) throws(SystemError) {
    precondition(!bytes.isEmpty && descriptors.count <= Self.passedMax)
    var sent = 0
    var toPass = descriptors
    var waits = 0
    while sent < bytes.count {
      let count = unsafe bytes.withUnsafeBytes { buffer in
        unsafe toPass.withUnsafeBufferPointer { passed in
          unsafe clinux_send_descriptors(
            number, buffer.baseAddress?.advanced(by: sent), UInt(buffer.count - sent),
            passed.baseAddress, Int32(passed.count))
        }
      }
      if count < 0 {
        switch errno {
        case EINTR: continue
        // Too many are on their way: the receiver takes them, or hangs.
        case ETOOMANYREFS where waits < Self.waitsMax:
          waits += 1
          usleep(1000)
        default: throw .last
        }
        continue
      }
      toPass = []
      sent += count
    }
  }

  /// Receives some bytes, and the descriptors that were sent with them; no bytes at the end.
  public func receive() throws(SystemError) -> (bytes: [UInt8], descriptors: [Int32]) {
    var bytes = [UInt8](repeating: 0, count: Self.chunkByteCount)
    var passed = [Int32](repeating: -1, count: Self.passedMax)
    var passedCount = Int32(Self.passedMax)
    while true {
      let count = unsafe bytes.withUnsafeMutableBytes { buffer in
        unsafe passed.withUnsafeMutableBufferPointer { passed in
          unsafe clinux_receive_descriptors(
            number, buffer.baseAddress, UInt(buffer.count), passed.baseAddress, &passedCount)
        }
      }
      if count >= 0 { return (Array(bytes[..<count]), Array(passed[..<Int(passedCount)])) }
      if errno != EINTR { throw .last }
      passedCount = Int32(Self.passedMax)
    }
  }
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
