// Where the lines of the access log go: a file, a standard stream, or syslog.

import Configuration
import Primitives
import Reactor

/// An open target.
enum LogOutput: Sendable {
  case file(OutputFile)
  case syslog(SyslogOutput)

  init(_ target: Configuration.Log.Target) throws(SystemError) {
    switch target {
    case .stdout: self = .file(try OutputFile(.standardOutput))
    case .stderr: self = .file(try OutputFile(.standardError))
    case .file(let path): self = .file(try OutputFile(.file(path: path)))
    case .syslog(let address): self = .syslog(SyslogOutput(to: address))
    }
  }

  /// The same target, opened again: a file that was moved is created, and a syslog receiver that
  /// was restarted is connected again.
  func reopened() throws(SystemError) -> LogOutput {
    switch self {
    case .file(let file): .file(try OutputFile(file.target))
    case .syslog(let output): .syslog(SyslogOutput(to: output.address))
    }
  }

  /// Writes as many of `bytes` as the target accepts without waiting, and returns how many; 0 for
  /// none.
  func offer(_ bytes: Span<UInt8>) throws(SystemError) -> Int {
    switch self {
    case .file(let file): try file.offer(bytes)
    case .syslog(let output): try output.write(bytes)
    }
  }

  /// Waits until the target may accept bytes, or until `wakeUp` is signalled, whose owner is the
  /// caller. False if neither has happened within `limit`.
  func wait(or wakeUp: WakeUp, atMost limit: TimeSpan?) -> Bool {
    switch self {
    case .file(let file): return file.wait(or: wakeUp, atMost: limit)
    case .syslog:
      // A full receiver of datagrams does not make the socket unwritable, so try again soon.
      wakeUp.wait(atMost: .milliseconds(10))
      return true
    }
  }
}

/// Cuts the bytes of the access log into lines, and sends each as a message.
///
/// Sendable because it is handed over to the writer's thread once and used by that alone.
final class SyslogOutput: @unchecked Sendable {
  let address: SocketAddress
  private var writer: SyslogWriter
  /// The start of a line without its end.
  private var rest = ByteBuffer()

  init(to address: SocketAddress) {
    self.address = address
    writer = SyslogWriter(to: address, id: "access")
  }

  /// Takes at most one line.
  func write(_ bytes: Span<UInt8>) throws(SystemError) -> Int {
    let end = bytes.firstIndex(of: 0x0A, in: 0..<bytes.count)
    if end == bytes.count {
      rest.append(bytes)
      return end
    }
    let begun = rest.count
    rest.append(bytes.extracting(..<end))
    do throws(SystemError) {
      if try writer.send(rest.bytes) {
        rest.removeAll()
        return end + 1
      }
      rest.truncate(to: begun)
      return 0
    } catch {
      rest.truncate(to: begun)
      throw error
    }
  }
}
