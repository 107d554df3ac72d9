// A health check over HTTP/2: one request on a connection of its own, and its response.
//
// Bytes in and bytes out: Worker+Probe moves them, and knows the time. The codec is the client's
// side of HTTP2. Everything that a backend sends is bounded: no window is opened, and of a body
// only one message of gRPC is kept.

import Balancing
import HTTP
import HTTP2
import Primitives
import Proxy

struct HTTP2Check: ~Copyable {
  enum Progress: Equatable {
    /// More must come.
    case waits
    /// The check is over: nil if it passed.
    case over(FailureCause?)
    /// The backend wants HTTP/1 for this request (RFC 9113 7: HTTP_1_1_REQUIRED).
    case wantsHTTP1
  }

  /// The most that is received for one check: a head of several frames, and a window.
  static var receivedByteMax: Int { 192 * 1024 }

  private let check: ActiveCheck
  private var connection: HTTP2Connection
  private var receivedByteCount = 0
  /// The message of gRPC, as far as it has come.
  private var message: [UInt8] = []

  init(_ check: ActiveCheck, limits: HTTP2Limits, at now: Instant) {
    self.check = check
    var limits = limits
    limits.interimCount = ActiveCheck.interimMax
    // The check has a timeout of its own.
    limits.pingInterval = nil
    connection = HTTP2Connection(role: .client, limits: limits, at: now)
  }

  /// Writes the beginning of the connection, and the request.
  mutating func ask(
    host: String, _ scheme: RequestScheme, at now: Instant, workspace: inout HTTP2Workspace,
    into output: inout ByteBuffer
  ) {
    connection.start(at: now, into: &output)
    var head = RequestHead()
    head.version = .http2
    head.authority = head.fields.store(Array(host.utf8).span)
    head.fields.append(.userAgent, "martlet-health")
    switch check.kind {
    case .tcp: break
    case .http(let path, let host, _):
      if let host { head.authority = head.fields.store(Array(host.utf8).span) }
      head.path = head.fields.store(Array(path.utf8).span)
      _ = connection.open(
        head, scheme: scheme, body: .none, owner: 0, workspace: &workspace, into: &output)
    case .grpc(let service, let host):
      if let host { head.authority = head.fields.store(Array(host.utf8).span) }
      head.method = .post
      head.path = head.fields.store(GRPCHealth.path.bytes)
      head.fields.append(.contentType, "application/grpc")
      let timeout = Array("\(max(1, check.timeout.milliseconds))m".utf8)
      _ = head.fields.append(name: ("grpc-timeout" as StaticString).bytes, value: timeout.span)
      let outcome = connection.open(
        head, scheme: scheme, body: .streamed, owner: 0, acceptsTrailers: true,
        workspace: &workspace, into: &output)
      guard case .opened(let stream) = outcome else { return }
      let request = GRPCHealth.request(service: service)
      _ = connection.send(request.span, ends: true, on: stream, into: &output)
    }
  }

  /// Takes what was received. What must be sent in return is in `output`.
  mutating func receive(
    _ inbound: inout ByteBuffer, at now: Instant, workspace: inout HTTP2Workspace,
    into output: inout ByteBuffer
  ) -> Progress {
    while true {
      let step = connection.receive(
        inbound.bytes, at: now, workspace: &workspace, into: &output)
      let progress = take(step.event, inbound, workspace)
      inbound.consume(step.consumed)
      receivedByteCount += step.consumed
      if let progress { return progress }
      if receivedByteCount > Self.receivedByteMax { return .over(.badResponse) }
    }
  }

  /// Whether the backend has sent its SETTINGS, so that it speaks HTTP/2.
  var knowsPeer: Bool { connection.knowsPeer }

  /// Writes the last frame. Must be the last call.
  mutating func end(workspace: inout HTTP2Workspace, into output: inout ByteBuffer) {
    connection.endDrain(into: &output)
    connection.end(workspace: &workspace)
  }

  // MARK: Events

  /// Nil if another event may follow.
  private mutating func take(
    _ event: HTTP2Event, _ inbound: borrowing ByteBuffer, _ workspace: borrowing HTTP2Workspace
  ) -> Progress? {
    switch event {
    case .needsInput: return .waits
    case .response(_, _, let ends):
      if workspace.response.isInterim { return nil }
      return takeHead(workspace.response, ends: ends)
    case .piece(_, let place, let ends):
      // A call without trailers has no result.
      if ends || message.count + place.count > GRPCHealth.responseByteMax {
        return .over(.badResponse)
      }
      message += inbound.array(place)
      return nil
    case .trailers: return .over(verdict(workspace.trailers.grpcStatus))
    case .reset(_, .http11Required, _), .goAway(_, .http11Required): return .wantsHTTP1
    case .reset: return .over(.resetBeforeResponse)
    case .end, .failed: return .over(.badResponse)
    case .broken(let error): return .over(error == .noHTTP2 ? .noHTTP2 : .badResponse)
    case .progress, .goAway, .settingsChanged, .pingAcknowledged, .request, .excessive, .rejected:
      return nil
    }
  }

  private func takeHead(_ head: borrowing ResponseHead, ends: Bool) -> Progress? {
    guard check.expects(head.status) else { return .over(.status(head.status)) }
    guard case .grpc = check.kind else { return .over(nil) }
    // Without a body it is Trailers-Only.
    return ends ? .over(verdict(head.fields.grpcStatus)) : nil
  }

  /// What a call means that ended with this status.
  private func verdict(_ status: UInt8?) -> FailureCause? {
    guard let status else { return .badResponse }
    if status != 0 { return .grpcStatus(status) }
    guard let health = GRPCHealth.status(in: message) else { return .badResponse }
    return health == GRPCHealth.serving ? nil : .grpcNotServing
  }
}
