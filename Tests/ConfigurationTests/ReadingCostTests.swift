// The time to read a large configuration, and to compare two, is proportional to its size, whatever
// its content. The admin API does this on the thread that also reloads and drains.
//
// The limits are coarse, and for the processor time of this thread, so that a busy machine makes no
// difference: eight times the size may take three times as long as it should. Code that compares
// each item with all earlier items takes sixty-four times as long.

import Glibc
import Testing

@testable import Configuration

@Suite(.serialized) struct ReadingCostTests {
  private static let listener = #""listeners": [{ "name": "web", "listen": "127.0.0.1:0" }]"#
  private static let pool = #""pools": [{ "name": "app", "backends": ["127.0.0.1:1"] }]"#

  private static func routes(
    _ route: @escaping @Sendable (Int) -> String
  ) -> @Sendable (Int) -> String {
    { count in
      "{ \(listener), \(pool), \"routes\": [\((0..<count).map(route).joined(separator: ", "))] }"
    }
  }

  private static let documents: [(name: String, text: @Sendable (Int) -> String)] = [
    ("hosts", routes { #"{ "host": "h\#($0).example", "forward": "app" }"# }),
    ("paths", routes { #"{ "path": "/p\#($0)", "forward": "app" }"# }),
    ("the same path", routes { _ in #"{ "path": "/p", "forward": "app" }"# }),
    ("unknown pools", routes { #"{ "path": "/p\#($0)", "forward": "aqp" }"# }),
    ("unknown listeners", routes { #"{ "path": "/p\#($0)", "listeners": ["wab"] }"# }),
    (
      "pools with the same cookie",
      { count in
        let pools = (0..<count).map {
          """
          { "name": "p\($0)", "backends": ["127.0.0.1:1"], "stickiness": { "cookie": "c" } }
          """
        }
        let routes = (0..<count).map { #"{ "path": "/\#($0)", "forward": "p\#($0)" }"# }
        return """
          { \(listener), "pools": [\(pools.joined(separator: ", "))],
            "routes": [\(routes.joined(separator: ", "))] }
          """
      }
    ),
    (
      "unknown pools among many",
      { count in
        let pools = (0..<count).map { #"{ "name": "p\#($0)", "backends": ["127.0.0.1:1"] }"# }
        let routes = (0..<count).map { #"{ "path": "/\#($0)", "forward": "q\#($0)" }"# }
        return """
          { \(listener), "pools": [\(pools.joined(separator: ", "))],
            "routes": [\(routes.joined(separator: ", "))] }
          """
      }
    ),
    (
      "listeners on one port",
      { count in
        let listeners = (0..<count).map {
          #"{ "name": "l\#($0)", "listen": "127.1.\#($0 / 250).\#($0 % 250):80" }"#
        }
        return #"{ "listeners": [\#(listeners.joined(separator: ", "))], \#(pool) }"#
      }
    ),
    (
      "unknown keys",
      { count in
        let keys = (0..<count).map { #""lisstener\#($0)": 1"# }
        return "{ \(listener), \(pool), \(keys.joined(separator: ", ")) }"
      }
    ),
    (
      "a key again and again",
      { count in
        let keys = Array(repeating: #""via": true"#, count: count)
        return "{ \(listener), \(pool), \(keys.joined(separator: ",\n")) }"
      }
    ),
    (
      "wrong items of a list",
      { count in
        let backends = (0..<count).map { #""bad host \#($0)""# }
        return """
          { \(listener), "pools": [{ "backends": [\(backends.joined(separator: ", "))] }] }
          """
      }
    ),
    (
      "warnings",
      { count in
        let backends = (0..<count).map {
          #"{ "address": "127.1.\#($0 / 250).\#($0 % 250):9", "weight": 2 }"#
        }
        return """
          { \(listener), "pools": [{ "backends": [\(backends.joined(separator: ", "))] }] }
          """
      }
    ),
    (
      "the same text again and again",
      { count in
        let texts = Array(repeating: #""a""#, count: count).joined(separator: ", ")
        return "{ \(listener), \(pool), \"log\": { \"redact-query\": [\(texts)] } }"
      }
    ),
  ]

  private let base = configuration("{ \(Self.listener), \(Self.pool), \"workers\": 3 }")

  /// In nanoseconds.
  private var processorTime: Int {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return time.tv_sec * 1_000_000_000 + time.tv_nsec
  }

  /// The minimum time for all steps with a text.
  private func time(_ text: String) throws -> Int {
    let bytes = Array(text.utf8)
    let base = try #require(base)
    var least = Int.max
    for _ in 0..<5 {
      let start = processorTime
      let reading = Configuration.read(bytes)
      if let configuration = reading.configuration {
        _ = base.changes(to: configuration)
        _ = configuration.changes(to: base)
        _ = configuration.listeners.prefix(1).map { configuration.routes(on: $0) }
      }
      least = min(least, processorTime - start)
    }
    return least
  }

  @Test func `eight times as much takes about eight times as long`() throws {
    for (name, text) in Self.documents {
      let small = try time(text(500))
      let large = try time(text(4_000))
      #expect(large < small * 24, "\(name): \(large) against \(small)")
    }
  }

  @Test func `of many mistakes the first are reported, and that there are more`() {
    let keys = (0..<5_000).map { #""key\#($0)": 1"# }.joined(separator: ", ")
    let found = diagnose("{ \(keys), \(somePools) }")
    #expect(found.count == Decoder.findingMax + 1)
    #expect(found.first?.contains(" key0: there is no such key") == true)
    #expect(found.last?.contains("there are more errors; the first 100 found are reported") == true)
    #expect(configuration("{ \(keys), \(somePools) }") == nil)

    let backends = (0..<5_000).map { #"{ "address": "127.0.0.1:\#($0 + 1)", "weight": 2 }"# }
    let warned = diagnose(#"{ "pools": [{ "backends": [\#(backends.joined(separator: ", "))] }] }"#)
    #expect(warned.count == Decoder.findingMax + 1)
    #expect(warned.allSatisfy { $0.contains(": warning: ") })
  }

  @Test func `routes with more entries than a table may have are refused`() {
    let hosts = (0..<1_100).map { #""h\#($0).example""# }.joined(separator: ", ")
    let listeners = (1...1_000).map { #"{ "listen": "127.0.0.1:\#($0)" }"# }
    let found = diagnose(
      """
      { "listeners": [\(listeners.joined(separator: ", "))], \(somePools),
        "routes": [{ "host": [\(hosts)], "forward": "default" }] }
      """)
    #expect(found.count == 1)
    #expect(
      found.first?.contains("the routes have 1100000 entries, one for each host on each listener")
        == true)
  }
}
