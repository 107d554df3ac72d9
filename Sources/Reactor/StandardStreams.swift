// The three standard file descriptors, and the standard error for threads that must not wait for
// its reader.
//
// A pipe whose reader has stopped accepts 64 KiB and then nothing. This would block a worker or the
// control thread. So lines that cannot be written at once are dropped, and the next line that can
// be written reports how many.

import Glibc
public import Primitives
import Synchronization

public enum StandardStreams {
  /// Opens /dev/null for each standard stream that is closed at the start. Otherwise the next file
  /// or connection would get its number, and log lines or messages would be written to it. Call it
  /// before any other file is opened.
  public static func ensureOpen() {
    for stream in [STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO] where fcntl(stream, F_GETFD) < 0 {
      // The lowest free number is that of the stream, since the lower ones are open.
      _ = unsafe open("/dev/null", O_RDWR)
    }
  }
}

/// The standard error, for use by any thread.
public final class StandardError: TextOutputStream, Sendable {
  public static let shared = StandardError()

  fileprivate struct State {
    var droppedCount = 0
    /// Only a part of the last text was written.
    var isWithinLine = false
  }

  fileprivate enum Outcome {
    case written(Int)
    /// Nothing can be written at the moment.
    case full
    /// Probably nothing can be written any more.
    case failed
  }

  private let file = try? OutputFile(.standardError)
  private let state = Mutex(State())

  private init() {}

  /// Writes whole lines, or drops them if they cannot be written at once.
  public func write(_ text: String) { write(text, atMost: .zero) }

  /// The same, but waits for a slow reader while it reads something in each `patience`. Does not
  /// wait if lines were dropped before.
  public func write(_ text: String, atMost patience: TimeSpan) {
    guard let file else { return }
    let bytes = Array(text.utf8)
    var written = 0
    while written < bytes.count {
      // Other threads can write while this one waits.
      let (outcome, isStalled) = state.withLock { state in
        (state.write(bytes.span.extracting(written...), to: file), state.droppedCount > 0)
      }
      switch outcome {
      case .written(let count): written += count
      case .full where !isStalled && file.isWritable(atMost: patience): continue
      case .full, .failed: return drop(isWithinLine: written > 0)
      }
    }
  }

  private func drop(isWithinLine: Bool) {
    state.withLock { state in
      state.droppedCount += 1
      state.isWithinLine = state.isWithinLine || isWithinLine
    }
  }
}

extension StandardError.State {
  fileprivate mutating func write(
    _ bytes: Span<UInt8>, to file: OutputFile
  ) -> StandardError.Outcome {
    do throws(SystemError) {
      if droppedCount > 0 {
        let notice =
          (isWithinLine ? "\n" : "")
          + "martlet: \(droppedCount) messages were dropped, since nothing read the standard"
          + " error\n"
        if try file.offer(Array(notice.utf8).span) == 0 { return .full }
        self = StandardError.State()
      }
      let count = try file.offer(bytes)
      return count > 0 ? .written(count) : .full
    } catch {
      return .failed
    }
  }
}
