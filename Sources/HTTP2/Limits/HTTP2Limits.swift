// The limits of a connection, with their defaults and reasons.

public import Primitives

public struct HTTP2Limits: Equatable, Sendable {
  /// Concurrent streams. As a server: the value of SETTINGS_MAX_CONCURRENT_STREAMS; nginx announces
  /// 128, HAProxy and h2o 100. As a client: our own limit, whatever the server allows.
  public var streamCount = 100

  /// As a server: whether to offer extended CONNECT (RFC 8441) to clients, for WebSockets.
  public var offersExtendedConnect = true

  // Heads. The first three have the same defaults in HTTP/1.
  /// The size of a head: names, values and 32 bytes for each field (RFC 9113 6.5.2), including
  /// pseudo-fields. Larger heads are answered with 431.
  public var fieldListByteCount = 32 * 1024
  public var fieldCount = 100
  public var targetByteCount = 8 * 1024
  /// Cookie fields. Clients split them for compression (RFC 9113 8.2.3), and they are joined to one
  /// field here.
  public var cookieCrumbCount = 100
  /// For trailers: names, values, and 32 bytes for each field.
  public var trailerByteCount = 8 * 1024
  public var trailerFieldCount = 32
  /// A compressed field block: HEADERS and its CONTINUATION frames together.
  public var fieldBlockByteCount = 64 * 1024
  /// CONTINUATION frames after one HEADERS; nghttp2 accepts 8. CVE-2024-28182 and 27316.
  public var continuationCount = 8
  /// A head may decompress to this multiple of the limit before the connection ends: the table must
  /// be kept, but a bomb must not be decompressed (CVE-2026-47774 and 49975).
  public var fieldListBombFactor = 4
  /// Interim responses (1xx) on one stream.
  public var interimCount = 256

  // Compression.
  /// The largest table that the peer's encoder may use. It is allocated only when used.
  public var decoderTableByteCount = 4096
  /// The largest table that our encoder uses.
  public var encoderTableByteCount = 4096

  // Flow control.
  /// A stream's initial receive window. With 65,535, the default of RFC 9113, frames of one byte
  /// occur.
  public var streamWindow = 65_536
  /// The largest window, if the consumer keeps up and the budgets allow it.
  public var streamWindowMax = 1024 * 1024
  /// The maximum growth of all windows of a connection; the worker's budget is another limit.
  public var windowGrowthByteCount = 4 * 1024 * 1024
  /// The connection's receive window. It is credited on receipt, so that an unread stream doesn't
  /// block others. The sum of the streams' windows limits the memory.
  public var connectionWindow = 1024 * 1024

  // Sending.
  /// The largest DATA frame that we send, even if the peer allows more: large frames delay others.
  public var frameByteCount = FrameHeader.payloadByteCountMax
  /// Frames in the output that answer the peer (acknowledgements, resets), as nghttp2's
  /// `max_outbound_ack`.
  public var controlBacklogCount = 1000

  // Deadlines.
  /// For the acknowledgement of our first SETTINGS (RFC 9113 6.5.3), as in nghttpx, while the peer
  /// sends nothing.
  public var settingsTimeout = TimeSpan.seconds(10)
  /// For a frame other than DATA, or for a field block in several frames, from its first byte on.
  public var frameTimeout = TimeSpan.seconds(10)
  /// For the acknowledgement of a PING by a server.
  public var pingTimeout = TimeSpan.seconds(10)
  /// While streams are open, a PING is sent after this time without input; nil for never. nghttpx
  /// pings backends after 5 s.
  public var pingInterval: TimeSpan? = nil
  /// The time to the next PING if neither heads nor bodies came after the last one. Servers of gRPC
  /// end a connection on which PINGs come more often than every 5 minutes meanwhile.
  public var pingPause = TimeSpan.seconds(330)
  /// A stream has bytes to send and the peer opens no window: slow readers, CVE-2019-9511 and 9517.
  /// Nil for no limit here: the owner decides.
  public var stallTimeout: TimeSpan? = .seconds(60)
  /// Between the two GOAWAYs of a drain, unless the PING is answered before, as in grpc-go.
  public var drainTimeout = TimeSpan.seconds(5)

  public var floods = FloodLimits()

  public init() {}
}
