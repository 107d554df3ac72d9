// How the backends of a pool are checked: the kind of the check, when, where, and for how long.

import Balancing
import Primitives

/// How a pool's members are checked.
struct ActiveCheck: Sendable {
  enum Kind: Equatable, Sendable {
    /// Is a connection accepted, and does TLS agree if the pool has it?
    case tcp
    /// Does what the backend sends begin with this, after it got those bytes? Without a reply to
    /// expect, a datagram only must not be refused.
    case talk(send: [UInt8], reply: [UInt8])
    /// Is this request answered with one of these statuses?
    /// A nil `host` stands for the member's own.
    case http(path: String, host: String?, expected: [ClosedRange<UInt16>])
    /// Is this service of gRPC serving (grpc/doc/health-checking.md)? Empty for the whole server.
    case grpc(service: String, host: String?)
  }

  var kind: Kind
  /// By UDP; a check of any other kind is a TCP connection.
  var isDatagram = false
  var interval: TimeSpan
  /// The interval while the state is changing.
  var fastInterval: TimeSpan
  var timeout: TimeSpan
  /// Nil for the one at which the member serves.
  var port: UInt16?
  /// Of the pool's TLS; 0 without TLS.
  var tlsID = 0
  /// What begins the connections of the pool; nil for nothing.
  var proxyHeader: ProxyHeaderPlan?
  /// What the pool speaks, and so its checks.
  var spoken = BackendProtocol.http1

  /// Interim responses (RFC 9110 15.2) that a check waits through, far more than any server sends:
  /// a backend that floods them mustn't keep the worker.
  static let interimMax = 16

  /// Whether the check fails if the backend has not chosen HTTP/2.
  var needsHTTP2: Bool {
    if case .grpc = kind { return true }
    return spoken == .http2
  }

  /// Whether a check with a request passes with this status.
  func expects(_ status: UInt16) -> Bool {
    switch kind {
    case .tcp, .talk: false
    case .http(_, _, let expected): expected.contains { $0.contains(status) }
    case .grpc: status == 200
    }
  }

  /// Whether a check passes that is neither answered nor refused.
  var mayBeSilent: Bool {
    if case .talk(_, let reply) = kind { isDatagram && reply.isEmpty } else { false }
  }

  /// Whether an active check of `member` by this configuration is also valid for `otherMember` by
  /// `other`. The interval does not matter for this.
  func isSame(
    as other: ActiveCheck, for member: Member, _ otherMember: Member
  ) -> Bool {
    kind == other.kind && isDatagram == other.isDatagram && timeout == other.timeout
      && tlsID == other.tlsID
      && spoken == other.spoken && proxyHeader == other.proxyHeader
      && address(of: member) == other.address(of: otherMember)
      && member.checkHost == otherMember.checkHost && member.serverName == otherMember.serverName
  }

  /// When a check is due that was due at `former`, perhaps by a longer interval.
  func due(
    _ former: Instant, isSettled: Bool, at now: Instant, _ generator: inout RandomGenerator
  ) -> Instant {
    let longest = isSettled ? interval : fastInterval
    // A tenth of jitter is part of the interval.
    if former <= now + .nanoseconds(longest.nanoseconds / 10 * 11) { return former }
    return firstDue(within: longest, at: now, &generator)
  }

  /// Spread, so that a thousand backends are not all checked in the same millisecond.
  func firstDue(
    within span: TimeSpan, at now: Instant, _ generator: inout RandomGenerator
  ) -> Instant {
    now + .nanoseconds(Int64(generator.next(below: Int(max(1, span.nanoseconds)))))
  }

  /// Where `member` is checked.
  func address(of member: Member) -> SocketAddress {
    guard let port, case .ip(let address, _) = member.address else { return member.address }
    return .ip(address, port: port)
  }
}
