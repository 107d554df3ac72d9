// The running process that this one was started to replace, seen from here.
//
// It has left two descriptors: a file in memory with everything that goes along (Handover), and
// one end of a channel. One message comes back over the channel: that this process serves, or why
// it can't. Until then the other goes on serving, so nothing is lost if this one fails. Afterwards
// it sends the sessions of its UDP listeners over the channel.

import Primitives
import Reactor
import Synchronization

public final class Predecessor: Sendable {
  /// Names the descriptors, and the process that may use them: this one's child would have them
  /// under other numbers, or not at all.
  static let variable = "MARTLET_HANDOVER"
  static let readyMessage = "ready"
  /// Room for the health of a hundred thousand backends.
  static let handoverByteCountMax = 32 << 20

  let id: Int32
  /// Nil when it can't be read: the two versions don't understand each other.
  let handover: Handover?
  private let channel: Mutex<Descriptor?>

  /// Nil for a process that was started in the ordinary way. Ask once, before anything else.
  public static func find() -> Predecessor? {
    guard let value = Environment.take(variable) else { return nil }
    let numbers = value.split(separator: ":").compactMap { Int32($0) }
    guard numbers.count == 3, numbers[0] == CurrentProcess.parentID,
      let memory = try? Descriptor.inherited(numbers[1]),
      let channel = try? Descriptor.inherited(numbers[2])
    else { return nil }
    let bytes = try? memory.readAll(limit: handoverByteCountMax)
    return Predecessor(numbers[0], bytes.flatMap(Handover.init), channel)
  }

  private init(_ id: Int32, _ handover: Handover?, _ channel: Descriptor) {
    self.id = id
    self.handover = handover
    self.channel = Mutex(channel)
  }

  /// Says that this process serves, so that the other may drain. Returns what the sessions come
  /// over; nil if the other can't be told.
  func makeWay() -> Descriptor? {
    channel.withLock { channel in
      defer { channel = nil }
      do throws(SystemError) {
        try channel?.write(Array(Self.readyMessage.utf8))
        try channel?.endWriting()
      } catch {
        return nil
      }
      return channel
    }
  }

  /// Says why this process won't serve. The first report counts.
  public func goOn(because reason: String) { report(reason) }

  /// It sees the end of the channel when this end is closed, so there is nothing to wait for.
  private func report(_ text: String) {
    channel.withLock { channel in
      try? channel?.write(Array(text.utf8))
      channel = nil
    }
  }
}
