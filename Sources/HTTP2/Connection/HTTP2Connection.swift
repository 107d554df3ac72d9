// One HTTP/2 connection (RFC 9113), as a server or as a client: bytes in, events and bytes out.
//
// It reads no clock and does no I/O. Its owner passes input (`receive`), the time
// (`expire`), and the one output queue to which it appends frames; it reports what happened as
// events. All of framing, windows, settings and GOAWAY is in here. It doesn't buffer bodies: pieces
// are borrowed, and the streams' windows limit how much the owner must hold. Extensions contain
// receiving, sending, settings, draining and deadlines. Methods are mutating even where they only
// read, since the compiler copies the whole struct to call others (decision 2).

import HTTP
public import Primitives

public struct HTTP2Connection: ~Copyable {
  public let role: HTTP2Role
  let limits: HTTP2Limits

  // Receiving.
  var phase: ReadingPhase
  var decoder: HPACKDecoder
  /// The frames of an incomplete block.
  var block = ByteBuffer()
  /// The largest identifier of a stream that the peer opened.
  var peerLastStream: UInt32 = 0
  var receiveWindow = PeerSettings.initialWindow
  /// The receive window of a new stream.
  var firstWindow: Int
  /// The deadline for the rest of a frame or block. DATA has none: the owner decides how slow a
  /// body may be.
  var frameDeadline = Instant.never
  /// When the last byte was received.
  public internal(set) var lastReceived: Instant

  // Sending.
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
  /// Our SETTINGS without acknowledgement, and the deadline for those at the start.
  var unacknowledgedSettings = 0
  var settingsDeadline = Instant.never
  /// Our first SETTINGS have been acknowledged.
  var settingsAreInForce = false
  /// The value in our last SETTINGS.
  var streamCountMax: Int
  var ping = PingState.none
  var pingNumber: UInt64 = 0
  /// Since when there are streams; `.never` without any. As noted by `deadline(at:)`.
  var busySince = Instant.never
  /// When the last PING for `pingInterval` was sent; nil if heads or bodies came after it.
  var quietPing: Instant? = nil
  var drain = DrainState.none
  var peerGoAway: PeerGoAway? = nil
  /// Streams above the last one in the peer's GOAWAY are still to be reported, from this slot on.
  var sweep: UInt16? = nil
  var stallCheck = Instant.never
  var floods = FloodGuard()
  /// As a client: streams below this one have earned their tokens.
  var creditedStream: UInt32 = 1
  var backlog = ControlBacklog()

  /// The caller must call `start` next.
  public init(role: HTTP2Role, limits: HTTP2Limits = HTTP2Limits(), at now: Instant) {
    precondition(limits.streamCount <= StreamTable.countMax)
    precondition(limits.streamWindow > 0 && limits.frameByteCount > 0)
    self.role = role
    self.limits = limits
    phase = role == .server ? .preface(matched: 0) : .settings
    // Until the peer has acknowledged our settings, it may use the initial values of RFC 9113
    // 6.5.2.
    decoder = HPACKDecoder(
      tableByteCountMax: max(limits.decoderTableByteCount, HPACKDecoder.defaultTableByteCount))
    firstWindow = max(limits.streamWindow, PeerSettings.initialWindow)
    encoder = HPACKEncoder(
      tableByteCountCap: limits.encoderTableByteCount, isShared: role == .client)
    streamCountMax = limits.streamCount
    lastReceived = now
  }

  // MARK: State

  /// Streams that the owner has not released.
  public var streamCount: Int { streams.count }

  /// Slots of streams; `stream(at:)` tells which are in use, for an owner that ends all streams.
  public var slotCount: UInt16 { streams.slotCount }

  /// The stream in this slot that the owner has not released; nil for none.
  public mutating func stream(at slot: UInt16) -> UInt32? {
    streams.count > 0 && streams.isTaken(slot) ? streams[slot].id : nil
  }

  /// As a client: how many more streams can be opened now.
  public var freeStreamCount: Int {
    mutating get {
      guard role == .client, peerGoAway == nil, drain == .none, !isBroken,
        nextStream <= Self.streamIDMax
      else { return 0 }
      return max(0, openStreamMax - streams.count)
    }
  }

  /// As a client: how many streams may be open at once.
  public var openStreamMax: Int { min(limits.streamCount, peer.maxConcurrentStreams ?? 100) }

  /// As a client: no more streams can be opened, even after others end.
  public var takesNoMoreStreams: Bool {
    mutating get {
      peerGoAway != nil || drain != .none || isBroken || nextStream > Self.streamIDMax
    }
  }

  /// As a client: whether the server's first SETTINGS have arrived.
  public var knowsPeer: Bool { phase != .settings }

  /// As a client: whether the server accepts extended CONNECT (RFC 8441).
  public var offersExtendedConnect: Bool { peer.takesExtendedConnect }

  /// Whether the connection can be closed once the output has been sent: it failed, or it is
  /// drained and has no streams left.
  public var isFinished: Bool {
    mutating get {
      if isBroken { return true }
      guard streams.count == 0 else { return false }
      return drain.hasEnded || (role == .client && peerGoAway != nil)
    }
  }

  /// Whether the shutdown of the connection has begun.
  public var isDraining: Bool { drain != .none }

  /// Whether a frame other than DATA, or a field block, has begun and isn't complete.
  public var isReceivingFrame: Bool { frameDeadline != .never }

  public var isBroken: Bool {
    if case .failed = phase { true } else { false }
  }

  /// How often the peer sent each kind of frame that floods consist of.
  public var floodCounts: FloodCounts { floods.counts }

  /// Memory in bytes, in addition to the value itself.
  public var storedByteCount: Int {
    decoder.storedByteCount + encoder.storedByteCount + streams.storedByteCount + block.capacity
  }

  static let streamIDMax: UInt32 = 0x7FFF_FFFF

  // MARK: Streams

  /// The owner's number for a stream. `stream` must not have been released.
  public mutating func owner(of stream: UInt32) -> UInt64? {
    streams.find(stream).map { streams[$0].owner }
  }

  public mutating func setOwner(_ owner: UInt64, of stream: UInt32) {
    guard let slot = streams.find(stream) else { return }
    streams[slot].owner = owner
    // Nobody is left who would limit that.
    if owner == 0 { streams[slot].mayStall = false }
  }

  /// Whether more of the peer's message on this stream may come.
  public mutating func isReceiving(_ stream: UInt32) -> Bool {
    streams.find(stream).map { streams[$0].state.dataMeaning == .piece } ?? false
  }

  /// Whether neither side has ended or reset the whole stream.
  public mutating func isOpen(_ stream: UInt32) -> Bool {
    streams.find(stream).map { !streams[$0].state.isClosed } ?? false
  }

  /// Bytes of this stream's pieces that the owner has not said to have `consumed`.
  public mutating func unconsumedByteCount(of stream: UInt32) -> Int {
    streams.find(stream).map { streams[$0].unconsumedCount } ?? 0
  }

  /// Resets the stream with this code, unless it is already closed. Earlier output is still sent,
  /// so a complete response reaches the client before its RST_STREAM.
  public mutating func abortStream(
    _ stream: UInt32, _ code: ErrorCode, into output: inout ByteBuffer
  ) {
    guard let slot = streams.find(stream), !streams[slot].state.isClosed, !isBroken else { return }
    let before = output.count
    reset(slot, code, into: &output)
    backlog.wrote(output.count - before)
  }

  /// The owner no longer needs the stream, and gets no more events for it. A stream that isn't
  /// closed is reset. Until its release a stream counts against the limit of streams, so a client
  /// that resets streams can't cause more work than the limit allows.
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

  /// Returns what the connection took from the workspace's budget. Must be the last call.
  public mutating func end(workspace: inout HTTP2Workspace) {
    workspace.windowBudget += windowGrowth
    windowGrowth = 0
  }

  /// Frees memory that an idle connection doesn't need. Call it when the connection becomes idle.
  public mutating func settle() {
    streams.settle()
    if block.isEmpty && block.hasStorage { block = ByteBuffer() }
  }

  /// Sends RST_STREAM. The stream stays in the table until its owner releases it.
  mutating func reset(_ slot: UInt16, _ code: ErrorCode, into output: inout ByteBuffer) {
    FrameWriter.resetStream(streams[slot].id, code, into: &output)
    streams[slot].state = .resetByUs
    dequeue(slot)
  }

  /// Resets a stream because of an error of the peer.
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

  /// As a client: a stream that we released so long ago that we don't know how it ended. Many may
  /// be reset at once, and the server has sent responses before it knows that.
  mutating func isForgotten(_ stream: UInt32) -> Bool {
    role == .client && streams.find(stream) == nil && closed.find(stream) == nil
  }

  /// Ends the connection because of an error of the peer (RFC 9113 5.4.1).
  mutating func fail(_ error: HTTP2Error, into output: inout ByteBuffer) -> HTTP2Event {
    FrameWriter.goAway(last: lastProcessed, error.code, into: &output)
    phase = .failed(error)
    return .broken(error)
  }

  /// The last of the peer's streams that we may have processed.
  var lastProcessed: UInt32 {
    if case .final(let last) = drain { last } else { peerLastStream }
  }
}
