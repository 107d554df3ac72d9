// docs/TROUBLESHOOTING.md describes every name of a failure in the logs and in the count of failed
// handshakes, and no other.

import Foundation
import Testing

@Suite struct TroubleshootingTests {
  private static let page = SourceTree.file("docs/TROUBLESHOOTING.md")?.text ?? ""

  /// The names in a table of `case .one: "its-name"` in these files.
  private static func names(in paths: [String]) throws -> Set<String> {
    var names: Set<String> = []
    for path in paths {
      let file = try #require(SourceTree.file(path), "\(path)")
      let found = file.text.matches(of: /case \.[A-Za-z0-9]+(?:\([^)]*\))?: "([a-z0-9-]+)"/)
      #expect(!found.isEmpty, "\(path)")
      names.formUnion(found.map { String($0.1) })
    }
    return names
  }

  @Test func everyFailureAndEveryResultHasItsSection() throws {
    let names = try Self.names(in: [
      "Sources/Balancing/FailureWord.swift", "Sources/Proxy/AttemptList.swift",
      "Sources/TLS/TLSFailure.swift", "Sources/Balancing/HealthState.swift",
      "Sources/Server/Overload/Overload.swift",
    ])
    #expect(names.isSuperset(of: ["connect-refused", "queue-full", "no-route", "ok", "pending"]))
    #expect(names.isSuperset(of: ["peer-alert", "ejected", "shedding-requests"]))
    let sections = Self.page.matches(of: /\n### `([a-z0-9-]+)`\n/).map { String($0.1) }
    #expect(sections.count == Set(sections).count)
    #expect(Set(sections) == names)
  }

  @Test func everyReasonHasItsLine() throws {
    var names = try Self.names(in: [
      "Sources/HTTP1/HTTP1Error.swift", "Sources/ProxyProtocol/ProxyProtocolError.swift",
      "Sources/Server/Connections/ProxyRefusal.swift",
    ])
    for file in SourceTree.sources where file.path.hasPrefix("Sources/Server/") {
      names.formUnion(file.text.matches(of: /reason: "([a-z0-9-]+)"/).map { String($0.1) })
    }
    #expect(names.isSuperset(of: ["bare-line-feed", "bad-path"]))
    let lines = Self.page.matches(of: /\n\| `([a-z0-9-]+)`/).map { String($0.1) }
    #expect(lines.count == Set(lines).count)
    #expect(Set(lines.filter { $0 != "reason" }) == names)
  }
}
