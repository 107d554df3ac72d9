// A file that is only appended to, or a standard stream. Blocking, so never for a worker.

import CLinux
import Glibc

/// Where lines are written.
public enum OutputTarget: Hashable, Sendable {
  case standardOutput
  case standardError
  /// Created with mode 0640 if it doesn't exist.
  case file(path: String)
}

/// An open `OutputTarget`.
public final class OutputFile: Sendable {
  public let target: OutputTarget
  private let descriptor: Int32
  private let isOwned: Bool

  /// Throws ENOENT, EACCES, EISDIR and the like.
  public init(_ target: OutputTarget) throws(SystemError) {
    self.target = target
    switch target {
    case .standardOutput:
      descriptor = STDOUT_FILENO
      isOwned = false
    case .standardError:
      descriptor = STDERR_FILENO
      isOwned = false
    case .file(let path):
      // With O_APPEND every write goes to the current end of the file, so a rotation that truncates
      // the file in place leaves no hole.
      descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o640)
      isOwned = descriptor >= 0
      if descriptor < 0 { throw .last }
    }
  }

  deinit {
    if isOwned { _ = close(descriptor) }
  }

  /// Writes at least one of `bytes` and returns how many. Blocks while a pipe is full.
  public func write(_ bytes: Span<UInt8>) throws(SystemError) -> Int {
    while true {
      let count = unsafe bytes.withUnsafeBufferPointer { buffer in
        unsafe Glibc.write(descriptor, buffer.baseAddress, buffer.count)
      }
      if count >= 0 { return count }
      let error = SystemError.last
      switch error.code {
      case EINTR: continue
      case EAGAIN:
        // Another process that has the stream open has made it non-blocking.
        var request = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        _ = unsafe poll(&request, 1, -1)
      default: throw error
      }
    }
  }
}
