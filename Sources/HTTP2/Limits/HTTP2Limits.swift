// How much a connection may hold and a peer may ask of it. Each has a default and a reason.

public import Primitives

public struct HTTP2Limits: Equatable, Sendable {
  /// Streams at once. As a server: what SETTINGS_MAX_CONCURRENT_STREAMS tells; nginx says 128,
  /// HAProxy and h2o 100. As a client: our own cap, whatever the server allows.
  public var streamCount = 100

  /// As a server: whether clients are offered extended CONNECT (RFC 8441), for WebSockets.
  public var offersExtendedConnect = true

  // Heads. The first three are those of HTTP/1.
  /// Names and values of a head, and 32 bytes for each field (RFC 9113 6.5.2), pseudo-fields
  /// included. What is larger is answered with 431.
  public var fieldListByteCount = 32 * 1024
  public var fieldCount = 100
  public var targetByteCount = 8 * 1024
  /// Cookie fields, which clients split for compression (RFC 9113 8.2.3), and which are joined to
  /// one field here.
  public var cookieCrumbCount = 100
  /// For trailers: names, values, and 32 bytes for each field.
  public var trailerByteCount = 8 * 1024
  /// A field block as it comes, compressed: HEADERS and its CONTINUATION frames together.
  public var fieldBlockByteCount = 64 * 1024
  /// CONTINUATION frames behind one HEADERS; nghttp2 takes 8. CVE-2024-28182 and 27316.
  public var continuationCount = 8
  /// A head may unpack to so many times what is allowed before the connection ends: the table must
  /// be kept, but a bomb must not be unpacked (CVE-2026-47774 and 49975).
  public var fieldListBombFactor = 4
  /// Interim responses (1xx) on one stream.
  public var interimCount = 100

  // Compression.
  /// What the peer's encoder may make us keep. Nothing is allocated before it is used.
  public var decoderTableByteCount = 4096
  /// What our encoder keeps at most.
  public var encoderTableByteCount = 4096

  // Flow control.
  /// A stream's receive window at first. 65,535, the initial value of RFC 9113, breeds frames of
  /// one byte.
  public var streamWindow = 65_536
  /// What it grows to, where its consumer keeps up and the budgets allow.
  public var streamWindowMax = 1024 * 1024
  /// What all streams of a connection may grow by, beside the worker's budget.
  public var windowGrowthByteCount = 4 * 1024 * 1024
  /// The connection's receive window. It is credited on receipt, so that no unread stream stalls
  /// the others; what bounds memory is the sum of the streams' windows.
  public var connectionWindow = 1024 * 1024

  // Sending.
  /// Largest DATA frame that we send, however large the peer's limit is: large frames delay others.
  public var frameByteCount = FrameHeader.payloadByteCountMax
  /// Frames that answer the peer (acknowledgements, resets) and wait to be sent, as nghttp2's
  /// `max_outbound_ack`.
  public var controlBacklogCount = 1000

  // Deadlines.
  /// For the acknowledgement of our SETTINGS (RFC 9113 6.5.3); nghttpx has the same.
  public var settingsTimeout = TimeSpan.seconds(10)
  /// For a frame other than DATA, or a field block in several frames, from its first byte on.
  public var frameTimeout = TimeSpan.seconds(10)
  /// For the acknowledgement of a PING.
  public var pingTimeout = TimeSpan.seconds(10)
  /// A PING is sent when nothing came for so long; nil for never. nghttpx asks backends after 5 s.
  public var pingInterval: TimeSpan? = nil
  /// A stream has bytes to send and the peer opens no window: slow readers, CVE-2019-9511 and 9517.
  public var stallTimeout = TimeSpan.seconds(60)
  /// Between the two GOAWAYs of a drain, unless a PING comes back before; grpc-go has the same.
  public var drainTimeout = TimeSpan.seconds(5)

  public var floods = FloodLimits()

  public init() {}
}
