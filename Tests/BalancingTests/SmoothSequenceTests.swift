// SmoothSequence: the textbook order, equal to the step-by-step algorithm, and bounded.

import Primitives
import Testing

@testable import Balancing

@Suite struct SmoothSequenceTests {
  private func sequence(_ weights: [Int]) -> [Int] {
    SmoothSequence.period(
      of: weights.enumerated().map { Candidate(index: $0.offset, weight: $0.element) }
    ).map(\.index)
  }

  /// Every candidate gains its weight; the first with the highest balance pays the sum.
  private func stepByStep(_ weights: [Int]) -> [Int] {
    let sum = weights.reduce(0, +)
    var wealth = [Int](repeating: 0, count: weights.count)
    return (0..<sum).map { _ in
      for index in weights.indices { wealth[index] += weights[index] }
      var best = 0
      for index in weights.indices where wealth[index] > wealth[best] { best = index }
      wealth[best] -= sum
      return best
    }
  }

  @Test func fiveOneOneGivesAABACAA() {
    #expect(sequence([5, 1, 1]) == [0, 0, 1, 0, 2, 0, 0])
  }

  @Test func equalWeightsGiveThePlainOrder() {
    #expect(sequence([1, 1, 1]) == [0, 1, 2])
    #expect(sequence([256, 256]) == [0, 1])
  }

  @Test func whatIsCommonToAllWeightsIsDividedAway() {
    #expect(sequence([100, 20, 20]) == sequence([5, 1, 1]))
  }

  @Test func fewAndNoCandidatesAreFine() {
    #expect(sequence([]) == [])
    #expect(sequence([7]) == [0])
  }

  @Test func itIsTheAlgorithmDoneStepByStep() {
    var generator = RandomGenerator(seed: 11)
    for _ in 0..<300 {
      let weights = (0...generator.next(below: 12)).map { _ in generator.next(below: 9) + 1 }
      // A weight of 1 more keeps the common divisor at 1.
      #expect(sequence(weights + [1]) == stepByStep(weights + [1]))
    }
  }

  @Test func aHugeSumIsRoundedToTheLimitAndKeepsEveryMember() {
    let weights = (0..<1_000).map { $0 % 256 + 1 }
    let sum = weights.reduce(0, +)
    let period = sequence(weights)
    #expect(period.count <= SmoothSequence.countMax && period.count > SmoothSequence.countMax / 2)
    var counts = [Int](repeating: 0, count: weights.count)
    for index in period { counts[index] += 1 }
    for (weight, count) in zip(weights, counts) {
      #expect(count >= 1)
      let ideal = Double(weight * period.count) / Double(sum)
      #expect(abs(Double(count) - ideal) <= 1.1)
    }
  }
}
