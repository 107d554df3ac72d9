// The limits and policies of a configuration in the form that the request path reads.
//
// Plain values, so that a worker can read them without a reference count. What each means, its
// default and its range is told where it is configured (Configuration).

import HTTP1
import HTTP2
import Primitives
import Proxy

struct Settings: Sendable {
  var headLimits = HeadLimits()
  var bodyLimits = BodyLimits()
  var paths = PathPolicy()
  var forwarding = ForwardingPolicy()
  var log = LogSettings()
  /// Nil while nothing is traced.
  var tracing: Tracing?
  /// Whether requests get an X-Request-ID.
  var setsRequestID = false
  /// Of exchanges without a route.
  var stages = StagePlan([.date], forwards: false)

  var bodyByteCountMax: UInt64 = 1 << 30
  /// Bodies of a known length up to this are collected before a backend is chosen.
  var collectedByteCountMax: UInt64 = 16 * 1024
  var collectTime = TimeSpan.milliseconds(100)
  /// Client connections of the whole process.
  var connectionMax = 20_000
  var connectionsPerAddressMax: Int? = 2000
  var requestsPerConnectionMax = 10_000

  /// Idle connections to backends per worker, of all pools together.
  var idleUpstreamMax = Int.max

  /// Of HTTP/2 connections of clients.
  var http2 = HTTP2Limits()
  /// Of HTTP/2 connections to backends.
  var http2Backends = HTTP2Limits()

  /// TLS handshakes in progress per worker.
  var handshakeMax = 2500
  var handshakeTimeout = TimeSpan.seconds(10)
  var headTimeout = TimeSpan.seconds(10)
  var idleTimeout = TimeSpan.seconds(60)
  /// For a client that still sends after its last answer.
  var lingerTime = TimeSpan.seconds(30)
  /// For a client that takes nothing of its last answer.
  var bodyIdleTimeout = TimeSpan.seconds(30)
  /// What a client that sends a body or takes an answer must keep up; nil for no minimum.
  var minimumRate: MinimumRate? = MinimumRate(bytesPerSecond: 240, grace: .seconds(10))

  /// The defaults, as tests use them.
  init() {}
}
