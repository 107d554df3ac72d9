// The three descriptors that every process is started with, and the standard error for threads that
// must not wait for its reader.
//
// A pipe whose reader has stopped takes 64 KiB and then nothing. A worker or the control thread
// that wrote there would stand still with it, so lines that can't be written at once are dropped,
// and the next one that can be says how many.

import Glibc
public import Primitives
import Synchronization

public enum StandardStreams {
  /// Opens /dev/null in place of each standard stream that this process was started without. Else
  /// the next file or connection would get its number, and the log or a message would be written
  /// into it. Call it before anything else is opened.
  public static func ensureOpen() {
    for stream in [STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO] where fcntl(stream, F_GETFD) < 0 {
      // The lowest number that is free: that of the stream, since those below are open.
      _ = unsafe open("/dev/null", O_RDWR)
    }
  }
}

/// The standard error. From any thread.
public final class StandardError: TextOutputStream, Sendable {
  public static let shared = StandardError()

  fileprivate struct State {
    var droppedCount = 0
    /// Of the last text only a part was written.
    var isWithinLine = false
  }

  fileprivate enum Outcome {
    case written(Int)
    /// Nothing can be written at once.
    case full
    /// Nothing can be written any more, for all that is known.
    case failed
  }

  private let file = try? OutputFile(.standardError)
  private let state = Mutex(State())

  private init() {}

  /// Writes whole lines, or drops them when they can't be written at once.
  public func write(_ text: String) { write(text, atMost: .zero) }

  /// The same, but waits for a slow reader as long as that takes something every `patience`. Where
  /// lines have been dropped before it doesn't wait.
  public func write(_ text: String, atMost patience: TimeSpan) {
    guard let file else { return }
    let bytes = Array(text.utf8)
    var written = 0
    while written < bytes.count {
      // Others write while this one waits.
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
