// Input: the preface, frames, and which frame is allowed when.
//
// A frame is handled when all of it has arrived, which is at most 16 KiB; only DATA is handled in
// pieces. The bytes stay in the caller's buffer until then, so nothing is copied. Each call is one
// bounded step: one frame, or one piece of one.

import HTTP
public import Primitives

extension HTTP2Connection {
  /// The first bytes of a client (RFC 9113 3.4).
  public static var preface: StaticString { "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" }

  /// Handles one step of the input. `input` begins after the bytes that earlier calls consumed.
  /// Call it until the event is `needsInput`; some events consume nothing. `unsent` is how many
  /// bytes of earlier output the caller holds elsewhere, because the peer doesn't take them.
  public mutating func receive(
    _ input: Span<UInt8>, at now: Instant, workspace: inout HTTP2Workspace, unsent: Int = 0,
    into output: inout ByteBuffer
  ) -> HTTP2Step {
    if case .failed(let error) = phase {
      return HTTP2Step(consumed: input.count, event: .broken(error))
    }
    if let event = nextUnprocessed() { return HTTP2Step(consumed: 0, event: event) }
    if input.count > 0 { lastReceived = now }
    backlog.observe(waiting: output.count + unsent)
    let before = output.count
    var step: HTTP2Step
    do throws(HTTP2Error) {
      step = try takeStep(input, at: now, &workspace, &output)
    } catch {
      step = HTTP2Step(consumed: input.count, event: fail(error, into: &output))
    }
    backlog.wrote(output.count - before)
    return step
  }

  private mutating func takeStep(
    _ input: Span<UInt8>, at now: Instant, _ workspace: inout HTTP2Workspace,
    _ output: inout ByteBuffer
  ) throws(HTTP2Error) -> HTTP2Step {
    switch phase {
    case .preface(let matched): return try takePreface(input, matched)
    case .data(let data): return takePiece(input, data)
    case .settings, .frames, .block, .failed: break
    }
    guard let header = FrameHeader(input) else { return waitForFrame(input, at: now) }
    if phase == .settings && role == .client, Self.beginsResponse(input) { throw .noHTTP2 }
    try check(header)
    if header.type == FrameType.data {
      frameDeadline = .never
      return try beginData(header, input, at: now, &output)
    }
    let end = FrameHeader.byteCount + header.length
    guard input.count >= end else { return waitForFrame(input, at: now) }
    let payload = input.extracting(FrameHeader.byteCount..<end)
    let event = try take(header, payload, at: now, &workspace, &output)
    if case .block = phase {
      // The deadline of a single frame applies to the whole block.
      if frameDeadline == .never { frameDeadline = now + limits.frameTimeout }
    } else {
      frameDeadline = .never
    }
    return HTTP2Step(consumed: end, event: event)
  }

  /// A server of HTTP/1 answers the preface with a status line.
  private static func beginsResponse(_ input: Span<UInt8>) -> Bool {
    let start: StaticString = "HTTP/1."
    return input.extracting(first: start.bytes.count).equals(start.bytes)
  }

  private mutating func waitForFrame(_ input: Span<UInt8>, at now: Instant) -> HTTP2Step {
    if input.count > 0 && frameDeadline == .never { frameDeadline = now + limits.frameTimeout }
    return HTTP2Step(consumed: 0, event: .needsInput)
  }

  private mutating func takePreface(
    _ input: Span<UInt8>, _ matched: Int
  ) throws(HTTP2Error) -> HTTP2Step {
    let wanted = Self.preface.bytes
    let count = min(input.count, wanted.count - matched)
    if count == 0 { return HTTP2Step(consumed: 0, event: .needsInput) }
    for index in 0..<count where input[index] != wanted[matched + index] { throw .badPreface }
    phase = matched + count == wanted.count ? .settings : .preface(matched: matched + count)
    return HTTP2Step(consumed: count, event: .progress)
  }

  /// Checks a frame before its payload has arrived.
  private mutating func check(_ header: FrameHeader) throws(HTTP2Error) {
    if header.length > FrameHeader.payloadByteCountMax { throw .frameTooLarge }
    switch phase {
    case .settings:
      guard header.type == FrameType.settings, !header.has(FrameFlag.acknowledge) else {
        throw .firstFrameNotSettings
      }
    case .block(let block):
      guard header.type == FrameType.continuation, header.stream == block.stream else {
        throw .expectedContinuation
      }
    case .preface, .frames, .data, .failed: break
    }
  }

  private mutating func take(
    _ header: FrameHeader, _ payload: Span<UInt8>, at now: Instant,
    _ workspace: inout HTTP2Workspace, _ output: inout ByteBuffer
  ) throws(HTTP2Error) -> HTTP2Event {
    switch header.type {
    case FrameType.headers: return try takeHeaders(header, payload, at: now, &workspace, &output)
    case FrameType.continuation:
      return try takeContinuation(header, payload, at: now, &workspace, &output)
    case FrameType.windowUpdate: return try takeWindowUpdate(header, payload, at: now, &output)
    case FrameType.resetStream: return try takeReset(header, payload, at: now)
    case FrameType.settings: return try takeSettings(header, payload, at: now, &output)
    case FrameType.ping: return try takePing(header, payload, at: now, &output)
    case FrameType.goAway: return try takeGoAway(header, payload)
    case FrameType.priority: return try takePriority(header, payload, at: now)
    case FrameType.priorityUpdate: return try takePriorityUpdate(header, payload, at: now)
    case FrameType.pushPromise: throw .unexpectedPush
    default:
      // RFC 9113 4.1 and 5.5.
      return try countAboutStream(.unknownFrame, header.stream, at: now, &output) ?? .progress
    }
  }

  /// Whether a stream has not been used yet, so that most frames on it are an error (RFC 9113 5.1).
  mutating func isIdle(_ stream: UInt32) -> Bool {
    switch role {
    case .server: stream & 1 == 0 || stream > peerLastStream
    case .client: stream & 1 == 0 || stream >= nextStream
    }
  }

  // MARK: Frames about one stream

  private mutating func takeReset(
    _ header: FrameHeader, _ payload: Span<UInt8>, at now: Instant
  ) throws(HTTP2Error) -> HTTP2Event {
    guard payload.count == 4 else { throw .badFrameSize }
    if header.stream == 0 { throw .missingStreamID }
    if isIdle(header.stream) { throw .frameOnIdleStream }
    guard let slot = streams.find(header.stream), !streams[slot].state.isReset else {
      try countClosedFrame(at: now)
      return .progress
    }
    let code = ErrorCode(wire: payload.bigEndian(at: 0))
    let wasClosed = streams[slot].state.isClosed
    if case .live(_, let outgoing) = streams[slot].state, role == .server, outgoing != .ended {
      try floods.take(.reset, limits.floods, at: now)
    }
    streams[slot].state = .resetByPeer
    dequeue(slot)
    if wasClosed { return .progress }
    return .reset(
      stream: header.stream, code: code,
      isUnprocessed: role == .client && code == .refusedStream)
  }

  /// RFC 9113 5.3.2 deprecates the priorities of RFC 7540: the frame is checked and ignored.
  private mutating func takePriority(
    _ header: FrameHeader, _ payload: Span<UInt8>, at now: Instant
  ) throws(HTTP2Error) -> HTTP2Event {
    if header.stream == 0 { throw .missingStreamID }
    guard payload.count == 5 else { throw .badFrameSize }
    try count(.priority, at: now)
    return .progress
  }

  /// RFC 9218 7.1.
  private mutating func takePriorityUpdate(
    _ header: FrameHeader, _ payload: Span<UInt8>, at now: Instant
  ) throws(HTTP2Error) -> HTTP2Event {
    guard role == .server, header.stream == 0 else { throw .badPriorityUpdate }
    guard payload.count >= 4 else { throw .badFrameSize }
    let stream = payload.bigEndian(at: 0) & Self.streamIDMax
    guard stream & 1 == 1 else { throw .badPriorityUpdate }
    try count(.priority, at: now)
    guard let priority = StreamPriority(payload.extracting(4..<payload.count)) else {
      return .progress
    }
    if let slot = streams.find(stream) {
      setPriority(slot, priority)
    } else if stream > peerLastStream {
      earlyPriorities.add(stream, priority)
    }
    return .progress
  }
}
