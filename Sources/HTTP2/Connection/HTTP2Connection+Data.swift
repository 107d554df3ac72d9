// Incoming DATA (RFC 9113 6.1), and the receive windows (6.9).
//
// The connection's window is credited on receipt, so that an unread stream doesn't block others. A
// stream's window is credited when its consumer has taken the bytes. A window that limits the
// sender while the consumer keeps up is doubled, as long as the budgets of the connection and the
// worker allow it.

import HTTP
public import Primitives

extension HTTP2Connection {
  /// Handles the header of a DATA frame, and the length of its padding.
  mutating func beginData(
    _ header: FrameHeader, _ input: Span<UInt8>, at now: Instant, _ output: inout ByteBuffer
  ) throws(HTTP2Error) -> HTTP2Step {
    if header.stream == 0 { throw .missingStreamID }
    if isIdle(header.stream) { throw .frameOnIdleStream }
    quietPing = nil
    var consumed = FrameHeader.byteCount
    var data = DataInProgress(
      stream: header.stream, remaining: header.length, padding: 0,
      ends: header.has(FrameFlag.endStream))
    if header.has(FrameFlag.padded) {
      guard header.length > 0 else { throw .badFrameSize }
      guard input.count > consumed else { return HTTP2Step(consumed: 0, event: .needsInput) }
      data.padding = Int(input[consumed])
      consumed += 1
      guard data.padding < header.length else { throw .badPadding }
      data.remaining = header.length - 1 - data.padding
    }
    try creditConnection(header.length, into: &output)
    var event = HTTP2Event.progress
    if let slot = streams.find(header.stream) {
      event = try beginData(slot, data, header.length, at: now, &output)
    } else {
      try countClosedFrame(at: now)
      if !isForgotten(header.stream) && closed.find(header.stream) != .resetByUs {
        FrameWriter.resetStream(header.stream, .streamClosed, into: &output)
        try countCausedReset(at: now)
        closed.add(header.stream, .resetByUs)
      }
    }
    if data.remaining + data.padding > 0 {
      phase = .data(data)
    }
    return HTTP2Step(consumed: consumed, event: event)
  }

  /// The effect of a DATA frame on its stream.
  private mutating func beginData(
    _ slot: UInt16, _ data: DataInProgress, _ length: Int, at now: Instant,
    _ output: inout ByteBuffer
  ) throws(HTTP2Error) -> HTTP2Event {
    switch streams[slot].state.dataMeaning {
    case .ignored:
      try countClosedFrame(at: now)
      return .progress
    case .wrong(let error): return try fail(slot, error, at: now, into: &output)
    case .piece: break
    }
    if length > streams[slot].receiveWindow {
      return try fail(slot, .streamWindowExceeded, at: now, into: &output)
    }
    if let error = lengthViolation(slot, data) {
      return try fail(slot, error, at: now, into: &output)
    }
    streams[slot].receiveWindow -= length
    streams[slot].unconsumedCount += data.remaining
    streams[slot].receivedSinceGrowth += data.remaining
    if data.remaining > 0 {
      floods.earn(.ping, 1)
      floods.earn(.emptyData, 1)
      return .progress
    }
    if data.ends {
      streams[slot].state.receivedEnd()
      return .end(stream: data.stream)
    }
    return try countAboutStream(.emptyData, data.stream, at: now, &output) ?? .progress
  }

  /// Whether a frame contradicts content-length (RFC 9113 8.1.1).
  private mutating func lengthViolation(
    _ slot: UInt16, _ data: DataInProgress
  ) -> HTTP2Error? {
    if streams[slot].isWithoutBody { return data.remaining > 0 ? .bodyNotAllowed : nil }
    guard streams[slot].expectedCount >= 0 else { return nil }
    streams[slot].expectedCount -= Int64(data.remaining)
    let rest = streams[slot].expectedCount
    return rest < 0 || (data.ends && rest > 0) ? .contentLengthMismatch : nil
  }

  /// Handles the part of a DATA frame's payload that has arrived.
  mutating func takePiece(_ input: Span<UInt8>, _ data: DataInProgress) -> HTTP2Step {
    var data = data
    if input.count == 0 { return HTTP2Step(consumed: 0, event: .needsInput) }
    let count = min(data.remaining, input.count)
    let padding = count == data.remaining ? min(data.padding, input.count - count) : 0
    data.remaining -= count
    data.padding -= padding
    phase = data.remaining + data.padding > 0 ? .data(data) : .frames
    var event = HTTP2Event.progress
    if count > 0, let slot = streams.find(data.stream), streams[slot].state.dataMeaning == .piece {
      let ends = data.ends && data.remaining == 0
      if ends { streams[slot].state.receivedEnd() }
      event = .piece(stream: data.stream, place: 0..<count, ends: ends)
    }
    return HTTP2Step(consumed: count + padding, event: event)
  }

  // MARK: Receive windows

  private mutating func creditConnection(
    _ count: Int, into output: inout ByteBuffer
  ) throws(HTTP2Error) {
    if count > receiveWindow { throw .connectionWindowExceeded }
    receiveWindow -= count
    let increment = limits.connectionWindow - receiveWindow
    if increment >= limits.connectionWindow / 2 {
      FrameWriter.windowUpdate(0, by: increment, into: &output)
      receiveWindow += increment
    }
  }

  /// The owner has processed `count` bytes of this stream's pieces, so the peer may send as many
  /// more.
  public mutating func consumed(
    _ count: Int, of stream: UInt32, workspace: inout HTTP2Workspace, into output: inout ByteBuffer
  ) {
    guard let slot = streams.find(stream), !isBroken else { return }
    precondition(count <= streams[slot].unconsumedCount, "consuming more than came")
    streams[slot].unconsumedCount -= count
    let before = output.count
    creditStream(slot, budget: &workspace.windowBudget, into: &output)
    backlog.wrote(output.count - before)
  }

  /// Refills a stream's window, except for the bytes that the consumer still holds, if the
  /// increment is large enough to be worth a frame.
  mutating func creditStream(_ slot: UInt16, budget: inout Int, into output: inout ByteBuffer) {
    // A stream that receives no more data needs no credit.
    guard streams[slot].state.dataMeaning == .piece else { return }
    let size = streams[slot].windowSize
    let increment = size - streams[slot].receiveWindow - streams[slot].unconsumedCount
    guard increment > 0, increment >= size / 2 else { return }
    let growth = growth(slot, budget: budget)
    budget -= growth
    windowGrowth += growth
    streams[slot].growth += growth
    streams[slot].windowSize += growth
    streams[slot].receiveWindow += increment + growth
    FrameWriter.windowUpdate(streams[slot].id, by: increment + growth, into: &output)
  }

  /// How much a window grows: only if a whole window arrived since the last time, and nearly all of
  /// it is already consumed. Then the window limits the sender.
  private mutating func growth(_ slot: UInt16, budget: Int) -> Int {
    let size = streams[slot].windowSize
    guard streams[slot].receivedSinceGrowth >= size, streams[slot].unconsumedCount <= size / 4
    else { return 0 }
    streams[slot].receivedSinceGrowth = 0
    let growth = min(size, limits.streamWindowMax - size)
    guard growth > 0, growth <= budget, windowGrowth + growth <= limits.windowGrowthByteCount
    else { return 0 }
    return growth
  }
}
