// A listening Unix socket that only its user can connect to.
//
// The path is taken from a process that is gone, and never from one that listens, unless that is
// the one which this process takes over from.

import CLinux
import Glibc
import Primitives

/// A Unix socket for the admin interface, with its name in the file system.
public final class LocalListener: Sendable {
  public let socket: Socket
  public let path: String
  /// The name as it was made, so that nobody else's is removed.
  private let version: FileVersion?

  /// Listens at `path`, and makes its directory if that alone is missing. Throws EADDRINUSE when a
  /// process listens there and `replaces` is false, EACCES, ENOENT and the like.
  public init(path: String, replaces: Bool) throws(SystemError) {
    let address = try KernelAddress(.unix(path))
    if let slash = path.lastIndex(of: "/"), slash > path.startIndex {
      // Failing here shows as a failure to bind.
      _ = unsafe mkdir(String(path[..<slash]), 0o700)
    }
    let descriptor = openSocket(family: AF_UNIX)
    if descriptor < 0 { throw .last }
    do throws(SystemError) {
      if !replaces && Self.isServed(address) { throw SystemError(code: EADDRINUSE) }
      _ = unsafe unlink(path)
      if unsafe address.withPointer({ unsafe Glibc.bind(descriptor, $0, $1) }) < 0 { throw .last }
      // Before it listens, so that nobody else can connect in between.
      if unsafe chmod(path, 0o600) < 0 { throw .last }
      if listen(descriptor, 16) < 0 { throw .last }
    } catch {
      _ = Glibc.close(descriptor)
      throw error
    }
    socket = Socket(descriptor: descriptor)
    self.path = path
    version = FileVersion(of: path)
  }

  /// Closes the socket, and removes its name unless another process has put its own there.
  public func close() {
    if version != nil && FileVersion(of: path) == version { _ = unsafe unlink(path) }
    _ = Glibc.close(socket.descriptor)
  }

  private static func isServed(_ address: KernelAddress) -> Bool {
    let probe = openSocket(family: AF_UNIX)
    if probe < 0 { return false }
    defer { _ = Glibc.close(probe) }
    return unsafe address.withPointer { unsafe connect(probe, $0, $1) } == 0
  }
}
