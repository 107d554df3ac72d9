// Finds the known name that a mistyped name probably means: the one with the smallest edit
// distance, or the only one that begins with it.

/// The name among `known` that is closest to `name`, or nil when none is close.
public func nearestName(to name: String, among known: [String]) -> String? {
  let wanted = comparable(name)
  let tolerance = wanted.count <= 3 ? 1 : wanted.count <= 8 ? 2 : 3
  var best: (name: String, distance: Int)?
  // No known name is longer than this, and the cost grows with the square of the length.
  guard wanted.count <= 64 else { return nil }
  for candidate in known {
    let distance = editDistance(wanted, comparable(candidate))
    if distance <= tolerance && distance < (best?.distance ?? .max) { best = (candidate, distance) }
  }
  if let best { return best.name }
  // `warn` for `warning`: an abbreviation that fits only one name.
  let completed = known.filter { comparable($0).starts(with: wanted) }
  return wanted.count >= 3 && completed.count == 1 ? completed.first : nil
}

/// Lower case and without separators, because `maxAttempts` and `max_attempts` mean `max-attempts`.
private func comparable(_ name: String) -> [UInt8] {
  name.lowercased().utf8.filter { $0 != UInt8(ascii: "-") && $0 != UInt8(ascii: "_") }
}

/// The number of insertions, deletions, replacements and swaps of neighbours that turn one into the
/// other (the restricted Damerau-Levenshtein distance).
func editDistance(_ left: [UInt8], _ right: [UInt8]) -> Int {
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
  return previous[right.count]
}
