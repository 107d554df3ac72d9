// Which route gets the requests of a listener, a host and a path: the first one that matches all
// three. It finds unreachable routes, with one lookup per host and listener.

/// The matches of the routes so far.
struct RouteClaims {
  private struct Place: Hashable {
    let listener: String?
    let host: Configuration.HostPattern?
    let path: Substring
    let isExact: Bool
  }

  /// The total number of entries: one per route, host and listener. It limits the memory of the
  /// tables, and the time of a check.
  static let placeMax = 1_000_000

  private var owners: [Place: Int] = [:]

  /// Adds the matches of `route`. If earlier routes match all of them, returns these routes;
  /// otherwise returns none.
  mutating func add(_ route: Configuration.Route, at index: Int) -> [Int] {
    var earlier: Set<Int> = []
    var isReached = false
    let path = route.pathKey
    for listener in route.listeners.isEmpty ? [nil] : route.listeners.map(Optional.some) {
      for host in route.hosts.isEmpty ? [nil] : route.hosts.map(Optional.some) {
        let place = Place(
          listener: listener, host: host, path: path, isExact: route.match == .exact)
        if let owner = owners[place] {
          // A host that is twice in one list.
          if owner != index { earlier.insert(owner) }
        } else {
          owners[place] = index
          isReached = true
        }
      }
    }
    return isReached ? [] : earlier.sorted()
  }

  /// How many entries the routes have in the tables of all listeners.
  static func placeCount(of configuration: Configuration) -> Int {
    configuration.routes.reduce(0) { sum, route in
      let listeners =
        route.listeners.isEmpty ? configuration.listeners.count : route.listeners.count
      let (count, overflow) = max(1, listeners).multipliedReportingOverflow(
        by: max(1, route.hosts.count))
      return overflow ? .max : sum.addingReportingOverflow(count).overflow ? .max : sum + count
    }
  }
}
