// Messages to a worker from other threads: many writers, one reader, one wake-up.
//
// It carries rare messages (a new snapshot, a freed slot, a result of the resolver, a command), so
// a lock around an array is enough. A worker checks it in every loop iteration; checking an empty
// inbox takes one atomic load and no lock.

public import Primitives
import Synchronization

public final class Inbox<Message: Sendable>: Sendable {
  /// Wakes the reader: pass it to the reader's `EpollIO`.
  public let wakeUp: WakeUp
  private let messages = Mutex<[Message]>([])

  /// Throws EMFILE, ENFILE or ENOMEM.
  public init() throws(SystemError) { wakeUp = try WakeUp() }

  /// Adds a message and wakes the reader. From any thread; a writer's messages keep their order.
  public func post(_ message: Message) {
    messages.withLock { $0.append(message) }
    wakeUp.signal()
  }

  /// Takes all messages, oldest first. Only the reader may call it, once per loop iteration after
  /// `wait`: later messages wake it again.
  public func take() -> [Message] {
    wakeUp.take() ? takeAll() : []
  }

  /// Waits for messages, at most for `limit`, and takes them. For a reader without an `EpollIO`.
  public func wait(atMost limit: TimeSpan? = nil) -> [Message] {
    wakeUp.wait(atMost: limit)
    return takeAll()
  }

  private func takeAll() -> [Message] {
    messages.withLock { messages in
      let taken = messages
      messages = []
      return taken
    }
  }
}
