// How a simulated client uses HTTP/2, and what it does that is legal but inconvenient.
//
// The conduct of a client is a part of the plan. The disturbances of each connection are drawn when
// it begins.

import Primitives

@testable import HTTP2

struct HTTP2Conduct {
  /// SETTINGS_INITIAL_WINDOW_SIZE.
  var streamWindow = 65_535
  /// Requests at once.
  var depth = 4
  /// How long bytes of a response wait until they are credited.
  var creditDelay = TimeSpan.zero
  /// Whether connections have disturbances.
  var disturbs = true

  init() {}

  init(drawnFrom random: inout RandomGenerator) {
    streamWindow = random.pick([65_535, 65_535, 65_535, 262_144, 5_000, 1_000, 17, 1])
    depth = 1 + random.next(below: 8)
    if random.chance(1, in: 3) {
      creditDelay = .microseconds(Int64(random.skewed(upTo: 50_000)))
    }
    disturbs = random.chance(2, in: 3)
  }

  /// The largest body that such a window transfers in acceptable time; nil for no limit.
  var answerSizeMax: Int? { streamWindow < 5_000 ? streamWindow * 64 : nil }

  /// Whether such a window makes the client so slow that a server may give up on it.
  func isSlow(_ conditions: NetworkConditions, _ pace: ActorPace) -> Bool {
    let pauseMax = pace.pauseMax.nanoseconds / 1_000 * (pace.pauses > 0 ? 1 : 0)
    let trip =
      2 * conditions.latency.upperBound + 2 * conditions.turnCost + Int(pauseMax) + 500
      + Int(creditDelay.nanoseconds / 1_000)
    return streamWindow * 1_000_000 / trip < 2_000
  }

  func limits(_ random: inout RandomGenerator) -> HTTP2Limits {
    var limits = HTTP2Limits()
    limits.streamWindow = streamWindow
    if streamWindow < 65_535 || random.chance(1, in: 2) { limits.streamWindowMax = streamWindow }
    limits.connectionWindow = random.pick([65_535, 1 << 20])
    limits.encoderTableByteCount = random.pick([4096, 4096, 200, 0])
    limits.decoderTableByteCount = random.pick([4096, 4096, 128, 0])
    // Many small frames may be on their way on a stream that the client resets.
    limits.floods.closedStreamFrame.burst = 1_000_000
    return limits
  }
}

/// What a client does in the middle of a connection.
struct Disturbance {
  enum Kind {
    /// Another initial window, and back to the old one after a while.
    case window(UInt32, TimeSpan)
    /// The old window again.
    case windowRestored
    case tableSize(UInt32)
    case frameSize(UInt32)
    case emptySettings
    case ping
    case unknownFrame
    case priority
    case priorityUpdate
    /// It reads nothing for a while.
    case deafness(TimeSpan)
    /// It asks for no more responses.
    case goAway
    /// Another SETTINGS_MAX_CONCURRENT_STREAMS, of a backend.
    case streamCount(Int)
    case violation(ProtocolViolation)

    /// It ends what an earlier one began.
    var isRestoration: Bool {
      if case .windowRestored = self { true } else { false }
    }
  }

  let time: Instant
  let kind: Kind

  /// Longer than the time that a server gives a client which doesn't make progress.
  static let longPause = TimeSpan.seconds(3)

  /// In order of time.
  static func draw(
    _ random: inout RandomGenerator, level: SimulationLevel, at now: Instant
  ) -> [Disturbance] {
    var list: [Disturbance] = []
    for _ in 0..<random.next(below: 5) {
      let time = now + .microseconds(Int64(random.skewed(upTo: 2_000_000)))
      list.append(Disturbance(time: time, kind: kind(&random, level)))
    }
    return list.sorted { $0.time < $1.time }
  }

  private static func kind(_ random: inout RandomGenerator, _ level: SimulationLevel) -> Kind {
    let isLong = level == .storm && random.chance(1, in: 8)
    let pause = TimeSpan.microseconds(Int64(random.skewed(upTo: isLong ? 90_000_000 : 2_000_000)))
    switch random.next(below: 12) {
    case 0, 1, 2: return .window(random.pick([0, 0, 0, 1, 100, 10_000]), pause)
    case 3: return .tableSize(UInt32(random.pick([0, 64, 4096])))
    case 4: return .frameSize(UInt32(random.pick([16_384, 65_536, 0xFF_FFFF])))
    case 5: return random.chance(1, in: 2) ? .emptySettings : .unknownFrame
    case 6: return .ping
    case 7: return random.chance(1, in: 2) ? .priority : .priorityUpdate
    case 8, 9: return .deafness(pause)
    case 10 where random.chance(1, in: 2): return .goAway
    case 11 where level == .storm:
      return .violation(random.pick(ProtocolViolation.allCases))
    default: return .ping
    }
  }
}

/// How a request looks in HTTP/2.
struct HTTP2Shape {
  /// CONTINUATION frames of its head, and the padding of HEADERS.
  var continuationCount = 0
  var headPadding = 0
  /// The size of a field that is large enough for several frames.
  var paddingCount = 0
  /// END_STREAM comes in a frame of its own.
  var endsSeparately = false
  /// The client never takes the body of the response.
  var isUnread = false
  var answerSizeMax: Int?
  /// It must never reach a backend.
  var fault: HeadFault?

  init(drawnFrom random: inout RandomGenerator, level: SimulationLevel) {
    if random.chance(1, in: 4) { continuationCount = random.next(below: 8) }
    if random.chance(1, in: 4) { headPadding = random.next(below: 256) }
    // With its other fields, the head fits into one frame.
    if random.chance(1, in: 16) { paddingCount = random.next(below: 20_000) * 3 / 4 }
    endsSeparately = random.chance(1, in: 3)
    isUnread = level == .storm && random.chance(1, in: 16)
  }
}

extension RequestPlan {
  var isUnread: Bool { http2?.isUnread ?? false }
  var answerSizeMax: Int? { http2?.answerSizeMax }
}
