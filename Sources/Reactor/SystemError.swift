// Errors of system calls, as errno with names and descriptions.
//
// The worker compares codes. Text is made only by `name` and `description`, so a failure on the
// request path costs no formatting.

import CLinux
import Glibc

/// Why a system call failed, as errno.
public struct SystemError: Error, Hashable, Sendable {
  public let code: Int32
  public init(code: Int32) { self.code = code }

  public static let addressInUse = SystemError(code: EADDRINUSE)
  public static let addressNotAvailable = SystemError(code: EADDRNOTAVAIL)
  public static let brokenPipe = SystemError(code: EPIPE)
  public static let connectionAborted = SystemError(code: ECONNABORTED)
  public static let connectionRefused = SystemError(code: ECONNREFUSED)
  public static let connectionReset = SystemError(code: ECONNRESET)
  public static let fileExists = SystemError(code: EEXIST)
  public static let familyNotSupported = SystemError(code: EAFNOSUPPORT)
  public static let fileTooLarge = SystemError(code: EFBIG)
  public static let hostUnreachable = SystemError(code: EHOSTUNREACH)
  public static let nameTooLong = SystemError(code: ENAMETOOLONG)
  /// A pipe, a socket or a device where a regular file is required. It has no errno.
  public static let notRegularFile = SystemError(code: -1)
  /// No process has the pipe open for reading. It has no errno.
  public static let notRead = SystemError(code: -2)
  public static let networkUnreachable = SystemError(code: ENETUNREACH)
  public static let noSuchFile = SystemError(code: ENOENT)
  public static let permissionDenied = SystemError(code: EACCES)
  public static let timedOut = SystemError(code: ETIMEDOUT)
  public static let tooManyFiles = SystemError(code: EMFILE)

  /// This machine has run out of descriptors, memory or local ports. The peer isn't to blame.
  public var isShortage: Bool {
    switch code {
    case EMFILE, ENFILE, ENOBUFS, ENOMEM, EADDRNOTAVAIL: true
    default: false
    }
  }

  /// The error of the call that has just failed on this thread.
  static var last: SystemError { SystemError(code: errno) }

  /// Ends the process if only a bug of ours can cause this error: a descriptor that was already
  /// closed, or an invalid address. Otherwise one client's bytes could be sent to another.
  func trapIfOurs(in call: StaticString) {
    switch code {
    case EBADF, EFAULT, ENOTSOCK: fatalError("\(call) failed: \(self)")
    default: break
    }
  }
}

extension SystemError: CustomStringConvertible {
  /// The name in the manual, such as `ECONNREFUSED`.
  public var name: String {
    guard let name = unsafe clinux_error_name(code) else { return "errno \(code)" }
    return unsafe String(cString: name)
  }

  /// A description with the name after it: `Connection refused (ECONNREFUSED)`.
  public var description: String {
    if self == .notRegularFile { return "it is not a regular file" }
    if self == .notRead { return "no process reads from this pipe" }
    guard let phrase = unsafe clinux_error_phrase(code) else { return name }
    return unsafe "\(String(cString: phrase)) (\(name))"
  }
}
