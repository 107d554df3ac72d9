// What a peer can send at little cost to itself and much to us (RFC 9113 10.5), how often it may,
// and how often it did.
//
// Each kind has a bucket of tokens of its own, which refills with time; kinds that are a part of
// honest traffic also earn tokens by it. An empty bucket ends the connection, by the kind's own
// name. The counts say what came in all, for metrics.

import Primitives

/// A kind of event that is harmless alone.
public enum Flood: UInt8, Sendable, CaseIterable {
  /// RST_STREAM before the answer was complete: rapid reset, CVE-2023-44487.
  case reset
  /// A stream that we had to reset by the peer's fault: MadeYouReset, CVE-2025-8671.
  case causedReset
  /// A stream beyond SETTINGS_MAX_CONCURRENT_STREAMS, whether or not that was acknowledged.
  case refusal
  /// SETTINGS: CVE-2019-9515.
  case settings
  /// PING: CVE-2019-9512. Traffic earns them, since gRPC measures paths so.
  case ping
  /// PRIORITY and PRIORITY_UPDATE: CVE-2019-9513. Streams earn them.
  case priority
  /// DATA that carries nothing and ends nothing: CVE-2019-9518.
  case emptyData
  /// WINDOW_UPDATE. DATA that we send earns them.
  case windowUpdate
  /// Frames of types that we don't know.
  case unknownFrame
  /// Frames on streams that are closed: those that crossed our RST_STREAM, and what comes after.
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

/// So many at once, and so many more in each second.
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
  // As many as a client may have on its way before it reads our SETTINGS; nginx allows 128.
  public var refusal = FloodLimit(burst: 100, perSecond: 10)
  public var settings = FloodLimit(burst: 32, perSecond: 1)
  public var ping = FloodLimit(burst: 100, perSecond: 10)
  // Envoy allows 100 and 100 more for each stream.
  public var priority = FloodLimit(burst: 100, perSecond: 10)
  public var emptyData = FloodLimit(burst: 100, perSecond: 10)
  public var windowUpdate = FloodLimit(burst: 200, perSecond: 10)
  public var unknownFrame = FloodLimit(burst: 100, perSecond: 10)
  // What may be on its way when we reset a stream: its window in full frames, many times over.
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

/// How often each kind came on one connection.
public struct FloodCounts: Sendable {
  private var values = InlineArray<10, UInt32>(repeating: 0)

  public subscript(kind: Flood) -> UInt32 { values[Int(kind.rawValue)] }

  mutating func add(_ kind: Flood) { values[Int(kind.rawValue)] &+= 1 }
}

/// The buckets of one connection.
struct FloodGuard {
  private(set) var counts = FloodCounts()
  /// What was taken and has not been refilled. Negative where traffic has earned more.
  private var spent = InlineArray<10, Int32>(repeating: 0)
  /// When each bucket was last refilled, in milliseconds.
  private var refilled = InlineArray<10, UInt32>(repeating: 0)

  /// The most that can be earned beyond the burst.
  private static let earnedMax: Int32 = 10_000

  /// Counts one, and throws when that was one too many.
  mutating func take(
    _ kind: Flood, _ limits: FloodLimits, at now: Instant
  ) throws(HTTP2Error) {
    counts.add(kind)
    let limit = limits[kind]
    let index = Int(kind.rawValue)
    if spent[index] < .max { spent[index] += 1 }
    if spent[index] <= 0 { return }
    let milliseconds = UInt32(truncatingIfNeeded: now.nanoseconds / 1_000_000)
    let elapsed = Int64(milliseconds &- refilled[index])
    let tokens = elapsed * Int64(limit.perSecond) / 1000
    if tokens > 0 {
      spent[index] = Int32(max(0, Int64(spent[index]) - tokens))
      refilled[index] = milliseconds
    }
    if spent[index] > Int64(limit.burst) { throw kind.error }
  }

  /// Honest traffic pays for `count` of a kind.
  mutating func earn(_ kind: Flood, _ count: Int32) {
    let index = Int(kind.rawValue)
    spent[index] = max(spent[index] - count, -Self.earnedMax)
  }
}
