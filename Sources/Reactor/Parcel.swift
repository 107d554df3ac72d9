// What a thread is given at its start.
//
// The closure of a thread lives as long as the thread, and with it whatever it captures: a log file
// that was rotated away, the first configuration with its private keys. So it captures a parcel,
// which is empty once the thread has taken what is in it.

import Synchronization

public final class Parcel<Content: Sendable>: Sendable {
  private let content: Mutex<Content?>

  public init(_ content: Content) { self.content = Mutex(content) }

  /// What it holds; nil once it has been taken.
  public func take() -> Content? {
    content.withLock { content in
      defer { content = nil }
      return content
    }
  }
}
