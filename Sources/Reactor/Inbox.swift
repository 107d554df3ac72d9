// How everything outside a worker reaches it: many writers, one reader, one bell.
//
// It carries the rare things (a new snapshot, a freed slot, an answer of the resolver, a command),
// so a lock around an array is enough. A worker looks in every turn, and looking into an empty
// inbox takes one atomic load and no lock.

public import Primitives
import Synchronization

public final class Inbox<Message: Sendable>: Sendable {
  /// What wakes the reader: hand it to the reader's `EpollIO`.
  public let wakeUp: WakeUp
  private let messages = Mutex<[Message]>([])

  /// Throws EMFILE, ENFILE or ENOMEM.
  public init() throws(SystemError) { wakeUp = try WakeUp() }

  /// Leaves a message and wakes the reader. From any thread; a writer's messages keep their order.
  public func post(_ message: Message) {
    messages.withLock { $0.append(message) }
    wakeUp.signal()
  }

  /// Takes all messages, oldest first. Reader only, once per turn, after `wait`: what is posted
  /// later wakes it again.
  public func take() -> [Message] {
    wakeUp.take() ? takeAll() : []
  }

  /// Waits for messages, `limit` at the most, and takes them. For a reader without an `EpollIO`.
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
