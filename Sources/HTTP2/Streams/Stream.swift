// The state of one stream, from its head until its owner releases it.

import Primitives

struct Stream {
  let id: UInt32
  var state: StreamState
  /// The owner's number for the stream. It isn't used here.
  var owner: UInt64
  var priority: StreamPriority

  // Receiving.
  /// What the peer may still send. Negative if it sent more before it knew our settings.
  var receiveWindow: Int
  /// The size to which the window is refilled. It grows if the consumer keeps up.
  var windowSize: Int
  /// The part of the size that came from the budgets.
  var growth = 0
  /// Received and not yet consumed: at most the window's size.
  var unconsumedCount = 0
  /// Received since the window last grew, or since the beginning.
  var receivedSinceGrowth = 0
  /// Bytes of DATA still to come according to content-length; -1 without one.
  var expectedCount: Int64 = -1
  var interimCount: UInt16 = 0
  /// As a client: frames that floods consist of, received while such frames were too many.
  var floodCount: UInt16 = 0
  /// No body may follow: the response to HEAD, 204, 304.
  var isWithoutBody = false
  /// As a client: the kind of request, which decides how its response ends.
  var isHead = false
  var isConnect = false

  // Sending.
  /// May be negative after the peer lowered SETTINGS_INITIAL_WINDOW_SIZE (RFC 9113 6.9.2).
  var sendWindow: Int
  /// Bytes of DATA sent within the windows.
  var sentByteCount: UInt64 = 0
  /// The owner has bytes to send.
  var wantsToSend = false
  /// How long the stream may wait for its window is the owner's decision.
  var mayStall = false
  /// Since when the owner has bytes to send and the stream's or the connection's window is closed.
  var stalledSince = Instant.never

  // The position in the send queue.
  var isQueued = false
  var queueLevel: UInt8 = 0
  /// Turns since it came to the front.
  var turns: UInt8 = 0
  var previous = SendQueue.none
  var next = SendQueue.none

  init(
    id: UInt32, state: StreamState, owner: UInt64, priority: StreamPriority, receiveWindow: Int,
    sendWindow: Int
  ) {
    self.id = id
    self.state = state
    self.owner = owner
    self.priority = priority
    self.receiveWindow = receiveWindow
    windowSize = receiveWindow
    self.sendWindow = sendWindow
  }
}
