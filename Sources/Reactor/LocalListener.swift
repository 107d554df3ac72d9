// A listening Unix socket to which only its user can connect.
//
// An existing socket at the path is replaced only if its process is gone, which is the case when
// the kernel refuses a connection, or if it is the process that this one takes over from. A socket
// with a listening process is not replaced, even if its queue is full. Other kinds of files are
// never replaced.

import CLinux
import Glibc
import Primitives

/// A Unix socket for the admin interface, with a name in the file system.
public final class LocalListener: Sendable {
  public let socket: Socket
  public let path: String
  /// Identifies the created name, so that no other process's socket is removed.
  private let version: FileVersion?

  /// Connections that may wait to be accepted.
  public static let backlog: Int32 = 16

  /// Listens at `path`, and creates its directory if only that is missing. `predecessor`: the
  /// process whose socket may be replaced while it listens. Throws EADDRINUSE when another process
  /// listens there, EEXIST when the file is no socket, EACCES, ENOENT and the like.
  public init(path: String, predecessor: Int32? = nil) throws(SystemError) {
    let address = try KernelAddress(.unix(path))
    if let slash = path.lastIndex(of: "/"), slash > path.startIndex {
      // If the directory is then still missing, bind fails.
      _ = unsafe mkdir(String(path[..<slash]), 0o700)
    }
    let descriptor = openSocket(family: AF_UNIX)
    if descriptor < 0 { throw .last }
    do throws(SystemError) {
      try Self.makeWay(at: path, address, predecessor)
      if unsafe address.withPointer({ unsafe Glibc.bind(descriptor, $0, $1) }) < 0 { throw .last }
      // Before listen, so that no other user can connect in between.
      if unsafe chmod(path, 0o600) < 0 { throw .last }
      if listen(descriptor, Self.backlog) < 0 { throw .last }
    } catch {
      _ = Glibc.close(descriptor)
      throw error
    }
    socket = Socket(descriptor: descriptor)
    self.path = path
    version = FileVersion(of: path)
  }

  /// Removes the name, unless another process has created its own there. The owner closes the
  /// socket.
  public func removeName() {
    if version != nil && FileVersion(of: path) == version { _ = unsafe unlink(path) }
  }

  /// Closes the socket, and removes its name.
  public func close() {
    removeName()
    _ = Glibc.close(socket.descriptor)
  }

  /// Removes the socket of a process that is gone.
  private static func makeWay(
    at path: String, _ address: KernelAddress, _ predecessor: Int32?
  ) throws(SystemError) {
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
      case ECONNREFUSED: break
      case ENOENT: return
      // Its queue is full: a process listens.
      case EAGAIN: throw .addressInUse
      default: throw .last
      }
    }
    if unsafe unlink(path) < 0 && errno != ENOENT { throw .last }
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
