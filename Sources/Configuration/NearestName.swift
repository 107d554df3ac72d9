// Finds the known name that a mistyped name probably means: the one with the smallest edit
// distance, or the only one that begins with it, exactly or with one typing error.

/// How many names are compared: the first ones.
private let candidateMax = 1000

/// The name among `known` that is closest to `name`, or nil when none is close.
public func nearestName(to name: String, among all: [String]) -> String? {
  // A longer name is not a typing error of a known name, and the cost grows with the square of it.
  guard name.utf8.count <= 256 else { return nil }
  let wanted = comparable(name)
  guard wanted.count <= 64 else { return nil }
  let tolerance = wanted.count <= 3 ? 1 : wanted.count <= 8 ? 2 : 3
  var best: (name: String, distance: Int)?
  let known = all.prefix(candidateMax)
  for candidate in known {
    let other = comparable(candidate)
    // At least as many insertions are needed.
    if abs(other.count - wanted.count) > tolerance { continue }
    let distance = editDistance(wanted, other)
    if distance <= tolerance && distance < (best?.distance ?? .max) { best = (candidate, distance) }
  }
  if let best { return best.name }
  // `warn` for `warning`: an abbreviation that fits only one name.
  let completed = known.filter { comparable($0).starts(with: wanted) }
  if wanted.count >= 3 && completed.count == 1 { return completed.first }
  // `lest-conn` for `least-connections`: an abbreviation with one typing error.
  if wanted.count < 5 { return nil }
  let similar = known.filter { candidate in
    editDistances(wanted, comparable(candidate)).contains { $0 <= 1 }
  }
  return similar.count == 1 ? similar.first : nil
}

extension [Configuration.Pool] {
  /// The error for a name that no pool has, with the nearest name and the existing ones.
  public func missing(_ name: String) -> String {
    let names = map(\.name)
    let nearest = nearestName(to: name, among: names).map { " (did you mean \($0)?)" } ?? ""
    let known = names.prefix(10).joined(separator: ", ")
    return "no pool \(name)\(nearest); there are \(known)\(count > 10 ? ", ..." : "")"
  }
}

/// Lower case and without separators, because `maxAttempts` and `max_attempts` mean `max-attempts`.
private func comparable(_ name: String) -> [UInt8] {
  name.lowercased().utf8.filter { $0 != UInt8(ascii: "-") && $0 != UInt8(ascii: "_") }
}

/// The number of insertions, deletions, replacements and swaps of neighbours that turn one into the
/// other (the restricted Damerau-Levenshtein distance).
func editDistance(_ left: [UInt8], _ right: [UInt8]) -> Int {
  editDistances(left, right)[right.count]
}

/// The distances of `left` from each prefix of `right`, the empty one first.
private func editDistances(_ left: [UInt8], _ right: [UInt8]) -> [Int] {
  var beforePrevious: [Int] = []
  var previous = Array(0...right.count)
  for row in left.indices {
    var current = [row + 1]
    for column in right.indices {
      let replaced = previous[column] + (left[row] == right[column] ? 0 : 1)
      var least = min(replaced, previous[column + 1] + 1, current[column] + 1)
      if row > 0 && column > 0 && left[row] == right[column - 1] && left[row - 1] == right[column] {
        least = min(least, beforePrevious[column - 1] + 1)
      }
      current.append(least)
    }
    beforePrevious = previous
    previous = current
  }
  return previous
}
