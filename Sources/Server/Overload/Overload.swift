// What is done as memory or connections run short, so that what is under way can be finished.
//
// Pure: shares of what there may be come in, a stage goes out. A stage is left only when the share
// has fallen well below where it began, so that it doesn't come and go with every request. Many
// connections alone never shed requests: whoever holds connections would keep others from being
// served, and the limit on connections bounds them anyway.

/// How far the process has got, each stage with what the ones before it do.
enum OverloadStage: Int, Comparable, CaseIterable, Sendable {
  case normal
  /// Client connections end with their next answer, and idle ones soon.
  case endingConnections
  /// New requests get 503. Exchanges in progress go on.
  case sheddingRequests

  static func < (left: OverloadStage, right: OverloadStage) -> Bool {
    left.rawValue < right.rawValue
  }

  /// For the log.
  var name: StaticString {
    switch self {
    case .normal: "normal"
    case .endingConnections: "ending-connections"
    case .sheddingRequests: "shedding-requests"
    }
  }
}

struct Overload {
  private(set) var stage = OverloadStage.normal

  /// In percent of what there may be: from where on a stage holds, and below which it is left.
  private static let connectionsEnd = (from: 85, until: 75)
  private static let requestsShed = (from: 95, until: 90)

  /// Takes the shares in use, in percent, and returns whether the stage has changed.
  mutating func update(memory: Int, connections: Int) -> Bool {
    let before = stage
    if holds(.sheddingRequests, Self.requestsShed, memory) {
      stage = .sheddingRequests
    } else if holds(.endingConnections, Self.connectionsEnd, max(memory, connections)) {
      stage = .endingConnections
    } else {
      stage = .normal
    }
    return stage != before
  }

  private func holds(
    _ candidate: OverloadStage, _ share: (from: Int, until: Int), _ percent: Int
  ) -> Bool {
    percent >= (stage >= candidate ? share.until : share.from)
  }
}
