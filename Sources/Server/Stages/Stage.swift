// The stages: what sees a message between a client and a backend, and may change it. They are a
// closed list in one order, the same for requests and responses.
//
// Each stage declares which messages it wants to see, and a route has only the stages that it needs
// (StagePlan), so nothing runs for nothing. Worker+Stages runs them. The identity of a request
// (X-Request-ID, traces) is no stage: it is set before routing, since errors have it too.
//
// The route's edits are last in both directions, so that the operator has the last word. Framing
// fields are not edited by stages: the codec of each side owns them.

import Primitives
import Proxy

/// In the order in which they see a message.
enum Stage: UInt8, CaseIterable, Sendable {
  /// Delays a share of the requests, to test clients.
  case delay
  /// Answers a share of the requests with an error, to test clients.
  case abort
  /// Hop-by-hop fields, forwarding fields, Via.
  case forwarding
  /// The host of a request that has none.
  case host
  /// Translates calls of gRPC-Web to gRPC, and their responses back.
  case grpcWeb
  /// The Date of a response without one.
  case date
  /// Returns the X-Request-ID to the client.
  case requestID
  /// The cookie that selects a backend.
  case stickiness
  /// The key of a request that belongs to a backend by its hash.
  case affinity
  /// The fields that the route sets and removes, in each direction.
  case requestEdits
  case responseEdits

  /// The messages that it wants to see.
  var sees: Set<MessageKind> {
    switch self {
    case .delay, .abort: [.request]
    case .forwarding: [.forwarded, .final, .interim, .switching]
    case .host: [.forwarded]
    case .grpcWeb: [.forwarded, .final]
    case .date: [.final, .local]
    case .requestID: [.final, .switching, .local]
    case .stickiness: [.forwarded, .final, .switching]
    case .affinity: [.forwarded]
    case .requestEdits: [.forwarded]
    case .responseEdits: [.final, .interim, .switching, .local]
    }
  }

  /// Its word in `explain`.
  var name: String {
    switch self {
    case .delay: "delay"
    case .abort: "abort"
    case .forwarding: "forwarding"
    case .host: "host"
    case .grpcWeb: "grpc-web"
    case .date: "date"
    case .requestID: "request-id"
    case .stickiness: "stickiness"
    case .affinity: "affinity"
    case .requestEdits: "request-edits"
    case .responseEdits: "response-edits"
    }
  }
}

/// What a message is to the stages.
enum MessageKind: Sendable, CaseIterable {
  /// A request, whatever its route does.
  case request
  /// A request that is forwarded to a backend.
  case forwarded
  /// A backend's final response.
  case final
  /// A backend's response with a 1xx status, except 101.
  case interim
  /// A backend's 101.
  case switching
  /// An answer of Martlet itself.
  case local
}

/// What a stage of a request decides, if it does more than to edit the head.
enum StageVerdict {
  case next
  /// Until `Worker.stageEnded`, or at the latest until this time.
  case wait(until: Instant)
  /// The request is answered here, and this has failed; nil for an answer that is no error.
  case answer(LocalAnswer, ExchangeFailure?)
  /// From here on the body of the request is changed as well.
  case transform(BodyTransform.Codec)
}

/// Some of the stages, in order.
struct StageSet: Sendable, Equatable {
  private var bits: UInt16 = 0

  init() {}

  init(_ stages: some Sequence<Stage>) { for stage in stages { insert(stage) } }

  mutating func insert(_ stage: Stage) { bits |= 1 << UInt16(stage.rawValue) }

  func contains(_ stage: Stage) -> Bool { bits & (1 << UInt16(stage.rawValue)) != 0 }

  /// Those that come behind the stage with this raw value.
  func after(_ stage: UInt8) -> StageSet {
    var rest = self
    rest.bits &= ~0 << (UInt16(stage) + 1)
    return rest
  }

  /// Removes the first one, and returns it.
  @inline(__always)
  mutating func popFirst() -> Stage? {
    if bits == 0 { return nil }
    let stage = Stage(rawValue: UInt8(bits.trailingZeroBitCount))
    bits &= bits - 1
    return stage
  }
}

/// The stages of a route, by message.
struct StagePlan: Sendable, Equatable {
  /// Of the request, before anything is done about it.
  var request = StageSet()
  var final = StageSet()
  var interim = StageSet()
  var switching = StageSet()
  var local = StageSet()

  /// The names of all of them, in order.
  var names: [String] {
    Stage.allCases.filter { stage in
      [request, final, interim, switching, local].contains { $0.contains(stage) }
    }.map(\.name)
  }

  /// - Parameter forwards: the request goes to a backend.
  init(_ stages: [Stage], forwards: Bool) {
    request = StageSet(
      stages.filter { $0.sees.contains(.request) || forwards && $0.sees.contains(.forwarded) })
    final = StageSet(stages.filter { $0.sees.contains(.final) })
    interim = StageSet(stages.filter { $0.sees.contains(.interim) })
    switching = StageSet(stages.filter { $0.sees.contains(.switching) })
    local = StageSet(stages.filter { $0.sees.contains(.local) })
  }
}
