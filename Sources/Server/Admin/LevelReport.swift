// The levels of a pool for operators: its tiers, or the zones of a tier, with how many of their
// backends are healthy, and which share of the requests begins there.

import Balancing
import Primitives

extension Pool {
  func writeLevels(at now: Instant, to json: inout JSONWriter) {
    let (states, isPanicking) = levels(at: now)
    json.member("panicking", isPanicking)
    json.array("levels") { json in
      for state in states {
        json.object { json in
          json.member("tier", state.tier)
          json.member("zone", state.isNear.map { $0 ? "own" : "other" })
          json.member("healthy", state.healthyCount)
          json.member("backends", state.count)
          json.member("share", state.share)
        }
      }
    }
  }

  /// One line; nil if there is one level, and its health counts.
  func levelText(at now: Instant) -> String? {
    let (states, isPanicking) = levels(at: now)
    var parts: [String] = []
    if states.count > 1 {
      parts = states.map { state in
        let zone = state.isNear.map { $0 ? ", own zone" : ", other zones" } ?? ""
        let percent = Int((state.share * 100).rounded())
        return "tier \(state.tier)\(zone): \(percent) %, \(state.healthyCount) of \(state.count) up"
      }
    }
    if isPanicking { parts.append("too few are up: health is ignored") }
    return parts.isEmpty ? nil : "  " + parts.joined(separator: "; ")
  }
}

extension Member {
  /// Beside the condition; empty for an ordinary one.
  var placeText: String {
    var parts: [String] = []
    if tier > 0 { parts.append("tier \(tier)") }
    if !zone.isEmpty { parts.append("zone \(zone)") }
    return parts.isEmpty ? "" : " (" + parts.joined(separator: ", ") + ")"
  }
}
