// Frames that cost a peer little and us much (RFC 9113 10.5), how often they may occur, and how
// often they did.
//
// Each kind has its own token bucket, which refills with time. Kinds that are a part of normal
// traffic also earn tokens from it. An empty bucket ends the connection with an error named after
// the kind; HTTP2Connection+Floods has what is different as a client. The counts are totals, for
// metrics.

import Primitives

/// A kind of event that is harmless when it is rare.
public enum Flood: UInt8, Sendable, CaseIterable {
  /// RST_STREAM before the response was complete: rapid reset, CVE-2023-44487.
  case reset
  /// A stream that we had to reset because of the peer: MadeYouReset, CVE-2025-8671.
  case causedReset
  /// A stream beyond SETTINGS_MAX_CONCURRENT_STREAMS, whether or not that was acknowledged.
  case refusal
  /// SETTINGS: CVE-2019-9515.
  case settings
  /// PING: CVE-2019-9512. Traffic earns tokens, since gRPC uses PINGs to measure bandwidth.
  case ping
  /// PRIORITY and PRIORITY_UPDATE: CVE-2019-9513. Streams earn tokens.
  case priority
  /// DATA without a byte and without END_STREAM: CVE-2019-9518.
  case emptyData
  /// WINDOW_UPDATE. DATA that we send earns tokens.
  case windowUpdate
  /// Frames of unknown types.
  case unknownFrame
  /// Frames on closed streams, including those sent before the peer received our RST_STREAM.
  case closedStreamFrame

  var error: HTTP2Error {
    switch self {
    case .reset: .resetFlood
    case .causedReset: .causedResetFlood
    case .refusal: .refusalFlood
    case .settings: .settingsFlood
    case .ping: .pingFlood
    case .priority: .priorityFlood
    case .emptyData: .emptyDataFlood
    case .windowUpdate: .windowUpdateFlood
    case .unknownFrame: .unknownFrameFlood
    case .closedStreamFrame: .closedStreamFlood
    }
  }
}

/// A burst, and a number per second after it.
public struct FloodLimit: Equatable, Sendable {
  public var burst: UInt32
  public var perSecond: UInt32

  public init(burst: UInt32, perSecond: UInt32) {
    self.burst = burst
    self.perSecond = perSecond
  }
}

/// The limits of all kinds.
public struct FloodLimits: Equatable, Sendable {
  // A browser that leaves a page resets at most its streams, a hundred.
  public var reset = FloodLimit(burst: 200, perSecond: 33)
  public var causedReset = FloodLimit(burst: 100, perSecond: 10)
  // A client may send this many before it has read our SETTINGS; nginx allows 128.
  public var refusal = FloodLimit(burst: 100, perSecond: 10)
  public var settings = FloodLimit(burst: 32, perSecond: 1)
  public var ping = FloodLimit(burst: 100, perSecond: 10)
  // Envoy allows 100, plus 100 for each stream.
  public var priority = FloodLimit(burst: 100, perSecond: 10)
  public var emptyData = FloodLimit(burst: 100, perSecond: 10)
  public var windowUpdate = FloodLimit(burst: 200, perSecond: 10)
  public var unknownFrame = FloodLimit(burst: 100, perSecond: 10)
  // More than enough for what may be on its way when we reset a stream: its window in full frames.
  public var closedStreamFrame = FloodLimit(burst: 1000, perSecond: 100)

  public init() {}

  subscript(kind: Flood) -> FloodLimit {
    switch kind {
    case .reset: reset
    case .causedReset: causedReset
    case .refusal: refusal
    case .settings: settings
    case .ping: ping
    case .priority: priority
    case .emptyData: emptyData
    case .windowUpdate: windowUpdate
    case .unknownFrame: unknownFrame
    case .closedStreamFrame: closedStreamFrame
    }
  }
}

/// How often each kind occurred on one connection.
public struct FloodCounts: Sendable {
  private var values = InlineArray<10, UInt32>(repeating: 0)

  public subscript(kind: Flood) -> UInt32 { values[Int(kind.rawValue)] }

  mutating func add(_ kind: Flood) { values[Int(kind.rawValue)] &+= 1 }
}

/// The buckets of one connection.
struct FloodGuard {
  private(set) var counts = FloodCounts()
  /// Used tokens that are not refilled yet. Negative if traffic has earned more.
  private var spent = InlineArray<10, Int32>(repeating: 0)
  /// When each bucket was last refilled, in milliseconds.
  private var refilled = InlineArray<10, UInt32>(repeating: 0)

  /// The most tokens that can be earned beyond the burst.
  private static let earnedMax: Int32 = 10_000

  /// Takes one token, and throws when there is none left.
  mutating func take(
    _ kind: Flood, _ limits: FloodLimits, at now: Instant
  ) throws(HTTP2Error) {
    counts.add(kind)
    let index = Int(kind.rawValue)
    if spent[index] < .max { spent[index] += 1 }
    if spent[index] <= 0 { return }
    refill(kind, limits, at: now)
    if !hasTokens(kind, limits) { throw kind.error }
  }

  /// The same, but leaves half of the burst: false, and nothing is taken, when it would be used.
  mutating func takeIfPlenty(_ kind: Flood, _ limits: FloodLimits, at now: Instant) -> Bool {
    counts.add(kind)
    let index = Int(kind.rawValue)
    if spent[index] > 0 { refill(kind, limits, at: now) }
    guard spent[index] < Int32(clamping: limits[kind].burst / 2) else { return false }
    spent[index] += 1
    return true
  }

  func hasTokens(_ kind: Flood, _ limits: FloodLimits) -> Bool {
    spent[Int(kind.rawValue)] <= Int64(limits[kind].burst)
  }

  private mutating func refill(_ kind: Flood, _ limits: FloodLimits, at now: Instant) {
    let limit = limits[kind]
    let index = Int(kind.rawValue)
    let milliseconds = UInt32(truncatingIfNeeded: now.nanoseconds / 1_000_000)
    let elapsed = Int64(milliseconds &- refilled[index])
    let tokens = elapsed * Int64(limit.perSecond) / 1000
    if tokens > 0 {
      spent[index] = Int32(max(0, Int64(spent[index]) - tokens))
      refilled[index] = milliseconds
    }
  }

  /// Normal traffic earns `count` tokens for this kind.
  mutating func earn(_ kind: Flood, _ count: Int32) {
    let index = Int(kind.rawValue)
    spent[index] = max(spent[index] - count, -Self.earnedMax)
  }
}
