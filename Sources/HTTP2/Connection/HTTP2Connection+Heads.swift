// Incoming HEADERS and CONTINUATION (RFC 9113 6.2, 6.10, 8.1): new requests, responses and
// trailers.
//
// Every block is decoded, even if its stream is refused, since the compression state belongs to the
// connection (RFC 9113 4.3).

import HTTP
import Primitives

extension HTTP2Connection {
  mutating func takeHeaders(
    _ header: FrameHeader, _ payload: Span<UInt8>, at now: Instant,
    _ workspace: inout HTTP2Workspace, _ output: inout ByteBuffer
  ) throws(HTTP2Error) -> HTTP2Event {
    if header.stream == 0 { throw .missingStreamID }
    if header.stream & 1 == 0 { throw .badStreamID }
    if role == .client && isIdle(header.stream) { throw .frameOnIdleStream }
    let fragment = payload.extracting(try fragmentRange(header, payload))
    quietPing = nil
    let ends = header.has(FrameFlag.endStream)
    if header.has(FrameFlag.endHeaders) {
      return try takeBlock(header.stream, fragment, ends, at: now, &workspace, &output)
    }
    if !block.hasStorage { swap(&block, &workspace.spareBlock) }
    block.removeAll()
    block.append(fragment)
    phase = .block(BlockInProgress(stream: header.stream, ends: ends))
    return .progress
  }

  /// The position of the block fragment in HEADERS, between padding and the priority of RFC 7540.
  private func fragmentRange(
    _ header: FrameHeader, _ payload: Span<UInt8>
  ) throws(HTTP2Error) -> Range<Int> {
    var start = 0
    var padding = 0
    if header.has(FrameFlag.padded) {
      guard payload.count >= 1 else { throw .badFrameSize }
      padding = Int(payload[0])
      start = 1
    }
    if header.has(FrameFlag.priority) { start += 5 }
    guard start <= payload.count else { throw .badFrameSize }
    guard start + padding <= payload.count else { throw .badPadding }
    return start..<(payload.count - padding)
  }

  mutating func takeContinuation(
    _ header: FrameHeader, _ payload: Span<UInt8>, at now: Instant,
    _ workspace: inout HTTP2Workspace, _ output: inout ByteBuffer
  ) throws(HTTP2Error) -> HTTP2Event {
    guard case .block(var progress) = phase else { throw .unexpectedContinuation }
    progress.continuationCount += 1
    if progress.continuationCount > limits.continuationCount { throw .tooManyContinuations }
    if block.count + payload.count > limits.fieldBlockByteCount { throw .fieldBlockTooLarge }
    block.append(payload)
    guard header.has(FrameFlag.endHeaders) else {
      phase = .block(progress)
      return .progress
    }
    // The block is moved out of the connection, so that methods of the connection can be called.
    var whole = ByteBuffer()
    swap(&whole, &block)
    phase = .frames
    let event = try takeBlock(
      progress.stream, whole.bytes, progress.ends, at: now, &workspace, &output)
    whole.removeAll()
    if !workspace.spareBlock.hasStorage { swap(&whole, &workspace.spareBlock) }
    return event
  }

  private mutating func takeBlock(
    _ stream: UInt32, _ block: Span<UInt8>, _ ends: Bool, at now: Instant,
    _ workspace: inout HTTP2Workspace, _ output: inout ByteBuffer
  ) throws(HTTP2Error) -> HTTP2Event {
    if let slot = streams.find(stream) {
      switch streams[slot].state.fieldBlockMeaning {
      case .trailers: return try takeTrailers(slot, block, ends, at: now, &workspace, &output)
      case .head: return try takeResponse(slot, block, ends, at: now, &workspace, &output)
      case .ignored:
        try discard(block, &workspace)
        try countClosedFrame(at: now)
        return .progress
      case .wrong(let error):
        if error.isOfConnection { throw error }
        try discard(block, &workspace)
        return try fail(slot, error, at: now, into: &output)
      }
    }
    if role == .server && stream > peerLastStream {
      return try takeRequest(stream, block, ends, at: now, &workspace, &output)
    }
    if isForgotten(stream) {
      try discard(block, &workspace)
      return .progress
    }
    switch closed.find(stream) {
    case .resetByUs:
      try discard(block, &workspace)
      try countClosedFrame(at: now)
      return .progress
    case .ended, .resetByPeer: throw .headersOnClosedStream
    // Never used, or closed so long ago that nothing can still be on its way (RFC 9113 5.1.1).
    case nil: throw .badStreamID
    }
  }

  /// Decodes the block only for the compression state.
  private mutating func discard(
    _ block: Span<UInt8>, _ workspace: inout HTTP2Workspace
  ) throws(HTTP2Error) {
    var nowhere = DiscardedFields()
    try decoder.decode(
      block, listByteCountMax: bombByteCount, scratch: &workspace.strings, into: &nowhere)
  }

  private var bombByteCount: Int { limits.fieldListByteCount * limits.fieldListBombFactor }

  // MARK: Requests

  private mutating func takeRequest(
    _ stream: UInt32, _ block: Span<UInt8>, _ ends: Bool, at now: Instant,
    _ workspace: inout HTTP2Workspace, _ output: inout ByteBuffer
  ) throws(HTTP2Error) -> HTTP2Event {
    peerLastStream = stream
    if drain.hasEnded {
      // Our GOAWAY tells the peer that it was not processed.
      try discard(block, &workspace)
      closed.add(stream, .resetByUs)
      return .progress
    }
    if streams.count >= streamCountMax {
      try discard(block, &workspace)
      try floods.take(.refusal, limits.floods, at: now)
      return try reject(stream, .tooManyStreams, into: &output)
    }
    workspace.requestReader.begin(limits)
    try decoder.decode(
      block, listByteCountMax: bombByteCount, scratch: &workspace.strings,
      into: &workspace.requestReader)
    floods.earn(.priority, 10)
    floods.earn(.windowUpdate, 4)
    let error = workspace.requestReader.finish()
    let length = workspace.requestReader.contentLength.value
    if let error, error.status == 400 {
      try floods.take(.causedReset, limits.floods, at: now)
      return try reject(stream, error, into: &output)
    }
    if ends && (length ?? 0) > 0 && error == nil {
      try floods.take(.causedReset, limits.floods, at: now)
      return try reject(stream, .contentLengthMismatch, into: &output)
    }
    let priority = earlyPriorities.take(stream) ?? workspace.requestReader.priority ?? .unstated
    var new = Stream(
      id: stream, state: .live(ends ? .ended : .body, .head), owner: 0, priority: priority,
      receiveWindow: firstWindow, sendWindow: peer.initialWindowSize)
    if error == nil { new.expectedCount = length ?? -1 }
    _ = streams.insert(new)
    if let error { return .excessive(stream: stream, error) }
    let body: BodyLength = length.map { .known(UInt64($0)) } ?? (ends ? .none : .streamed)
    return .request(stream: stream, body: body, ends: ends)
  }

  /// Refuses a stream that has no owner.
  private mutating func reject(
    _ stream: UInt32, _ error: HTTP2Error, into output: inout ByteBuffer
  ) throws(HTTP2Error) -> HTTP2Event {
    FrameWriter.resetStream(stream, error.code, into: &output)
    try backlog.add(limit: limits.controlBacklogCount)
    closed.add(stream, .resetByUs)
    return .rejected(stream: stream, error)
  }

  // MARK: Responses

  private mutating func takeResponse(
    _ slot: UInt16, _ block: Span<UInt8>, _ ends: Bool, at now: Instant,
    _ workspace: inout HTTP2Workspace, _ output: inout ByteBuffer
  ) throws(HTTP2Error) -> HTTP2Event {
    workspace.responseReader.begin(limits)
    try decoder.decode(
      block, listByteCountMax: bombByteCount, scratch: &workspace.strings,
      into: &workspace.responseReader)
    let status = workspace.responseReader.head.status
    let length = workspace.responseReader.contentLength.value
    let isInterim = status < 200
    let error =
      workspace.responseReader.finish()
      ?? (isInterim
        ? interimViolation(slot, ends) : responseViolation(slot, status, length, ends))
    if let error { return try fail(slot, error, at: now, into: &output) }
    streams[slot].state.receivedHead(isInterim: isInterim, ends: ends)
    let stream = streams[slot].id
    if isInterim { return .response(stream: stream, body: .none, ends: false) }
    if streams[slot].isWithoutBody {
      return .response(stream: stream, body: .none, ends: ends)
    }
    // RFC 9110 8.6: content-length has no meaning in a 2xx to CONNECT.
    let isTunnel = streams[slot].isConnect && status < 300
    if !isTunnel { streams[slot].expectedCount = length ?? -1 }
    let stated = isTunnel ? nil : length
    let body: BodyLength = stated.map { .known(UInt64($0)) } ?? (ends ? .known(0) : .streamed)
    return .response(stream: stream, body: body, ends: ends)
  }

  private mutating func interimViolation(_ slot: UInt16, _ ends: Bool) -> HTTP2Error? {
    if ends { return .interimWithEnd }
    streams[slot].interimCount += 1
    return Int(streams[slot].interimCount) > limits.interimCount ? .tooManyInterims : nil
  }

  private mutating func responseViolation(
    _ slot: UInt16, _ status: UInt16, _ length: Int64?, _ ends: Bool
  ) -> HTTP2Error? {
    streams[slot].isWithoutBody = streams[slot].isHead || status == 204 || status == 304
    // RFC 9110 8.6: no Content-Length with 204.
    if status == 204, let length, length > 0 { return .bodyNotAllowed }
    let isTunnel = streams[slot].isConnect && status < 300
    if ends && !streams[slot].isWithoutBody && !isTunnel && (length ?? 0) > 0 {
      return .contentLengthMismatch
    }
    return nil
  }

  // MARK: Trailers

  private mutating func takeTrailers(
    _ slot: UInt16, _ block: Span<UInt8>, _ ends: Bool, at now: Instant,
    _ workspace: inout HTTP2Workspace, _ output: inout ByteBuffer
  ) throws(HTTP2Error) -> HTTP2Event {
    workspace.trailerReader.begin(limits)
    try decoder.decode(
      block, listByteCountMax: bombByteCount, scratch: &workspace.strings,
      into: &workspace.trailerReader)
    var error = workspace.trailerReader.finish()
    if !ends { error = .trailersWithoutEnd }
    if error == nil && streams[slot].expectedCount > 0 { error = .contentLengthMismatch }
    if let error { return try fail(slot, error, at: now, into: &output) }
    streams[slot].state.receivedEnd()
    return .trailers(stream: streams[slot].id)
  }
}
