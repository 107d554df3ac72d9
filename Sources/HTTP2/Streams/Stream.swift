// What a connection knows of one stream, from its head to the moment its owner lets it go.

import Primitives

struct Stream {
  let id: UInt32
  var state: StreamState
  /// What the owner wants to be told with each event; nothing to us.
  var owner: UInt64
  var priority: StreamPriority

  // Receiving.
  /// What the peer may still send. Negative where it used more before it knew our settings.
  var receiveWindow: Int
  /// What the window is filled up to: it grows where the consumer keeps up.
  var windowSize: Int
  /// What of that came from the budgets.
  var growth = 0
  /// Received, and not consumed yet: at most the window's size.
  var unconsumedCount = 0
  /// Received since the window last grew, or since the beginning.
  var receivedSinceGrowth = 0
  /// Bytes of DATA that the content-length still announces; -1 without one.
  var expectedCount: Int64 = -1
  var interimCount: UInt16 = 0
  /// No body may come: the response to HEAD, 204, 304.
  var isWithoutBody = false
  /// As a client: what the request was, which decides how its response ends.
  var isHead = false
  var isConnect = false

  // Sending.
  /// May be negative after the peer lowered SETTINGS_INITIAL_WINDOW_SIZE (RFC 9113 6.9.2).
  var sendWindow: Int
  /// Bytes of DATA that the windows took.
  var sentByteCount: UInt64 = 0
  /// The owner has bytes to send.
  var wantsToSend = false
  /// Since when it has, and the stream's or the connection's window has been closed.
  var stalledSince = Instant.never

  // The place in the send queue.
  var isQueued = false
  var queueLevel: UInt8 = 0
  /// Turns that it had since it came to the front.
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
