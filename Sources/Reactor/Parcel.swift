// A value that is passed to a thread at its start.
//
// A thread's closure lives as long as the thread, and so does everything that it captures: a log
// file that was rotated away, or the first configuration with its private keys. So it captures a
// parcel, which is empty once the thread has taken the value.

import Synchronization

public final class Parcel<Content: Sendable>: Sendable {
  private let content: Mutex<Content?>

  public init(_ content: Content) { self.content = Mutex(content) }

  /// The value; nil once it has been taken.
  public func take() -> Content? {
    content.withLock { content in
      defer { content = nil }
      return content
    }
  }
}
