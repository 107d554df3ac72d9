// PING, GOAWAY (RFC 9113 6.7, 6.8), and what comes due.
//
// A drain has two steps, so that no request is lost or executed twice: GOAWAY with the largest
// identifier asks for no new streams; when a PING has come back, or after a while, GOAWAY names the
// last stream that was taken. It is written when it is decided, and from then on later streams are
// ignored: so it never names a stream that is done all the same, nor leaves one out that was.

import HTTP
public import Primitives

extension HTTP2Connection {
  // MARK: Draining

  /// Begins to end the connection: no new streams, those that are there go on. As a client it only
  /// stops to open streams.
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
      // If one is on its way already, the deadline has to do.
      if ping == .none { sendPing(at: now, into: &output) }
    }
    backlog.wrote(output.count - before)
  }

  /// Names the last stream that is processed, at once. What is taken goes on.
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
    // As a server we opened no streams that it could be about; some clients send odd numbers.
    guard role == .client else { return .goAway(last: last, code: code) }
    if let peerGoAway, last > peerGoAway.last { throw .risingGoAway }
    peerGoAway = PeerGoAway(last: last, code: code)
    sweep = 0
    return .goAway(last: last, code: code)
  }

  /// The next stream that a GOAWAY left out, which was surely not processed.
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

  /// Asks whether the peer is there. The answer comes as an event; without one the connection fails
  /// after `pingTimeout`. One at a time: false when another is on its way.
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
    try floods.take(.ping, limits.floods, at: now)
    FrameWriter.ping(number, isAcknowledgement: true, into: &output)
    try backlog.add(limit: limits.controlBacklogCount)
    return .progress
  }

  // MARK: Deadlines

  /// When `expire` should be called next.
  public mutating func deadline(at now: Instant) -> Instant {
    if isBroken { return .never }
    if wantingCount == 0 {
      stallCheck = .never
    } else if stallCheck == .never {
      stallCheck = now + limits.stallTimeout / 4
    }
    var earliest = min(settingsDeadline, frameDeadline, stallCheck)
    switch ping {
    case .waiting(_, _, let deadline): earliest = min(earliest, deadline)
    case .none:
      if let interval = limits.pingInterval { earliest = min(earliest, lastReceived + interval) }
    }
    if case .announced(let deadline) = drain { earliest = min(earliest, deadline) }
    return earliest
  }

  /// Does what is due. Call it until it returns nil.
  public mutating func expire(at now: Instant, into output: inout ByteBuffer) -> HTTP2Event? {
    if isBroken { return nil }
    if settingsDeadline <= now { return fail(.settingsTimeout, into: &output) }
    if frameDeadline <= now { return fail(.frameTimeout, into: &output) }
    switch ping {
    case .waiting(_, _, let deadline) where deadline <= now:
      return fail(.pingTimeout, into: &output)
    case .none:
      if let interval = limits.pingInterval, lastReceived + interval <= now {
        sendPing(at: now, into: &output)
      }
    case .waiting: break
    }
    if case .announced(let deadline) = drain, deadline <= now { endDrain(into: &output) }
    if stallCheck <= now { return nextStalled(at: now, into: &output) }
    return nil
  }

  /// Gives up one stream whose peer has opened no window for too long, and notes since when others
  /// wait. A stream is looked at four times in its time.
  private mutating func nextStalled(
    at now: Instant, into output: inout ByteBuffer
  ) -> HTTP2Event? {
    for slot in 0..<streams.slotCount where streams.isTaken(slot) && streams[slot].wantsToSend {
      if streams[slot].sendWindow > 0 && sendWindow > 0 {
        streams[slot].stalledSince = .never
      } else if streams[slot].stalledSince == .never {
        streams[slot].stalledSince = now
      } else if streams[slot].stalledSince + limits.stallTimeout <= now {
        let id = streams[slot].id
        abortStream(id, .cancel, into: &output)
        return .failed(stream: id, .stalledPeer)
      }
    }
    stallCheck = now + limits.stallTimeout / 4
    return nil
  }
}
