// Selects the certificates for a server name (SNI, RFC 6066 3).
//
// An exact name takes precedence over a wildcard. A wildcard matches exactly one label at the left
// (RFC 6125 6.4.3). Certificates that share a name but have keys of different algorithms form a
// group, from which OpenSSL picks one that the client can verify. Among equals, the first one wins.

/// A map from server names to groups of certificates.
struct ServerNameTable: Sendable {
  /// Indices of certificates, one per key algorithm; group 0 is the default.
  private(set) var groups: [[Int]] = []
  private var exact: [String: Int] = [:]
  /// By the text after the asterisk, including the dot.
  private var wildcards: [String: Int] = [:]

  /// `certificates` in order of precedence, at least one; names in lower case.
  init(_ certificates: [(names: [String], algorithm: Int)]) {
    var members: [String: [Int]] = [:]
    for (index, certificate) in certificates.enumerated() {
      for name in certificate.names {
        let taken = members[name, default: []].map { certificates[$0].algorithm }
        if !taken.contains(certificate.algorithm) { members[name, default: []].append(index) }
      }
    }
    // A client with no or an unknown server name gets the group of the first certificate.
    let defaultGroup = certificates.first?.names.first.flatMap { members[$0] } ?? [0]
    groups = [defaultGroup]
    for (name, group) in members {
      let index = groups.firstIndex(of: group) ?? groups.count
      if index == groups.count { groups.append(group) }
      if name.hasPrefix("*.") {
        wildcards[String(name.dropFirst())] = index
      } else {
        exact[name] = index
      }
    }
  }

  /// The group for `name`, in lower case.
  func group(for name: String) -> Int {
    if let index = exact[name] { return index }
    if wildcards.isEmpty { return 0 }
    guard let dot = name.firstIndex(of: "."), dot != name.startIndex else { return 0 }
    return wildcards[String(name[dot...])] ?? 0
  }
}
