// Output: heads, bodies, trailers (RFC 9113 8.1), and which stream may send its body next.
//
// Heads are small and are sent at once. Bodies are sent in turns: the owner marks the streams that
// have bytes to send, asks for the next turn, and sends what the turn allows. A piece is copied
// once, into the output; or the owner appends it there itself, after `beginPiece`.

public import HTTP
public import Primitives

/// The result of sending a head or trailers.
public enum SendOutcome: Equatable, Sendable {
  case sent
  /// The stream is closed, or its state doesn't allow this; nothing was sent.
  case gone
  /// HTTP/2 can't express it, or the peer doesn't accept it; nothing was sent.
  case refused(HTTP2Error)
}

/// The result of opening a request.
public enum OpenOutcome: Equatable, Sendable {
  case opened(stream: UInt32)
  /// The peer accepts no more streams now, or none at all: see `takesNoMoreStreams`.
  case full
  case refused(HTTP2Error)
}

/// The stream that may send, and how many bytes in one frame.
public struct SendTurn: Equatable, Sendable {
  public let stream: UInt32
  public let byteCount: Int
}

extension HTTP2Connection {
  // MARK: Heads

  /// As a client: opens a stream with a request. With `body: .none` the request ends with its head.
  /// With `acceptsTrailers` it says so, as a head does whose TE field contains `trailers`. With
  /// `tunnel`, a slice of the head, it is an extended CONNECT for this protocol (RFC 8441),
  /// whatever the method of the head; without it, if the head asks for one itself.
  public mutating func open(
    _ head: borrowing RequestHead, scheme: RequestScheme, body: BodyLength, owner: UInt64,
    acceptsTrailers: Bool = false, tunnel asked: Slice = .empty,
    workspace: inout HTTP2Workspace, into output: inout ByteBuffer
  ) -> OpenOutcome {
    precondition(role == .client)
    guard freeStreamCount > 0 else { return .full }
    let tunnel = asked.isEmpty ? head.connectProtocol : asked
    if !tunnel.isEmpty && !peer.takesExtendedConnect {
      return .refused(.unsendableHead)
    }
    let extra = Int(head.target.count) + Int(head.authority.count)
    guard fitsPeer(head.fields, pseudoFields: 5, extra: extra) else {
      return .refused(.headTooLargeForPeer)
    }
    let id = nextStream
    let before = output.count
    FrameHeader(
      length: 0, type: FrameType.headers,
      flags: FrameFlag.endHeaders | (body.isEmpty ? FrameFlag.endStream : 0), stream: id
    ).write(to: &output)
    workspace.fieldWriter.write(
      head, scheme, body, tunnel: tunnel, acceptsTrailers: acceptsTrailers, &encoder,
      into: &output)
    endBlock(at: before, &workspace, &output)
    backlog.wrote(output.count - before)
    nextStream += 2
    var new = Stream(
      id: id, state: .live(.head, body.isEmpty ? .ended : .body), owner: owner,
      priority: .unstated, receiveWindow: firstWindow, sendWindow: peer.initialWindowSize)
    new.isHead = head.method == .head
    new.isConnect = head.method == .connect || !tunnel.isEmpty
    _ = streams.insert(new)
    return .opened(stream: id)
  }

  /// As a server: sends the head of a response. Others may follow an interim head. A final head
  /// ends the stream's outgoing half when `body` is empty. Without a body, a valid Content-Length
  /// of the head is kept, except with 1xx and 204 (RFC 9110 8.6).
  public mutating func send(
    _ head: borrowing ResponseHead, body: BodyLength, on stream: UInt32,
    workspace: inout HTTP2Workspace, into output: inout ByteBuffer
  ) -> SendOutcome {
    guard let slot = sendable(stream), streams[slot].state.maySendHead else { return .gone }
    guard head.status != 101, (100...599).contains(head.status) else {
      return .refused(.unsendableStatus)
    }
    guard fitsPeer(head.fields, pseudoFields: 1, extra: 3) else {
      return .refused(.headTooLargeForPeer)
    }
    let ends = !head.isInterim && body.isEmpty
    let before = output.count
    FrameHeader(
      length: 0, type: FrameType.headers,
      flags: FrameFlag.endHeaders | (ends ? FrameFlag.endStream : 0), stream: stream
    ).write(to: &output)
    workspace.fieldWriter.write(
      head, length: statedLength(head, body), &encoder, into: &output)
    endBlock(at: before, &workspace, &output)
    backlog.wrote(output.count - before)
    if !head.isInterim { streams[slot].state.sentHead(ends: ends) }
    return .sent
  }

  /// Sends trailers, which end the stream's outgoing half. Forbidden trailers are left out (RFC
  /// 9110 6.5.1).
  public mutating func send(
    trailers: borrowing FieldBlock, on stream: UInt32, workspace: inout HTTP2Workspace,
    into output: inout ByteBuffer
  ) -> SendOutcome {
    guard let slot = sendable(stream), streams[slot].state.maySendBody else { return .gone }
    guard fitsPeer(trailers, pseudoFields: 0, extra: 0) else {
      return .refused(.headTooLargeForPeer)
    }
    let before = output.count
    FrameHeader(
      length: 0, type: FrameType.headers, flags: FrameFlag.endHeaders | FrameFlag.endStream,
      stream: stream
    ).write(to: &output)
    workspace.fieldWriter.write(trailers: trailers, &encoder, into: &output)
    endBlock(at: before, &workspace, &output)
    backlog.wrote(output.count - before)
    endSending(slot)
    return .sent
  }

  private mutating func statedLength(
    _ head: borrowing ResponseHead, _ body: BodyLength
  ) -> UInt64? {
    switch body {
    case .known(let count): return head.status < 200 || head.status == 204 ? nil : count
    case .streamed: return nil
    case .none:
      guard head.status >= 200, head.status != 204, let value = head.fields.first(.contentLength)
      else { return nil }
      return head.bytes(of: value).decimalValue
    }
  }

  /// RFC 9113 6.5.2: the peer's limit is advisory, but the peer would refuse a larger head.
  private mutating func fitsPeer(
    _ fields: borrowing FieldBlock, pseudoFields: Int, extra: Int
  ) -> Bool {
    guard let limit = peer.maxHeaderListSize else { return true }
    let overhead = DynamicTable.Entry.overhead + 10
    return FieldWriter.listByteCount(fields) + pseudoFields * overhead + extra <= limit
  }

  /// Completes a HEADERS frame; a block larger than a frame continues in CONTINUATION.
  private mutating func endBlock(
    at start: Int, _ workspace: inout HTTP2Workspace, _ output: inout ByteBuffer
  ) {
    let frameMax = FrameHeader.payloadByteCountMax
    let blockStart = start + FrameHeader.byteCount
    let total = output.count - blockStart
    if total <= frameMax { return output.setFrameLength(at: start) }
    workspace.spareBlock.removeAll()
    workspace.spareBlock.append(output, (blockStart + frameMax)..<output.count)
    output.truncate(to: blockStart + frameMax)
    output.setFrameLength(at: start)
    output.removeFrameFlags(FrameFlag.endHeaders, at: start)
    let stream = output.bytes.bigEndian(at: start + 5)
    var position = 0
    while position < workspace.spareBlock.count {
      let count = min(frameMax, workspace.spareBlock.count - position)
      let isLast = position + count == workspace.spareBlock.count
      FrameHeader(
        length: count, type: FrameType.continuation, flags: isLast ? FrameFlag.endHeaders : 0,
        stream: stream
      ).write(to: &output)
      output.append(workspace.spareBlock, position..<(position + count))
      position += count
    }
    workspace.spareBlock.removeAll()
  }

  // MARK: Bodies

  /// How many body bytes this stream may send: what its window and the connection's window allow.
  public mutating func room(on stream: UInt32) -> Int {
    guard let slot = sendable(stream), streams[slot].state.maySendBody else { return 0 }
    return max(0, min(streams[slot].sendWindow, sendWindow))
  }

  /// Whether the stream's body has begun, and its end was not sent.
  public mutating func awaitsBody(on stream: UInt32) -> Bool {
    sendable(stream).map { streams[$0].state.maySendBody } ?? false
  }

  /// How many bytes of this stream's body were sent within the peer's windows.
  public mutating func sentByteCount(of stream: UInt32) -> UInt64 {
    streams.find(stream).map { streams[$0].sentByteCount } ?? 0
  }

  /// How many streams have body bytes to send, as their owner said with `setWantsToSend`.
  public var waitingStreamCount: Int { wantingCount }

  /// Whether any stream could send body bytes now.
  public var hasTurn: Bool {
    @inline(__always) mutating get { !queue.isEmpty && sendWindow > 0 && !isBroken }
  }

  /// Sets whether the stream has body bytes to send.
  public mutating func setWantsToSend(_ wants: Bool, on stream: UInt32) {
    guard let slot = sendable(stream), streams[slot].state.maySendBody,
      streams[slot].wantsToSend != wants
    else { return }
    if wants {
      streams[slot].wantsToSend = true
      wantingCount += 1
      enqueue(slot)
    } else {
      dequeue(slot)
    }
  }

  /// From now on, the stream may wait for its window for as long as its owner lets it.
  public mutating func allowStalls(on stream: UInt32) {
    if let slot = streams.find(stream) { streams[slot].mayStall = true }
  }

  /// The stream that may send next, by priority (RFC 9218 10). The owner sends on it, or says with
  /// `setWantsToSend` that it has nothing to send.
  public mutating func nextTurn() -> SendTurn? {
    guard hasTurn, let slot = queue.first() else { return nil }
    let count = min(streams[slot].sendWindow, sendWindow, frameMax)
    return SendTurn(stream: streams[slot].id, byteCount: count)
  }

  /// Sends as much of `piece` as the windows allow, in frames, and returns the number of bytes.
  /// `ends` ends the stream's outgoing half if all of it was sent.
  public mutating func send(
    _ piece: Span<UInt8>, ends: Bool, on stream: UInt32, into output: inout ByteBuffer
  ) -> Int {
    if piece.count == 0 {
      if ends { sendEnd(on: stream, into: &output) }
      return 0
    }
    let total = min(piece.count, room(on: stream))
    var sent = 0
    while sent < total {
      let count = min(total - sent, frameMax)
      let isLast = ends && sent + count == piece.count
      guard beginPiece(count, ends: isLast, on: stream, into: &output) else { break }
      output.append(piece.extracting(sent..<(sent + count)))
      sent += count
    }
    return sent
  }

  /// Writes the header of a DATA frame; the caller appends its `count` bytes to the output. `count`
  /// is at most `room` and at most one frame. False, and nothing may be appended, when the stream
  /// is closed.
  public mutating func beginPiece(
    _ count: Int, ends: Bool, on stream: UInt32, into output: inout ByteBuffer
  ) -> Bool {
    guard let slot = sendable(stream), streams[slot].state.maySendBody else { return false }
    precondition(
      count > 0 && count <= frameMax && count <= streams[slot].sendWindow && count <= sendWindow,
      "a piece beyond the windows")
    FrameWriter.dataHeader(count: count, ends: ends, stream: stream, into: &output)
    backlog.wrote(FrameHeader.byteCount + count)
    sendWindow -= count
    streams[slot].sendWindow -= count
    streams[slot].sentByteCount += UInt64(count)
    streams[slot].stalledSince = .never
    floods.earn(.windowUpdate, 10)
    floods.earn(.ping, 1)
    if streams[slot].isQueued {
      queue.tookTurn(slot, &streams)
      if streams[slot].sendWindow <= 0 { queue.remove(slot, &streams) }
    }
    if ends { endSending(slot) }
    return true
  }

  /// Ends the stream's outgoing half without another byte. This needs no window.
  public mutating func sendEnd(on stream: UInt32, into output: inout ByteBuffer) {
    guard let slot = sendable(stream), streams[slot].state.maySendBody else { return }
    FrameWriter.dataHeader(count: 0, ends: true, stream: stream, into: &output)
    backlog.wrote(FrameHeader.byteCount)
    endSending(slot)
  }

  private var frameMax: Int {
    @inline(__always) mutating get { min(limits.frameByteCount, peer.maxFrameSize) }
  }

  private mutating func sendable(_ stream: UInt32) -> UInt16? {
    isBroken ? nil : streams.find(stream)
  }

  private mutating func endSending(_ slot: UInt16) {
    streams[slot].state.sentEnd()
    dequeue(slot)
  }

  // MARK: The queue

  mutating func enqueue(_ slot: UInt16) {
    guard streams[slot].wantsToSend, streams[slot].sendWindow > 0, !streams[slot].isQueued
    else { return }
    queue.append(slot, &streams)
  }

  /// The stream has nothing more to send.
  mutating func dequeue(_ slot: UInt16) {
    queue.remove(slot, &streams)
    streams[slot].stalledSince = .never
    guard streams[slot].wantsToSend else { return }
    streams[slot].wantsToSend = false
    wantingCount -= 1
  }

  mutating func setPriority(_ slot: UInt16, _ priority: StreamPriority) {
    let isQueued = streams[slot].isQueued
    queue.remove(slot, &streams)
    streams[slot].priority = priority
    if isQueued { queue.append(slot, &streams) }
  }
}
