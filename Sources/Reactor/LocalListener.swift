// A listening Unix socket to which only its user can connect.
//
// It listens under a name of its own first, and then moves to its path in one step, so that a
// client finds the old socket or the new one, and a start that fails has changed nothing. The path
// is taken from a process that is gone, which shows by the kernel refusing a connection, and from
// nothing else: not from one that listens, however full its queue is, unless that is the one which
// this process takes over from; and not from a file that is no socket.

import CLinux
import Glibc
import Primitives

/// A Unix socket for the admin interface, with a name in the file system.
public final class LocalListener: Sendable {
  public let socket: Socket
  public let path: String
  /// Where it listens before it takes the path.
  private let temporaryPath: String
  /// The process whose socket may be replaced while it listens.
  private let predecessor: Int32?
  /// The name as it was made, so that nobody else's is removed.
  private let version: FileVersion?

  /// Connections that may wait to be accepted.
  public static let backlog: Int32 = 16
  /// Tries to lock the directory, a hundredth of a second apart.
  private static let lockTries = 50

  /// Listens, but not at `path` yet, and makes its directory if that alone is missing. Throws
  /// EADDRINUSE when another process than `predecessor` listens there, EEXIST when something else
  /// than a socket is there, EACCES, ENOENT and the like.
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
      // Before it listens, so that nobody else can connect in between.
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
      // The path of a socket has few bytes, and this one is longer than the one it is for.
      guard let slash = path.lastIndex(of: "/") else { throw .nameTooLong }
      let directory = unsafe open(String(path[...slash]), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
      if directory < 0 { throw .last }
      defer { _ = Glibc.close(directory) }
      try bind(to: "/proc/self/fd/\(directory)/\(path[path.index(after: slash)...])")
    }
  }

  /// Takes the path, in one step. Throws as `init` does: others may have come first.
  public func takeName() throws(SystemError) {
    let lock = Self.lock(directoryOf: path)
    defer { if lock >= 0 { _ = Glibc.close(lock) } }
    try Self.checkName(path, predecessor)
    if unsafe rename(temporaryPath, path) < 0 { throw .last }
  }

  /// Whether its name leads to it: somebody may have removed the file.
  public var isInPlace: Bool { version != nil && FileVersion(of: path) == version }

  /// Removes the name unless another process has put its own there. The socket is the owner's to
  /// close.
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

  /// A lock on the directory, so that of two processes which find a name free only one takes it.
  /// Closing the descriptor ends it. Negative where there is none, or others keep it: waiting
  /// longer would be worse than the rare case that it is for.
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

  /// Throws unless the name is free, or a process has left it that is gone or gives way.
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
