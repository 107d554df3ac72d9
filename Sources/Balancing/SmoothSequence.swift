// Smooth weighted round robin, computed once for a whole period, so that a pick is one atomic
// increment and one load.
//
// The algorithm is nginx's: at each step every candidate's balance grows by its weight, and the one
// with the highest balance is picked (the first of equals) and pays the sum of all weights. Weights
// 5, 1, 1 give a a b a c a a. After `sum` steps all balances are zero again, so the sequence
// repeats, and every window of `sum` picks contains each candidate exactly as often as its weight,
// wherever the window starts.
//
// After t steps and p picks a candidate's balance is weight * t - sum * p. So candidates of equal
// weight take turns in order, and each step has to compare only one candidate per weight: the cost
// is (sum) x (number of different weights) instead of (sum) x (number of candidates).

/// A candidate for a sequence: a member's index and its weight.
struct Candidate: Equatable, Sendable {
  // Small, because sequences are long.
  private let shortIndex: UInt32
  private let shortWeight: UInt32

  init(index: Int, weight: Int) {
    shortIndex = UInt32(index)
    shortWeight = UInt32(weight)
  }

  var index: Int { Int(shortIndex) }
  var weight: Int { Int(shortWeight) }
}

/// Computes one period of a smooth weighted round robin.
enum SmoothSequence {
  /// The longest period, 512 KiB. If the weights add up to more after division by their common
  /// divisor, they are scaled down and rounded, but never to zero. A member's share is then wrong
  /// by about 1 / 65,536 of the pool's exchanges.
  static let countMax = 65_536

  static func period(of candidates: [Candidate]) -> [Candidate] {
    let weights = reduced(candidates.map(\.weight))
    let sum = weights.reduce(0, +)
    if sum == candidates.count { return candidates }

    var lanes = lanes(candidates, weights)
    var sequence: [Candidate] = []
    sequence.reserveCapacity(sum)
    for step in 1...sum {
      var best = 0
      var bestWealth = lanes[0].wealth(at: step, sum)
      for lane in 1..<max(lanes.count, 1) {
        let wealth = lanes[lane].wealth(at: step, sum)
        if wealth > bestWealth
          || wealth == bestWealth && lanes[lane].position < lanes[best].position
        {
          best = lane
          bestWealth = wealth
        }
      }
      sequence.append(candidates[lanes[best].take()])
    }
    return sequence
  }

  /// The candidates of one weight, which take turns.
  private struct Lane {
    let weight: Int
    /// Their positions among the candidates, ascending.
    var positions: [Int] = []
    var turn = 0
    /// How often each candidate that is still to come in this round was picked.
    var rounds = 0

    var position: Int { positions[turn] }

    func wealth(at step: Int, _ sum: Int) -> Int { weight * step - sum * rounds }

    mutating func take() -> Int {
      let position = position
      turn += 1
      if turn == positions.count {
        turn = 0
        rounds += 1
      }
      return position
    }
  }

  private static func lanes(_ candidates: [Candidate], _ weights: [Int]) -> [Lane] {
    var lanes: [Lane] = []
    var laneOfWeight = [Int?](repeating: nil, count: (weights.max() ?? 0) + 1)
    for (position, weight) in weights.enumerated() {
      let lane = laneOfWeight[weight] ?? lanes.count
      if lane == lanes.count {
        lanes.append(Lane(weight: weight))
        laneOfWeight[weight] = lane
      }
      lanes[lane].positions.append(position)
    }
    return lanes
  }

  /// The weights divided by their common divisor, and scaled down when their sum is too large.
  private static func reduced(_ weights: [Int]) -> [Int] {
    let divided = dividedByCommon(weights)
    let sum = divided.reduce(0, +)
    if sum <= countMax { return divided }
    return dividedByCommon(divided.map { max(1, $0 * countMax / sum) })
  }

  private static func dividedByCommon(_ weights: [Int]) -> [Int] {
    let common = weights.reduce(0, greatestCommonDivisor)
    return common <= 1 ? weights : weights.map { $0 / common }
  }

  private static func greatestCommonDivisor(_ left: Int, _ right: Int) -> Int {
    var (left, right) = (left, right)
    while right != 0 { (left, right) = (right, left % right) }
    return left
  }
}
