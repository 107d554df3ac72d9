// One HTTP/2 connection (RFC 9113), as a server or as a client: bytes in, events and bytes out.
//
// It reads no clock and moves no bytes itself. Its owner gives it what came (`receive`), the time
// (`expire`), and the one output queue to which it appends frames; it tells what happened by
// events. It alone knows framing, windows, settings and GOAWAY. It doesn't buffer bodies: pieces
// are lent, and what the owner doesn't pass on is bounded by the streams' windows. Receiving,
// sending, settings, draining and deadlines are in extensions of their own.

import HTTP
public import Primitives

public struct HTTP2Connection: ~Copyable {
  public let role: HTTP2Role
  let limits: HTTP2Limits

  // What comes.
  var phase: ReadingPhase
  var decoder: HPACKDecoder
  /// The frames of a block in progress.
  var block = ByteBuffer()
  /// The largest identifier of a stream of the peer's.
  var peerLastStream: UInt32 = 0
  var receiveWindow = PeerSettings.initialWindow
  /// What a new stream's receive window is.
  var firstWindow: Int
  /// By when a frame or block that has begun to come has to be complete. DATA has no such deadline:
  /// the pace of a body is its owner's matter.
  var frameDeadline = Instant.never
  /// When the last byte came.
  var lastReceived: Instant

  // What goes.
  var encoder: HPACKEncoder
  /// The identifier of the next stream that we open.
  var nextStream: UInt32 = 1
  var sendWindow = PeerSettings.initialWindow
  var queue = SendQueue()
  /// Streams whose owner has bytes to send.
  var wantingCount = 0

  var streams = StreamTable()
  var closed = ClosedStreams()
  var earlyPriorities = EarlyPriorities()
  /// Bytes by which windows have grown, taken from the budgets.
  var windowGrowth = 0

  // The connection as a whole.
  var peer = PeerSettings()
  /// Our SETTINGS that are not acknowledged, and by when the first has to be.
  var unacknowledgedSettings = 0
  var settingsDeadline = Instant.never
  /// The first SETTINGS of ours have been acknowledged.
  var settingsAreInForce = false
  /// What the last SETTINGS of ours told.
  var streamCountMax: Int
  var ping = PingState.none
  var pingNumber: UInt64 = 0
  var drain = DrainState.none
  var peerGoAway: PeerGoAway? = nil
  /// Streams above the peer's GOAWAY are still to be told about, from this slot on.
  var sweep: UInt16? = nil
  var stallCheck = Instant.never
  var floods = FloodGuard()
  var backlog = ControlBacklog()

  /// Call `start` next.
  public init(role: HTTP2Role, limits: HTTP2Limits = HTTP2Limits(), at now: Instant) {
    precondition(limits.streamCount <= StreamTable.countMax)
    precondition(limits.streamWindow > 0 && limits.frameByteCount > 0)
    self.role = role
    self.limits = limits
    phase = role == .server ? .preface(matched: 0) : .settings
    // Until the peer has acknowledged our settings, it may use what RFC 9113 6.5.2 begins with.
    decoder = HPACKDecoder(
      tableByteCountMax: max(limits.decoderTableByteCount, HPACKDecoder.defaultTableByteCount))
    firstWindow = max(limits.streamWindow, PeerSettings.initialWindow)
    encoder = HPACKEncoder(
      tableByteCountCap: limits.encoderTableByteCount, isShared: role == .client)
    streamCountMax = limits.streamCount
    lastReceived = now
  }

  // MARK: What is known of it

  /// Streams that the owner has not released.
  public var streamCount: Int { streams.count }

  /// As a client: how many more streams can be opened now.
  public var freeStreamCount: Int {
    guard role == .client, peerGoAway == nil, drain == .none, !isBroken,
      nextStream <= Self.streamIDMax
    else { return 0 }
    return max(0, min(limits.streamCount, peer.maxConcurrentStreams ?? 100) - streams.count)
  }

  /// As a client: no stream will be opened any more, whatever ends.
  public var takesNoMoreStreams: Bool {
    peerGoAway != nil || drain != .none || isBroken || nextStream > Self.streamIDMax
  }

  /// As a client: whether the server takes extended CONNECT (RFC 8441).
  public var offersExtendedConnect: Bool { peer.takesExtendedConnect }

  /// The connection can be closed as soon as the output has been sent: it failed, or it is drained
  /// and no stream is left.
  public var isFinished: Bool {
    if isBroken { return true }
    guard streams.count == 0 else { return false }
    return drain.hasEnded || (role == .client && peerGoAway != nil)
  }

  public var isBroken: Bool {
    if case .failed = phase { true } else { false }
  }

  /// How often the peer did what a flood is made of.
  public var floodCounts: FloodCounts { floods.counts }

  /// Memory beside the value itself, in bytes.
  public var storedByteCount: Int {
    decoder.storedByteCount + encoder.storedByteCount + streams.storedByteCount + block.capacity
  }

  static let streamIDMax: UInt32 = 0x7FFF_FFFF

  // MARK: Streams

  /// The owner's own number for a stream. `stream` must not have been released.
  public func owner(of stream: UInt32) -> UInt64? {
    streams.find(stream).map { streams[$0].owner }
  }

  public mutating func setOwner(_ owner: UInt64, of stream: UInt32) {
    if let slot = streams.find(stream) { streams[slot].owner = owner }
  }

  /// Gives the stream up with this code, unless it is closed already. What is in the output before
  /// stays there, so that a complete response reaches the client before its RST_STREAM.
  public mutating func abortStream(
    _ stream: UInt32, _ code: ErrorCode, into output: inout ByteBuffer
  ) {
    guard let slot = streams.find(stream), !streams[slot].state.isClosed, !isBroken else { return }
    let before = output.count
    reset(slot, code, into: &output)
    backlog.wrote(output.count - before)
  }

  /// The owner is done with the stream, and will not hear of it again; one that isn't closed is
  /// given up. Until then it counts against the limit of streams, so that a client that resets
  /// streams doesn't get ahead of the work that they caused.
  public mutating func release(
    _ stream: UInt32, workspace: inout HTTP2Workspace, into output: inout ByteBuffer
  ) {
    guard let slot = streams.find(stream) else { return }
    abortStream(stream, .cancel, into: &output)
    dequeue(slot)
    windowGrowth -= streams[slot].growth
    workspace.windowBudget += streams[slot].growth
    remember(slot)
    streams.remove(slot)
  }

  /// Gives back what the connection took from the workspace's budget. The last call.
  public mutating func end(workspace: inout HTTP2Workspace) {
    workspace.windowBudget += windowGrowth
    windowGrowth = 0
  }

  /// Gives memory back that an idle connection doesn't need. Call it when it comes to rest.
  public mutating func settle() {
    streams.settle()
    if block.isEmpty && block.hasStorage { block = ByteBuffer() }
  }

  /// Sends RST_STREAM. The stream stays until its owner releases it.
  mutating func reset(_ slot: UInt16, _ code: ErrorCode, into output: inout ByteBuffer) {
    FrameWriter.resetStream(streams[slot].id, code, into: &output)
    streams[slot].state = .resetByUs
    dequeue(slot)
  }

  /// Resets a stream by the peer's fault.
  mutating func fail(
    _ slot: UInt16, _ error: HTTP2Error, at now: Instant, into output: inout ByteBuffer
  ) throws(HTTP2Error) -> HTTP2Event {
    reset(slot, error.code, into: &output)
    try countCausedReset(at: now)
    return .failed(stream: streams[slot].id, error)
  }

  private mutating func remember(_ slot: UInt16) {
    switch streams[slot].state {
    case .resetByUs: closed.add(streams[slot].id, .resetByUs)
    case .resetByPeer: closed.add(streams[slot].id, .resetByPeer)
    case .live: closed.add(streams[slot].id, .ended)
    }
  }

  mutating func countCausedReset(at now: Instant) throws(HTTP2Error) {
    try backlog.add(limit: limits.controlBacklogCount)
    try floods.take(.causedReset, limits.floods, at: now)
  }

  /// Ends the connection by an error of the peer's (RFC 9113 5.4.1).
  mutating func fail(_ error: HTTP2Error, into output: inout ByteBuffer) -> HTTP2Event {
    FrameWriter.goAway(last: lastProcessed, error.code, into: &output)
    phase = .failed(error)
    return .broken(error)
  }

  /// The last stream of the peer's that we may have done something with.
  var lastProcessed: UInt32 {
    if case .final(let last) = drain { last } else { peerLastStream }
  }
}
