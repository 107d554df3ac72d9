// PING, GOAWAY (RFC 9113 6.7, 6.8), and deadlines.
//
// A drain has two steps, so that no request is lost or executed twice. First, GOAWAY with the
// largest identifier asks for no new streams. After the answer to a PING or a timeout, a second
// GOAWAY names the last stream that was accepted. From the moment it is written, later streams are
// ignored: so it never excludes a stream that is executed, and never includes one that is not.

import HTTP
public import Primitives

extension HTTP2Connection {
  // MARK: Draining

  /// Begins to drain the connection: no new streams; current ones continue. As a client, we only
  /// stop opening streams.
  public mutating func beginDrain(at now: Instant, into output: inout ByteBuffer) {
    guard drain == .none, !isBroken else { return }
    let before = output.count
    switch role {
    case .client:
      FrameWriter.goAway(last: 0, .noError, into: &output)
      drain = .final(last: 0)
    case .server:
      FrameWriter.goAway(last: Self.streamIDMax, .noError, into: &output)
      drain = .announced(deadline: now + limits.drainTimeout)
      // If a PING is already waiting for its answer, only the deadline applies.
      if ping == .none { sendPing(at: now, into: &output) }
    }
    backlog.wrote(output.count - before)
  }

  /// Sends the GOAWAY with the last accepted stream at once. Accepted streams continue.
  public mutating func endDrain(
    _ code: ErrorCode = .noError, into output: inout ByteBuffer
  ) {
    guard !drain.hasEnded, !isBroken else { return }
    let before = output.count
    let last = role == .server ? peerLastStream : 0
    FrameWriter.goAway(last: last, code, into: &output)
    drain = .final(last: last)
    backlog.wrote(output.count - before)
  }

  mutating func takeGoAway(
    _ header: FrameHeader, _ payload: Span<UInt8>
  ) throws(HTTP2Error) -> HTTP2Event {
    if header.stream != 0 { throw .unwantedStreamID }
    guard payload.count >= 8 else { throw .badFrameSize }
    let last = payload.bigEndian(at: 0) & Self.streamIDMax
    let code = ErrorCode(wire: payload.bigEndian(at: 4))
    // As a server we open no streams, so the identifier is meaningless. Some clients send odd
    // numbers.
    guard role == .client else { return .goAway(last: last, code: code) }
    if let peerGoAway, last > peerGoAway.last { throw .risingGoAway }
    peerGoAway = PeerGoAway(last: last, code: code)
    sweep = 0
    return .goAway(last: last, code: code)
  }

  /// The next stream that the peer's GOAWAY excludes. The peer did not process it.
  mutating func nextUnprocessed() -> HTTP2Event? {
    guard var slot = sweep, let last = peerGoAway?.last else { return nil }
    while slot < streams.slotCount {
      if streams.isTaken(slot), streams[slot].id > last, !streams[slot].state.isClosed {
        streams[slot].state = .resetByPeer
        dequeue(slot)
        sweep = slot + 1
        return .reset(stream: streams[slot].id, code: .refusedStream, isUnprocessed: true)
      }
      slot += 1
    }
    sweep = nil
    return nil
  }

  // MARK: PING

  /// Checks with a PING whether the peer is alive. The answer is an event; without one the
  /// connection of a client fails after `pingTimeout`. Returns false if another PING is waiting for
  /// its answer.
  @discardableResult
  public mutating func sendPing(at now: Instant, into output: inout ByteBuffer) -> Bool {
    guard ping == .none, !isBroken else { return false }
    let before = output.count
    pingNumber += 1
    FrameWriter.ping(pingNumber, isAcknowledgement: false, into: &output)
    ping = .waiting(number: pingNumber, sent: now, deadline: now + limits.pingTimeout)
    backlog.wrote(output.count - before)
    return true
  }

  mutating func takePing(
    _ header: FrameHeader, _ payload: Span<UInt8>, at now: Instant, _ output: inout ByteBuffer
  ) throws(HTTP2Error) -> HTTP2Event {
    if header.stream != 0 { throw .unwantedStreamID }
    guard payload.count == 8 else { throw .badFrameSize }
    let number = UInt64(payload.bigEndian(at: 0)) << 32 | UInt64(payload.bigEndian(at: 4))
    if header.has(FrameFlag.acknowledge) {
      guard case .waiting(number, let sent, _) = ping else { return .progress }
      ping = .none
      if case .announced = drain { endDrain(into: &output) }
      return .pingAcknowledged(now - sent)
    }
    try count(.ping, at: now)
    FrameWriter.ping(number, isAcknowledgement: true, into: &output)
    try backlog.add(limit: limits.controlBacklogCount)
    return .progress
  }

  /// When to send a PING because nothing comes although streams are open; `.never` if none is due.
  private var pingsAt: Instant {
    mutating get {
      guard let interval = limits.pingInterval, busySince != .never else { return .never }
      if let quietPing { return quietPing + limits.pingPause }
      return max(lastReceived, busySince) + interval
    }
  }

  /// A server that sends other frames before its answer is alive, too. The PING of a drain may wait
  /// for long behind a response that the client takes slowly, and the drain has a limit of its own.
  private mutating func pingDeadline(_ deadline: Instant) -> Instant {
    role == .client ? max(deadline, lastReceived + limits.pingTimeout) : .never
  }

  /// The acknowledgement may wait behind a body that the peer sends slowly: while bytes come, it is
  /// not late.
  private var settingsExpireAt: Instant {
    mutating get {
      settingsDeadline == .never
        ? .never : max(settingsDeadline, lastReceived + limits.settingsTimeout)
    }
  }

  // MARK: Deadlines

  /// When to call `expire` next.
  public mutating func deadline(at now: Instant) -> Instant {
    if isBroken { return .never }
    if streams.count == 0 {
      busySince = .never
    } else if busySince == .never {
      busySince = now
    }
    if wantingCount == 0 {
      stallCheck = .never
    } else if stallCheck == .never, let timeout = limits.stallTimeout {
      stallCheck = now + timeout / 4
    }
    var earliest = min(settingsExpireAt, frameDeadline, stallCheck)
    switch ping {
    case .waiting(_, _, let deadline): earliest = min(earliest, pingDeadline(deadline))
    case .none: earliest = min(earliest, pingsAt)
    }
    if case .announced(let deadline) = drain { earliest = min(earliest, deadline) }
    return earliest
  }

  /// Handles one deadline that has passed. Call it until it returns nil.
  public mutating func expire(at now: Instant, into output: inout ByteBuffer) -> HTTP2Event? {
    if isBroken { return nil }
    if settingsExpireAt <= now { return fail(.settingsTimeout, into: &output) }
    if frameDeadline <= now { return fail(.frameTimeout, into: &output) }
    switch ping {
    case .waiting(_, _, let deadline):
      if pingDeadline(deadline) <= now { return fail(.pingTimeout, into: &output) }
    case .none:
      if pingsAt <= now {
        quietPing = now
        sendPing(at: now, into: &output)
      }
    }
    if case .announced(let deadline) = drain, deadline <= now { endDrain(into: &output) }
    if stallCheck <= now, let timeout = limits.stallTimeout {
      return nextStalled(timeout, at: now, into: &output)
    }
    return nil
  }

  /// Resets one stream whose peer has opened no window for too long, and records when others began
  /// to wait. Each stream is checked four times within the timeout.
  private mutating func nextStalled(
    _ timeout: TimeSpan, at now: Instant, into output: inout ByteBuffer
  ) -> HTTP2Event? {
    for slot in 0..<streams.slotCount where streams.isTaken(slot) && streams[slot].wantsToSend {
      if streams[slot].mayStall || streams[slot].sendWindow > 0 && sendWindow > 0 {
        streams[slot].stalledSince = .never
      } else if streams[slot].stalledSince == .never {
        streams[slot].stalledSince = now
      } else if streams[slot].stalledSince + timeout <= now {
        let id = streams[slot].id
        abortStream(id, .cancel, into: &output)
        return .failed(stream: id, .stalledPeer)
      }
    }
    stallCheck = now + timeout / 4
    return nil
  }
}
