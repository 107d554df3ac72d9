// A listening Unix socket to which only its user can connect.
//
// It first listens under a temporary name, and then is renamed to its path in one step. So a client
// finds the old socket or the new one, and a start that fails changes nothing. It replaces the
// socket of a process that ended, for which the kernel refuses connections. It does not replace one
// on which a process listens, even if its queue is full, unless this process takes over from that
// process. It never replaces a file that is not a socket.

import CLinux
import Glibc
import Primitives

/// A Unix socket for the admin interface, with a name in the file system.
public final class LocalListener: Sendable {
  public let socket: Socket
  public let path: String
  /// Its path before the rename.
  private let temporaryPath: String
  /// The process whose socket may be replaced while it listens.
  private let predecessor: Int32?
  /// The version of its file, so that no file of another process is removed.
  private let version: FileVersion?

  /// Connections that may wait to be accepted.
  public static let backlog: Int32 = 16
  /// How often it tries to lock the directory, with pauses of a hundredth of a second.
  private static let lockTries = 50

  /// Listens under the temporary name. Creates the directory if only that is missing. Throws
  /// EADDRINUSE if another process than `predecessor` listens there, EEXIST if the file is not a
  /// socket, EACCES, ENOENT and similar errors.
  public init(path: String, predecessor: Int32? = nil) throws(SystemError) {
    if let slash = path.lastIndex(of: "/"), slash > path.startIndex {
      // If the directory is then still missing, bind fails.
      _ = unsafe mkdir(String(path[..<slash]), 0o700)
    }
    try Self.checkName(path, predecessor)
    let descriptor = openSocket(family: AF_UNIX)
    if descriptor < 0 { throw .last }
    var random = SystemRandomNumberGenerator()
    let number = UInt32.random(in: 0 ... .max, using: &random)
    temporaryPath = "\(path).\(String(number, radix: 16))"
    do throws(SystemError) {
      try Self.bind(descriptor, to: temporaryPath)
      // Before it listens, so that no other user can connect in between.
      if unsafe chmod(temporaryPath, 0o600) < 0 || listen(descriptor, Self.backlog) < 0 {
        let error = SystemError.last
        _ = unsafe unlink(temporaryPath)
        throw error
      }
    } catch {
      _ = Glibc.close(descriptor)
      throw error
    }
    socket = Socket(descriptor: descriptor)
    self.path = path
    self.predecessor = predecessor
    version = FileVersion(of: temporaryPath)
  }

  private static func bind(_ descriptor: Int32, to path: String) throws(SystemError) {
    func bind(to path: String) throws(SystemError) {
      let address = try KernelAddress(.unix(path))
      if unsafe address.withPointer({ unsafe Glibc.bind(descriptor, $0, $1) }) < 0 { throw .last }
    }
    do throws(SystemError) {
      try bind(to: path)
    } catch .nameTooLong {
      // The path of a socket has a small limit, and the temporary name is longer than the final
      // one.
      guard let slash = path.lastIndex(of: "/") else { throw .nameTooLong }
      let directory = unsafe open(String(path[...slash]), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
      if directory < 0 { throw .last }
      defer { _ = Glibc.close(directory) }
      try bind(to: "/proc/self/fd/\(directory)/\(path[path.index(after: slash)...])")
    }
  }

  /// Renames it to the path, in one step. Throws the same errors as `init`, since the path may have
  /// changed meanwhile.
  public func takeName() throws(SystemError) {
    let lock = Self.lock(directoryOf: path)
    defer { if lock >= 0 { _ = Glibc.close(lock) } }
    try Self.checkName(path, predecessor)
    if unsafe rename(temporaryPath, path) < 0 { throw .last }
  }

  /// Whether the file is still its own: it may have been removed.
  public var isInPlace: Bool { version != nil && FileVersion(of: path) == version }

  /// Removes the file unless it belongs to another process. The owner must close the socket.
  public func removeName() {
    for name in [path, temporaryPath] where version != nil && FileVersion(of: name) == version {
      _ = unsafe unlink(name)
    }
  }

  /// Closes the socket, and removes its name.
  public func close() {
    removeName()
    _ = Glibc.close(socket.descriptor)
  }

  /// Locks the directory, so that only one of two processes that find a free path takes it. Closing
  /// the descriptor releases the lock. Negative if there is no lock or others hold it: a longer
  /// wait would be worse than this rare case.
  private static func lock(directoryOf path: String) -> Int32 {
    let directory = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "."
    let descriptor = unsafe open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    if descriptor < 0 { return descriptor }
    for _ in 0..<lockTries {
      if flock(descriptor, LOCK_EX | LOCK_NB) == 0 { return descriptor }
      usleep(10_000)
    }
    _ = Glibc.close(descriptor)
    return -1
  }

  /// Throws unless the path is free, or its process ended or hands it over.
  private static func checkName(
    _ path: String, _ predecessor: Int32?
  ) throws(SystemError) {
    let address = try KernelAddress(.unix(path))
    var status = stat()
    if unsafe lstat(path, &status) < 0 {
      if errno == ENOENT { return }
      throw .last
    }
    if status.st_mode & S_IFMT != S_IFSOCK { throw SystemError(code: EEXIST) }
    let probe = openSocket(family: AF_UNIX)
    if probe < 0 { throw .last }
    defer { _ = Glibc.close(probe) }
    if unsafe address.withPointer({ unsafe connect(probe, $0, $1) }) == 0 {
      guard let predecessor, peer(of: probe) == predecessor else { throw .addressInUse }
    } else {
      switch errno {
      case ECONNREFUSED, ENOENT: return
      // Its queue is full: it listens.
      case EAGAIN: throw .addressInUse
      default: throw .last
      }
    }
  }

  /// The process that listens at the other end.
  private static func peer(of descriptor: Int32) -> Int32? {
    // A ucred: process, user, group.
    var credentials: (Int32, UInt32, UInt32) = (0, 0, 0)
    var length = socklen_t(MemoryLayout<(Int32, UInt32, UInt32)>.size)
    let result = unsafe getsockopt(
      descriptor, SOL_SOCKET, SO_PEERCRED, &credentials, &length)
    return result == 0 ? credentials.0 : nil
  }
}
