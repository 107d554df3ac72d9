// Limits for clients. They apply to the whole process unless the comment says otherwise.

public import Primitives

extension Configuration {
  /// Sizes in bytes, counts, and times for clients.
  public struct Limits: Hashable, Sendable {
    /// Request line and fields together; 431 beyond.
    public var headSize = 32 * 1024
    /// 431 beyond.
    public var fieldCount = 100
    /// Status line and fields of a response together; 502 beyond.
    public var responseHeadSize = 64 * 1024
    /// 502 beyond.
    public var responseFieldCount = 1000
    /// 414 beyond.
    public var targetSize = 8 * 1024
    /// 413 beyond; nil for no limit.
    public var bodySize: Int? = 1 << 30
    /// Of the whole process; nil means four fifths of the available memory.
    public var memory: Int?
    /// How many bytes the chunk extensions of a request may exceed its data; 400 beyond.
    public var chunkExtensions = 16 * 1024
    /// Trailers of a request, together; 400 beyond.
    public var trailerSize = 8 * 1024
    /// Open at a time, over all listeners and workers.
    public var connections = 20_000
    /// The same for one client address; nil for no limit.
    public var connectionsPerAddress: Int? = 2000
    /// The response to the last one says that the connection closes.
    public var requestsPerConnection = 10_000
    /// Concurrent requests on an HTTP/2 connection.
    public var streamsPerConnection = 100
    /// TLS handshakes in progress at a time; beyond it the oldest is dropped.
    public var handshakes = 5000
    public var handshake = TimeSpan.seconds(10)
    /// For a whole head, from its first byte; 408 beyond.
    public var head = TimeSpan.seconds(10)
    /// Between two pieces of a request's body; 408 beyond. Also for how long a client may leave a
    /// response unread.
    public var bodyIdle = TimeSpan.seconds(30)
    /// Bytes a second of a request's body that a client must send, and of a response that it must
    /// take; nil for no minimum.
    public var minimumRate: Int? = 240
    /// How long a client may stay below it.
    public var rateGrace = TimeSpan.seconds(10)
    /// Between two requests.
    public var keepAlive = TimeSpan.seconds(60)
    /// For a client that still sends after its last response.
    public var linger = TimeSpan.seconds(30)
    /// Between the signal to stop and the first refused connection.
    public var lameDuck = TimeSpan.zero
    /// For active requests when Martlet stops.
    public var drain = TimeSpan.seconds(30)
    /// For the new process of an upgrade, until it reports that it serves.
    public var upgrade = TimeSpan.seconds(60)
    /// A body up to this size is collected before a backend is chosen.
    public var collectSize = 16 * 1024
    /// For no longer than this.
    public var collectWait = TimeSpan.milliseconds(250)

    public init() {}
  }
}

extension Configuration.Limits: Section {
  static let title = "limits"
  static let about = """
    Limits for clients. Keys that limit responses of backends say so. "408 if exceeded" means \
    that the client gets this status.
    """
  static let keys: [Key<Self>] = [
    Key(
      "head-size", \.headSize, .size(1024 ... 64 << 10),
      "Maximum size of a request head: request line and all fields. Each field counts as its "
        + "length plus 32 bytes, as in HTTP/2 (RFC 9113, 6.5.2). 431 if exceeded. Default: 32KiB, "
        + "enough for large cookies."),
    Key(
      "field-count", \.fieldCount, .integer(16...1000),
      "Maximum number of fields in a request head. 431 if exceeded."),
    Key(
      "response-head-size", \.responseHeadSize, .size(1024 ... 64 << 10),
      "Maximum size of a response head from a backend, counted as in `head-size`. 502 if exceeded, "
        + "with the reason in the access log. A client can cause such a response. So it counts as "
        + "a failure of the backend (`ejection`) only after ten seconds without a valid response "
        + "from this backend. "
        + "The default is also the maximum, because a head must fit into one memory block. For "
        + "comparison: HAProxy has 16KiB, nginx 4KiB or 8KiB. With HTTP/2, the limit is also "
        + "for the trailers of a response. With HTTP/1.1, they may have 8KiB and 32 fields."),
    Key(
      "response-field-count", \.responseFieldCount, .integer(16...10_000),
      "Maximum number of fields in a response head from a backend. 502 if exceeded, as for "
        + "`response-head-size`."),
    Key(
      "target-size", \.targetSize, .size(256 ... 64 << 10),
      "Maximum size of the target in the request line (path and query). 414 if exceeded."),
    Key(
      "body-size", \.bodySize, .off(or: .size(0 ... 1024 << 40)),
      "Maximum size of a request body. 413 if exceeded. Martlet streams bodies through small "
        + "buffers, so this does not limit memory. Default: 1GiB. This is enough for most uploads, "
        + "and stops a client that never stops sending. Set a higher value for larger files, such "
        + "as \"20GiB\"."),
    Key(
      "chunk-extensions", \.chunkExtensions, .size(0 ... 1 << 20),
      "Maximum size of the chunk extensions of a request body (RFC 9112, 7.1.1). 400 if exceeded. "
        + "The limit applies to a counter. Each byte of an extension adds one to it. Each byte of "
        + "body data subtracts one, but never below 0. Chunk extensions are practically unused, "
        + "and Martlet never forwards them."),
    Key(
      "trailer-size", \.trailerSize, .size(64 ... 8 << 10),
      "Maximum size of the trailers of a request, counted as in `head-size`; at most 32 fields. "
        + "400 if exceeded. Default: 8KiB, enough for a signature and some checksums."),
    Key(
      "connections", \.connections, .integer(1...10_000_000),
      "Maximum number of client connections, over all listeners and workers. Further connections "
        + "are closed immediately. Each connection needs up to two file descriptors. If "
        + "`ulimit -n` does not allow enough of them, Martlet accepts fewer connections, and logs "
        + "a warning."),
    Key(
      "connections-per-address", \.connectionsPerAddress, .off(or: .integer(1...10_000_000)),
      "Maximum number of connections of one client: an IPv4 address, or the /64 network of an "
        + "IPv6 address. Peers in `trusted-proxies` are exempt, because they connect for many "
        + "clients. Default: a tenth of the default of `connections`. So one address can't use "
        + "all connections, and hundreds of users can share one address."),
    Key(
      "memory", optional: \.memory, .size(1 << 20 ... 1 << 50),
      "Maximum memory of the whole process. At 85 % of `memory` or of `connections`, Martlet "
        + "closes client connections after their next response, and idle ones after two seconds. "
        + "At 95 % of `memory`, new requests get 503 with Retry-After. Requests in progress "
        + "continue. Default: 80 % of the memory of the machine or the container, because the "
        + "kernel kills a process that uses too much."),
    Key(
      "requests-per-connection", \.requestsPerConnection, .integer(1...100_000_000),
      "After this many requests the connection is closed cleanly, so that clients connect again "
        + "and spread over the workers."),
    Key(
      "streams-per-connection", \.streamsPerConnection, .integer(1...1000),
      "Maximum number of concurrent requests on one HTTP/2 connection. Clients wait with further "
        + "requests until others have ended. A reload applies a change to new connections."),
    Key(
      "handshakes", \.handshakes, .integer(1...10_000_000),
      "Maximum number of TLS handshakes in progress, divided evenly between the workers. If there "
        + "are more, Martlet drops the oldest one. In a flood, the oldest one most likely belongs "
        + "to the attacker. Default: a quarter of the default of `connections`. If a round trip "
        + "takes 200ms, a handshake takes about 400ms, so this is enough for 12,000 new clients "
        + "per second."),
    Key(
      "handshake", \.handshake, .duration(.milliseconds(100) ... .seconds(300)),
      "Timeout for the TLS handshake, from the start of the connection."),
    Key(
      "head", \.head, .duration(.milliseconds(100) ... .seconds(300)),
      "Timeout for a request head, from its first byte to its end. 408 if exceeded. This is the "
        + "time for the whole head. A client can't extend it by sending one byte from time to time "
        + "(Slowloris)."),
    Key(
      "body-idle", \.bodyIdle, .duration(.milliseconds(100) ... .seconds(86_400)),
      "Maximum pause while a client sends a request body (408 if exceeded) or receives a "
        + "response."),
    Key(
      "minimum-rate", \.minimumRate, .off(or: .size(1 ... 1 << 30)),
      "Minimum rate, in bytes per second, at which a client must send a request body (otherwise "
        + "408) and receive a response. So a client can't keep a connection open by sending or "
        + "reading one byte from time to time. Only the time in which Martlet waits for the client "
        + "counts. Upgraded connections are exempt. Default: 240B, far below the slowest mobile "
        + "network; an attacker with 1000 connections must transfer at least 240kB per second. Use "
        + "\"off\" for uploads with long pauses, such as live logs."),
    Key(
      "rate-grace", \.rateGrace, .duration(.milliseconds(100) ... .seconds(3600)),
      "How long a client may stay below `minimum-rate`, for example while a phone has no "
        + "network. Set it lower than `body-idle`."),
    Key(
      "keep-alive", \.keepAlive, .duration(.zero ... .seconds(86_400)),
      "How long a client connection stays open without a request."),
    Key(
      "linger", \.linger, .duration(.zero ... .seconds(3600)),
      "Maximum time to read and discard the rest of a request after an early response. An early "
        + "response is sent before the client has sent its whole request, such as a 413, or a 401 "
        + "from the backend. Afterwards Martlet closes the connection. Many clients read the "
        + "response only after they have sent everything. If Martlet closed the connection at "
        + "once, they would not see the response. "
        + "A client that pauses for 5s, or stays below `minimum-rate`, is disconnected earlier. "
        + "Default: 30s, as in nginx (`lingering_time`), enough for 375MB at 100Mbit/s."),
    Key(
      "lame-duck", \.lameDuck, .duration(.zero ... .seconds(3600)),
      "For this time after the signal to stop, Martlet continues as before. The only change: "
        + "routes with a `draining-status` respond with that status. It tells a load balancer in "
        + "front of Martlet to stop sending requests."),
    Key(
      "drain", \.drain, .duration(.zero ... .seconds(86_400)),
      "How long active requests may continue after `lame-duck`, and in the old process of an "
        + "upgrade. Then they are aborted."),
    Key(
      "upgrade", \.upgrade, .duration(.seconds(1) ... .seconds(3600)),
      "Timeout for the new process of an upgrade. If it does not serve within this time, it is "
        + "stopped, and the old process continues."),
    Key(
      "collect-size", \.collectSize, .size(0 ... 64 << 10),
      "A request body up to this size is read completely before a backend is selected, so that "
        + "slow clients don't occupy backends. \"0B\" turns it off."),
    Key(
      "collect-wait", \.collectWait, .duration(.zero ... .seconds(60)),
      "Maximum time to wait for such a body. After this time Martlet selects a backend, and "
        + "streams the rest of the body."),
  ]
}
