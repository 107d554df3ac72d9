// Shared by all fuzz targets: reading the input, splitting it, and failing on a broken property.

public import Primitives

/// Ends the process when a property doesn't hold, which libFuzzer detects.
public func require(_ holds: Bool, _ message: @autoclosure () -> String) {
  if !holds { fatalError("property broken: \(message())") }
}

/// One input: the first byte selects a variant of the target, the rest is the data.
public struct FuzzInput {
  public let control: UInt8
  public let bytes: [UInt8]

  /// Nil when there is no first byte.
  public init?(_ start: UnsafePointer<UInt8>?, _ count: Int) {
    guard let start, count > 0 else { return nil }
    control = start[0]
    bytes = Array(UnsafeBufferPointer(start: start + 1, count: count - 1))
  }

  /// The ways in which the bytes arrive, as the available count at each step: whole, in two parts,
  /// and byte by byte if that isn't too slow.
  public var arrivals: [[Int]] {
    var cut = RandomGenerator(seed: UInt64(control) << 32 | UInt64(bytes.count))
    var ways = [[bytes.count], [cut.next(below: bytes.count + 1), bytes.count]]
    if bytes.count <= 256 { ways.append(Array(0...bytes.count)) }
    return ways
  }

  /// Runs `body` for each way of arrival, and returns the outcome, which must be the same for all.
  public func everyWay<Outcome: Equatable>(_ body: ([Int]) -> Outcome) -> Outcome {
    let outcomes = arrivals.map(body)
    for outcome in outcomes {
      require(outcome == outcomes[0], "a cut changes \(outcomes[0]) into \(outcome)")
    }
    return outcomes[0]
  }
}

/// The bytes as text, for messages.
public func quoted(_ bytes: [UInt8]) -> String {
  String(decoding: bytes, as: UTF8.self).debugDescription
}
