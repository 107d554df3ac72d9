// A file to which data is only appended, or one of the standard streams.
//
// Opening never waits for the reader of a named pipe or for a device. If a path leads to the pipe
// or the socket of the standard output or the standard error, the stream itself is used. The reason
// is that a socket cannot be opened by its path, and a pipe only by its owner. So a log file that
// is a symbolic link to /dev/stdout works, as in many container images.

import CLinux
import Glibc
public import Primitives

/// Where lines are written.
public enum OutputTarget: Hashable, Sendable {
  case standardOutput
  case standardError
  /// Created with mode 0640 if it doesn't exist.
  case file(path: String)
}

/// An open `OutputTarget`.
public final class OutputFile: Sendable {
  /// How bytes are written to it without waiting.
  private enum Kind {
    /// It accepts all bytes.
    case file
    case socket
    /// A pipe or a terminal: if it is writable, it accepts up to `pieceMax` bytes.
    case stream
  }

  public let target: OutputTarget
  private let descriptor: Int32
  private let isOwned: Bool
  private let kind: Kind

  /// What a writable pipe accepts at once (PIPE_BUF).
  private static let pieceMax = 4096

  /// Throws ENOENT, EACCES, EISDIR and similar errors, `notRegularFile` for the socket of a server,
  /// and `notRead` for a named pipe that no process reads.
  public init(_ target: OutputTarget) throws(SystemError) {
    self.target = target
    let stream: Int32? =
      switch target {
      case .standardOutput: STDOUT_FILENO
      case .standardError: STDERR_FILENO
      case .file(let path): Self.standardStream(at: path)
      }
    switch (stream, target) {
    case (let stream?, _):
      let own = Self.reopened(stream)
      descriptor = own ?? stream
      isOwned = own != nil
    case (nil, .file(let path)):
      descriptor = try Self.open(path, creating: true)
      isOwned = true
    case (nil, .standardOutput), (nil, .standardError):
      throw SystemError(code: EBADF)
    }
    kind =
      switch Self.format(of: descriptor) {
      case S_IFSOCK: .socket
      case S_IFIFO: .stream
      case S_IFCHR where isatty(descriptor) == 1: .stream
      default: .file
      }
  }

  /// Opens a pipe or a terminal once more, so that writing to it never waits. The descriptor that
  /// the process was started with can't be made non-blocking, because other processes share it; and
  /// another writer may take the room between a look at it and a write. Nil if it belongs to
  /// another user.
  private static func reopened(_ descriptor: Int32) -> Int32? {
    switch format(of: descriptor) {
    case S_IFIFO: break
    case S_IFCHR where isatty(descriptor) == 1: break
    default: return nil
    }
    let flags = O_WRONLY | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOCTTY
    let number = unsafe Glibc.open("/proc/self/fd/\(descriptor)", flags)
    return number < 0 ? nil : number
  }

  deinit {
    if isOwned { _ = close(descriptor) }
  }

  // MARK: Opening

  /// Why `path` cannot be opened for appending or created; nil if it can. Nothing is created.
  static func obstacle(at path: String) -> SystemError? {
    if standardStream(at: path) != nil { return nil }
    do throws(SystemError) {
      _ = close(try open(path, creating: false))
      return nil
    } catch {
      return error
    }
  }

  private static func open(_ path: String, creating: Bool) throws(SystemError) -> Int32 {
    // Appending is atomic at the end of the file, so that a rotation that truncates the file leaves
    // no hole.
    let flags = O_WRONLY | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOCTTY
    let number = unsafe Glibc.open(path, creating ? flags | O_CREAT : flags, 0o640)
    if number < 0 {
      let error = SystemError.last
      guard error.code == ENXIO else { throw error }
      var status = stat()
      let isPipe = unsafe stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFIFO
      throw isPipe ? .notRead : .notRegularFile
    }
    switch format(of: number) {
    case S_IFREG, S_IFCHR, S_IFIFO: return number
    default:
      _ = close(number)
      throw .notRegularFile
    }
  }

  /// The standard stream to which `path` leads, unless that is an ordinary file, which is opened
  /// like others.
  private static func standardStream(at path: String) -> Int32? {
    var status = stat()
    guard unsafe stat(path, &status) == 0, status.st_mode & S_IFMT != S_IFREG else { return nil }
    return [STDOUT_FILENO, STDERR_FILENO].first { stream in
      var other = stat()
      return unsafe fstat(stream, &other) == 0 && other.st_dev == status.st_dev
        && other.st_ino == status.st_ino
    }
  }

  /// The format bits of its mode.
  private static func format(of descriptor: Int32) -> mode_t? {
    var status = stat()
    return unsafe fstat(descriptor, &status) < 0 ? nil : status.st_mode & S_IFMT
  }

  // MARK: Writing

  /// Writes at least one of `bytes` and returns the number. Waits for a slow reader.
  public func write(_ bytes: Span<UInt8>) throws(SystemError) -> Int {
    while true {
      let count = unsafe bytes.withUnsafeBufferPointer { buffer in
        unsafe Glibc.write(descriptor, buffer.baseAddress, buffer.count)
      }
      if count >= 0 { return count }
      let error = SystemError.last
      switch error.code {
      case EINTR: continue
      // Another process with the same stream has made it non-blocking.
      case EAGAIN: _ = isWritable(atMost: nil)
      default: throw error
      }
    }
  }

  /// Writes as many of `bytes` as possible without waiting, and returns the number; 0 for none. A
  /// pipe gets whole lines, unless they are longer than 4 KiB.
  public func offer(_ bytes: Span<UInt8>) throws(SystemError) -> Int {
    switch kind {
    case .file: return try write(bytes)
    case .socket:
      return try taken {
        unsafe bytes.withUnsafeBufferPointer { buffer in
          unsafe send(
            descriptor, buffer.baseAddress, buffer.count,
            Int32(MSG_DONTWAIT | MSG_NOSIGNAL))
        }
      }
    case .stream:
      // If it could not be opened once more, it may wait. But a pipe that is writable for poll has
      // room for a piece.
      guard isWritable(atMost: .zero) else { return 0 }
      let piece = bytes.firstLines(atMost: Self.pieceMax)
      return try taken {
        unsafe piece.withUnsafeBufferPointer { buffer in
          unsafe Glibc.write(descriptor, buffer.baseAddress, buffer.count)
        }
      }
    }
  }

  /// The number of bytes that a call wrote: 0 if it would have to wait.
  private func taken(_ call: () -> Int) throws(SystemError) -> Int {
    while true {
      let count = call()
      if count >= 0 { return count }
      let error = SystemError.last
      switch error.code {
      case EINTR: continue
      case EAGAIN: return 0
      default: throw error
      }
    }
  }

  /// Waits until bytes can be written, for at most `limit`. Returns whether they can. True also if
  /// the reader has closed its end: then the write reports this.
  public func isWritable(atMost limit: TimeSpan?) -> Bool {
    var request = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
    return unsafe poll(&request, 1, pollMilliseconds(limit)) > 0
  }

  /// Waits until bytes can be written, or until `wakeUp` is signalled, which the caller owns; false
  /// if neither happens within `limit`.
  public func wait(or wakeUp: WakeUp, atMost limit: TimeSpan?) -> Bool {
    var requests: InlineArray<2, pollfd> = [
      pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0),
      pollfd(fd: wakeUp.descriptor, events: Int16(POLLIN), revents: 0),
    ]
    var span = requests.mutableSpan
    let count = unsafe span.withUnsafeMutableBufferPointer { buffer in
      unsafe poll(buffer.baseAddress, nfds_t(buffer.count), pollMilliseconds(limit))
    }
    wakeUp.wait(atMost: .zero)
    return count != 0
  }
}

extension Span where Element == UInt8 {
  /// The lines at the front that fit into `limit` bytes; the front of the first line if it does
  /// not.
  @_lifetime(copy self)
  fileprivate func firstLines(atMost limit: Int) -> Span<UInt8> {
    if count <= limit { return self }
    var end = limit
    while end > 0 && self[end - 1] != 0x0A { end -= 1 }
    return extracting(first: end > 0 ? end : limit)
  }
}
