// SETTINGS and WINDOW_UPDATE (RFC 9113 6.5, 6.9): the limits that each side sets for the other.

import HTTP
public import Primitives

extension HTTP2Connection {
  /// Writes the start of a connection: as a client the preface, then SETTINGS, and the increment of
  /// the connection's window.
  public mutating func start(at now: Instant, into output: inout ByteBuffer) {
    let before = output.count
    if role == .client { output.append("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") }
    let start = beginSettings(into: &output)
    FrameWriter.append(
      .headerTableSize, UInt32(limits.decoderTableByteCount), into: &output)
    FrameWriter.append(.initialWindowSize, UInt32(limits.streamWindow), into: &output)
    FrameWriter.append(.maxHeaderListSize, UInt32(limits.fieldListByteCount), into: &output)
    switch role {
    case .client:
      FrameWriter.append(.enablePush, 0, into: &output)
    case .server:
      FrameWriter.append(.maxConcurrentStreams, UInt32(streamCountMax), into: &output)
      // RFC 9218 2.1: clients need not send the priorities of RFC 7540.
      FrameWriter.append(.noRFC7540Priorities, 1, into: &output)
      if limits.offersExtendedConnect {
        FrameWriter.append(.enableConnectProtocol, 1, into: &output)
      }
    }
    endSettings(start, at: now, into: &output)
    let increment = limits.connectionWindow - receiveWindow
    if increment > 0 {
      FrameWriter.windowUpdate(0, by: increment, into: &output)
      receiveWindow += increment
    }
    backlog.wrote(output.count - before)
  }

  /// As a server: changes how many concurrent streams a client may have. Open streams are not
  /// affected.
  public mutating func setStreamCountMax(
    _ count: Int, at now: Instant, into output: inout ByteBuffer
  ) {
    guard role == .server, count != streamCountMax, count <= limits.streamCount, !isBroken
    else { return }
    streamCountMax = count
    let before = output.count
    let start = beginSettings(into: &output)
    FrameWriter.append(.maxConcurrentStreams, UInt32(count), into: &output)
    endSettings(start, at: now, into: &output)
    backlog.wrote(output.count - before)
  }

  private func beginSettings(into output: inout ByteBuffer) -> Int {
    let start = output.count
    FrameHeader(length: 0, type: FrameType.settings, stream: 0).write(to: &output)
    return start
  }

  private mutating func endSettings(
    _ start: Int, at now: Instant, into output: inout ByteBuffer
  ) {
    output.setFrameLength(at: start)
    unacknowledgedSettings += 1
    // Later settings may wait for long behind a response that the client takes slowly. They only
    // change the number of streams, which is enforced without their acknowledgement.
    if !settingsAreInForce && settingsDeadline == .never {
      settingsDeadline = now + limits.settingsTimeout
    }
  }

  // MARK: Incoming

  mutating func takeSettings(
    _ header: FrameHeader, _ payload: Span<UInt8>, at now: Instant, _ output: inout ByteBuffer
  ) throws(HTTP2Error) -> HTTP2Event {
    if header.stream != 0 { throw .unwantedStreamID }
    if header.has(FrameFlag.acknowledge) {
      guard payload.count == 0 else { throw .badFrameSize }
      if unacknowledgedSettings > 0 {
        if !settingsAreInForce { enforceSettings(into: &output) }
        unacknowledgedSettings -= 1
        settingsDeadline = .never
      }
      return .progress
    }
    guard payload.count % 6 == 0 else { throw .badFrameSize }
    try count(.settings, at: now)
    if phase == .settings { phase = .frames }
    let oldWindow = peer.initialWindowSize
    var position = 0
    while position < payload.count {
      let identifier = UInt16(payload[position]) << 8 | UInt16(payload[position + 1])
      let value = payload.bigEndian(at: position + 2)
      try peer.take(identifier, value, isServer: role == .client)
      if identifier == Setting.headerTableSize.rawValue {
        encoder.setTableByteCountMax(Int(value))
      }
      position += 6
    }
    try moveWindows(by: peer.initialWindowSize - oldWindow)
    FrameWriter.settingsAcknowledgement(into: &output)
    try backlog.add(limit: limits.controlBacklogCount)
    return .settingsChanged
  }

  /// The peer has acknowledged our first settings. Values below the initial ones apply from now on,
  /// also to open streams (RFC 9113 6.9.2).
  private mutating func enforceSettings(into output: inout ByteBuffer) {
    settingsAreInForce = true
    decoder.setTableByteCountMax(limits.decoderTableByteCount)
    let excess = firstWindow - limits.streamWindow
    firstWindow = limits.streamWindow
    if excess == 0 { return }
    for slot in 0..<streams.slotCount where streams.isTaken(slot) {
      streams[slot].receiveWindow -= excess
      streams[slot].windowSize -= excess
      // Credit what is already consumed now, since there may be no other event that does it.
      var none = 0
      creditStream(slot, budget: &none, into: &output)
    }
  }

  /// A new initial window changes the windows of all streams, possibly below zero (RFC 9113 6.9.2).
  private mutating func moveWindows(by difference: Int) throws(HTTP2Error) {
    if difference == 0 { return }
    for slot in 0..<streams.slotCount where streams.isTaken(slot) {
      let window = streams[slot].sendWindow + difference
      if window > PeerSettings.windowMax { throw .badInitialWindow }
      streams[slot].sendWindow = window
      if window > 0 { enqueue(slot) } else { queue.remove(slot, &streams) }
    }
  }

  mutating func takeWindowUpdate(
    _ header: FrameHeader, _ payload: Span<UInt8>, at now: Instant, _ output: inout ByteBuffer
  ) throws(HTTP2Error) -> HTTP2Event {
    guard payload.count == 4 else { throw .badFrameSize }
    if let event = try countAboutStream(.windowUpdate, header.stream, at: now, &output) {
      return event
    }
    let increment = Int(payload.bigEndian(at: 0) & UInt32(PeerSettings.windowMax))
    if header.stream == 0 {
      if increment == 0 { throw .zeroIncrement }
      if sendWindow + increment > PeerSettings.windowMax { throw .connectionWindowOverflow }
      sendWindow += increment
      return .progress
    }
    if isIdle(header.stream) { throw .frameOnIdleStream }
    guard let slot = streams.find(header.stream), !streams[slot].state.isReset else {
      return .progress
    }
    if increment == 0 {
      return try fail(slot, .zeroStreamIncrement, at: now, into: &output)
    }
    if streams[slot].sendWindow + increment > PeerSettings.windowMax {
      return try fail(slot, .streamWindowOverflow, at: now, into: &output)
    }
    streams[slot].sendWindow += increment
    enqueue(slot)
    return .progress
  }
}
