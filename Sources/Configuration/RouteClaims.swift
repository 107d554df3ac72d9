// Which route takes the requests of a listener, a host and a path: the first one that names all
// three. It finds routes that no request reaches, with one look for each host and listener.

/// What the routes so far take.
struct RouteClaims {
  private struct Place: Hashable {
    let listener: String?
    let host: Configuration.HostPattern?
    let path: Substring
    let isExact: Bool
  }

  /// The places of all routes together, one for each host on each listener. It bounds what the
  /// tables take in memory, and what a check of them takes in time.
  static let placeMax = 1_000_000

  private var owners: [Place: Int] = [:]

  /// Takes what `route` matches, and returns the earlier routes that had taken all of it; none
  /// while something is left for this one.
  mutating func add(_ route: Configuration.Route, at index: Int) -> [Int] {
    var earlier: Set<Int> = []
    var isReached = false
    let path = route.pathKey
    for listener in route.listeners.isEmpty ? [nil] : route.listeners.map(Optional.some) {
      for host in route.hosts.isEmpty ? [nil] : route.hosts.map(Optional.some) {
        let place = Place(
          listener: listener, host: host, path: path, isExact: route.match == .exact)
        if let owner = owners[place] {
          // A host that stands twice in one list.
          if owner != index { earlier.insert(owner) }
        } else {
          owners[place] = index
          isReached = true
        }
      }
    }
    return isReached ? [] : earlier.sorted()
  }

  /// How many places the routes have in the tables of all listeners.
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
