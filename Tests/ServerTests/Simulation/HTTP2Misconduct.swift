// How a simulated backend fails in HTTP/2, and which part of the truth the model needs for that.

import Primitives

@testable import HTTP2

/// Instead of an answer, or in its middle.
enum HTTP2Misconduct {
  /// REFUSED_STREAM: the request was not processed (RFC 9113 8.7).
  case refuses
  /// RST_STREAM before the answer.
  case resets(ErrorCode)
  /// RST_STREAM after the head and this number of bytes.
  case resetsInBody(Int, ErrorCode)
  /// GOAWAY that excludes the request.
  case excludes
  /// GOAWAY that includes the request, and the end of the connection without an answer.
  case leaves(ErrorCode)
  /// Frames that end the connection.
  case violates(ProtocolViolation)
  case malformedHead(HeadFault)
  /// The body is longer or shorter than Content-Length.
  case wrongLength(Int)

  init(drawnFrom random: inout RandomGenerator, size: Int, isBodiless: Bool) {
    let codes: [ErrorCode] = [.cancel, .internalError, .noError, .enhanceYourCalm, .protocolError]
    switch random.next(below: 12) {
    case 0, 1, 2: self = .refuses
    case 3: self = .resets(random.pick(codes))
    case 4...5 where size > 0 && !isBodiless:
      self = .resetsInBody(random.next(below: size), random.pick(codes))
    case 6, 7: self = .excludes
    case 8: self = .leaves(random.pick([.noError, .enhanceYourCalm, .protocolError]))
    case 9: self = .violates(random.pick(ProtocolViolation.allCases))
    case 10: self = .malformedHead(random.pick(HeadFault.ofResponses))
    case 11 where size > 1 && !isBodiless: self = .wrongLength(random.pick([-1, 1, 100]))
    default: self = .resets(.cancel)
    }
  }
}

extension HeadFault {
  /// Those that a response can have.
  static let ofResponses: [HeadFault] = [
    .upperCase, .connection, .transferEncoding, .unknownPseudo, .controlInValue, .blankInName,
    .emptyName, .manyFields,
  ]
}

/// What only a stream has. Positions are those in the stream of bytes to the worker.
final class HTTP2Delivery {
  let stream: UInt32
  /// The attempt did not begin before.
  let since: Instant
  /// From here on, the worker knows that the request was not processed.
  var declinedAt: Int?
  /// RST_STREAM, or frames that end the connection.
  var resetAt: Int?
  /// The end of a malformed head.
  var malformedAt: Int?
  /// When the worker reset the stream.
  var givenUpAt = Instant.never

  init(stream: UInt32, since: Instant) {
    self.stream = stream
    self.since = since
  }
}

/// How a backend uses HTTP/2 on one connection, besides its answers: legal, but inconvenient.
struct HTTP2BackendConduct {
  var limits = HTTP2Limits()
  var streamCount = 100
  var disturbances: ArraySlice<Disturbance> = []
  var creditDelay = TimeSpan.zero

  init(
    drawnFrom random: inout RandomGenerator, level: SimulationLevel, at now: Instant,
    requestMax: Int, trip: Int
  ) {
    streamCount = random.pick([100, 100, 100, 10, 3, 2, 1])
    limits.streamCount = 100
    // A request should arrive within two seconds, as far as it depends on the window.
    let windows = [65_535, 65_535, 262_144, 16_000, 1_000, 100, 17, 1].filter {
      $0 >= 65_535 || requestMax / $0 * trip < 2_000_000
    }
    limits.streamWindow = random.pick(windows)
    if limits.streamWindow < 65_535 { limits.streamWindowMax = limits.streamWindow }
    limits.connectionWindow = random.pick([65_535, 1 << 20])
    limits.encoderTableByteCount = random.pick([4096, 4096, 200, 0])
    limits.decoderTableByteCount = random.pick([4096, 4096, 128, 0])
    limits.controlBacklogCount = 1_000_000
    limits.floods = .none
    if random.chance(1, in: 3) { creditDelay = .microseconds(Int64(random.skewed(upTo: 5_000))) }
    if limits.streamWindow < 65_535 { creditDelay = .zero }
    if random.chance(1, in: 2) {
      disturbances = Disturbance.drawOfBackend(&random, level: level, at: now)[...]
    }
  }
}

extension FloodLimits {
  /// No limits: a backend endures what its peer sends.
  fileprivate static let none: FloodLimits = {
    let none = FloodLimit(burst: 1_000_000, perSecond: 1_000_000)
    var limits = FloodLimits()
    limits.reset = none
    limits.causedReset = none
    limits.refusal = none
    limits.settings = none
    limits.ping = none
    limits.priority = none
    limits.emptyData = none
    limits.windowUpdate = none
    limits.unknownFrame = none
    limits.closedStreamFrame = none
    return limits
  }()
}

extension Disturbance {
  static func drawOfBackend(
    _ random: inout RandomGenerator, level: SimulationLevel, at now: Instant
  ) -> [Disturbance] {
    var list: [Disturbance] = []
    for _ in 0..<random.next(below: 5) {
      let time = now + .microseconds(Int64(random.skewed(upTo: 2_000_000)))
      let isLong = level == .storm && random.chance(1, in: 8)
      let pause = TimeSpan.microseconds(
        Int64(random.skewed(upTo: isLong ? 90_000_000 : 500_000)))
      let kind: Kind
      switch random.next(below: 10) {
      case 0, 1: kind = .window(random.pick([0, 0, 1, 100, 10_000]), pause)
      case 2: kind = .tableSize(UInt32(random.pick([0, 64, 4096])))
      case 3: kind = .frameSize(UInt32(random.pick([16_384, 65_536, 0xFF_FFFF])))
      case 4: kind = random.chance(1, in: 2) ? .emptySettings : .unknownFrame
      case 5: kind = .deafness(pause)
      case 6, 7: kind = .streamCount(random.pick([1, 1, 2, 100]))
      case 8: kind = .goAway
      default: kind = .ping
      }
      list.append(Disturbance(time: time, kind: kind))
    }
    return list.sorted { $0.time < $1.time }
  }
}
