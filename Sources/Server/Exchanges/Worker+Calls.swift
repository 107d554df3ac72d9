// Calls of gRPC: their deadline, retries because of their status, and how a call ends that fails
// here. Only requests that are calls come here; everything else about them is HTTP.

import Balancing
import HTTP
import HTTP2
import Metrics
import Primitives
import Proxy
import Reactor

/// When a call must have ended, and who says so.
struct CallDeadline {
  static let never = CallDeadline(at: .never, isOfClient: false, reason: "grpc-max")

  let at: Instant
  /// Whether the client has set it (grpc-timeout), and not the pool (`timeouts.grpc-max`).
  let isOfClient: Bool
  let reason: StaticString

  /// Whether the deadline was why the call ended at `now`. The clocks of the client and the backend
  /// run out at almost the same time, and some clients round the time up by a few percent.
  func isDue(at now: Instant, since start: Instant) -> Bool {
    if at == .never { return false }
    let leeway: TimeSpan = max(.milliseconds(5), .nanoseconds((at - start).nanoseconds / 20))
    return at - now <= leeway
  }
}

extension Worker where IO: ~Copyable {
  // MARK: Deadline

  /// The request is a call. It has no deadline until it is forwarded.
  mutating func noteCall(_ handle: Handle) {
    exchanges[handle].request.isGRPC = true
    let slot = Int(handle.index)
    while callDeadlines.count <= slot { callDeadlines.append(.never) }
    callDeadlines[slot] = .never
  }

  /// Notes the deadline of a call that will be forwarded. False when it was answered instead.
  mutating func beginCall(_ handle: Handle) -> Bool {
    guard let deadline = statedDeadline(handle) else {
      answer(
        handle, LocalAnswer(error: 400), failure: .malformedHead, reason: "bad-grpc-timeout")
      return false
    }
    callDeadlines[Int(handle.index)] = deadline
    if deadline.at > now { return true }
    answer(
      handle, LocalAnswer(error: 504), failure: .deadlineExceeded, reason: deadline.reason)
    return false
  }

  /// The deadline that the client and the pool set, from the head of the request on; nil if the
  /// client's is malformed.
  private mutating func statedDeadline(_ handle: Handle) -> CallDeadline? {
    let startedAt = exchanges[handle].machine.startedAt
    var deadline = CallDeadline.never
    if let limit = exchanges[handle].pool.callTimeMax {
      deadline = CallDeadline(at: startedAt + limit, isOfClient: false, reason: "grpc-max")
    }
    switch GRPCTimeout(heads[exchanges[handle].head].fields) {
    case .none: return deadline
    case .after(let time):
      if startedAt + time > deadline.at { return deadline }
      return CallDeadline(at: startedAt + time, isOfClient: true, reason: "grpc-timeout")
    case .malformed: return nil
    }
  }

  /// Until when a stage may let the request wait: for a call until its deadline, also if it isn't
  /// translated yet. What follows the stages ends the call then.
  mutating func stageWaitEnd(_ handle: Handle) -> Instant {
    guard exchanges[handle].target != nil else { return .never }
    let isCall =
      exchanges[handle].request.isGRPC
      || exchanges[handle].stages.request.contains(.grpcWeb)
        && heads[exchanges[handle].head].grpcWeb != nil
    return isCall ? statedDeadline(handle)?.at ?? .never : .never
  }

  /// When the call must have ended; `.never` for other requests.
  @inline(__always)
  mutating func callDeadline(_ handle: Handle) -> Instant {
    let isCall = exchanges[handle].request.isGRPC
    return isCall ? callDeadlines[Int(handle.index)].at : .never
  }

  /// Before each attempt: tells the backend how much time is left.
  mutating func restateCallDeadline(_ handle: Handle) {
    let deadline = callDeadlines[Int(handle.index)].at
    if deadline == .never { return }
    GRPCTimeout.set(
      deadline - now, in: &heads[exchanges[handle].head].fields, scratch: &scratch)
  }

  /// The deadline has passed. The client may have chosen it, so the backend isn't blamed.
  mutating func callExpired(_ handle: Handle) {
    leaveLine(handle)
    exchanges[handle].malformation = callDeadlines[Int(handle.index)].reason
    perform(exchanges[handle].machine.handle(.refused(.deadlineExceeded), at: now), handle)
  }

  /// The failure that the record of a call has. At its deadline, Martlet, the client and the
  /// backend all end it, and the record is the same whoever was first. Also notes the status of a
  /// call that its client has cancelled.
  mutating func recordedFailure(_ handle: Handle, _ failure: ExchangeFailure?) -> ExchangeFailure? {
    let status = exchanges[handle].response.grpcStatus
    let deadline = callDeadlines[Int(handle.index)]
    let isDue = deadline.isDue(at: now, since: exchanges[handle].machine.startedAt)
    switch failure {
    case nil where status == GRPCStatus.deadlineExceeded && isDue: break
    // The client knows its own deadline only.
    case .clientAborted? where isDue && deadline.isOfClient: break
    case .clientAborted?:
      exchanges[handle].response.grpcStatus = status ?? GRPCStatus.cancelled
      return failure
    default: return failure
    }
    exchanges[handle].malformation = deadline.reason
    exchanges[handle].response.grpcStatus = GRPCStatus.deadlineExceeded
    return .deadlineExceeded
  }

  /// Whether the exchange is a stream in which both sides may be quiet for long. Only the pool's
  /// idle timeout limits such a pause, and it is nobody's fault. Where backends don't speak HTTP/2
  /// there is no gRPC, whatever a client says.
  mutating func mayBeQuiet(_ handle: Handle) -> Bool {
    guard exchanges[handle].request.isGRPC, exchanges[handle].target != nil,
      exchanges[handle].pool.protocol != .http1
    else { return false }
    // A backend of an `auto` pool may have chosen HTTP/1.
    if exchanges[handle].isOpen && exchanges[handle].attempt.stream == 0 { return false }
    return exchanges[handle].machine.hasAnswered || !exchanges[handle].machine.isRequestComplete
  }

  /// The response has begun, or the relay: if the client may leave its window closed for long, only
  /// the timeouts of the pool limit that.
  mutating func allowStalls(_ handle: Handle) {
    let client = exchanges[handle].client
    guard client.stream != 0, isPatient(handle), let codec = session(of: client.connection) else {
      return
    }
    http2Sessions[codec].connection.allowStalls(on: client.stream)
  }

  /// Whether the limits for slow clients don't apply.
  mutating func isPatient(_ handle: Handle) -> Bool {
    if case .relaying = exchanges[handle].machine.phase { return true }
    return mayBeQuiet(handle)
  }

  // MARK: Retries

  /// Why the response in `responseHead` is discarded and another backend is asked; nil if it is
  /// forwarded. The status of the call counts only if nothing else follows it (Trailers-Only): then
  /// the client has no message of the server.
  mutating func retryOfCall(_ handle: Handle, _ length: BodyLength) -> FailureCause? {
    let policy = exchanges[handle].pool.retry
    guard responseHead.status == 200, endsWithHead(handle, length),
      let status = responseHead.fields.grpcStatus, policy.grpcStatuses.contains(status)
    else { return retryOfStatus(handle, responseHead.status) }
    let failure = AttemptFailure(cause: .grpcStatus(status), wasReused: false, sentByteCount: 1)
    observe(handle, failure: policy.blamesBackend(failure) ? failure.cause : nil)
    guard responseHead.fields.allowsGRPCRetry else { return nil }
    return retry(handle, after: failure)
  }

  private mutating func endsWithHead(_ handle: Handle, _ length: BodyLength) -> Bool {
    length.isEmpty
      && (exchanges[handle].attempt.stream == 0 || exchanges[handle].response.arrived.hasEnded)
  }

  /// Whether the body is kept for another attempt even after a backend has got some of it.
  mutating func keepsCall(_ handle: Handle) -> Bool {
    exchanges[handle].request.isGRPC && !exchanges[handle].pool.retry.grpcStatuses.isEmpty
  }

  // MARK: Ending

  /// The response has begun and can't be completed: the client gets the status of the call in
  /// trailers. False if that isn't possible.
  mutating func endCall(_ handle: Handle) -> Bool {
    guard let failure = exchanges[handle].machine.failure,
      exchanges[handle].response.length == .streamed
    else { return false }
    if exchanges[handle].request.grpcWeb != nil { return endWebCall(handle, failure) }
    let client = exchanges[handle].client
    guard case .http2Client(let codec) = connections[client.connection].wire,
      http2Sessions[codec].connection.awaitsBody(on: client.stream)
    else { return false }
    endAttempt(handle, .broken)
    writeStatus(of: failure, handle)
    writeHTTP2End(to: client, codec)
    finish(handle)
    return true
  }

  /// The same for gRPC-Web, where the trailers are a frame at the end of the body. Within a
  /// message, the client would take the frame for a part of it.
  private mutating func endWebCall(_ handle: Handle, _ failure: ExchangeFailure) -> Bool {
    let transform = transform(handle, .response)
    guard transform != .none, transforms[transform].mayEndWithStatus else { return false }
    let client = exchanges[handle].client
    // Without a head there is no body.
    if case .http2Client(let codec) = connections[client.connection].wire,
      !http2Sessions[codec].connection.awaitsBody(on: client.stream)
    {
      return false
    }
    endAttempt(handle, .broken)
    writeStatus(of: failure, handle)
    _ = transforms[transform].end(trailers, &buffers)
    var rest = ByteBuffer()
    swap(&rest, &transforms[transform].output)
    if case .http2Client(let codec) = connections[client.connection].wire {
      // The window may be closed.
      scratch.removeAll()
      scratch.append(rest.bytes)
      writeHTTP2Whole(0..<scratch.count, to: client, codec)
    } else {
      write(rest, 0..<rest.count, to: client)
      writeEnd(to: client)
    }
    buffers.give(rest)
    finish(handle)
    return true
  }

  /// The trailers of a call that has failed, in `trailers`.
  private mutating func writeStatus(of failure: ExchangeFailure, _ handle: Handle) {
    let status = GRPCStatus.code(of: failure, http: failure.status)
    exchanges[handle].response.grpcStatus = status
    trailers.reset()
    trailers.appendGRPCStatus(status, callMessage(handle, failure, http: failure.status))
  }

  /// What the client of a call is told when it fails here.
  mutating func callMessage(
    _ handle: Handle, _ failure: ExchangeFailure?, http status: UInt16
  ) -> GRPCMessage {
    GRPCMessage(failure?.word, http: status, requestID: requestID(of: handle))
  }

  /// Whether it is a call that has ended with an error, which HTTP doesn't show.
  @inline(__always)
  mutating func hasFailedCall(_ handle: Handle) -> Bool {
    exchanges[handle].request.isGRPC
      && exchanges[handle].response.grpcStatus ?? GRPCStatus.ok != GRPCStatus.ok
  }

  // MARK: Metrics

  /// Counts a call that has ended by its method and its status.
  mutating func countCall(_ handle: Handle, failure: ExchangeFailure?) {
    if calls == nil { calls = CallTable(traffic.calls) }
    let status = exchanges[handle].response.grpcStatus
    // Otherwise, whoever asks for names that don't exist could take the places of those that do.
    let isKnown = failure == nil && status == GRPCStatus.ok
    calls?.count(heads[exchanges[handle].head], isKnown: isKnown, status)
  }
}

extension CallTable {
  fileprivate mutating func count(
    _ head: borrowing RequestHead, isKnown: Bool, _ status: UInt8?
  ) {
    let path = head.bytes(of: head.path)
    if GRPCMethod(path: path) == nil {
      add(Span(), isKnown: false, status: status)
    } else {
      add(path, isKnown: isKnown, status: status)
    }
  }
}
