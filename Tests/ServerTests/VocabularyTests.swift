// Each failure has one word: the metrics, the admin API and the documentation use the word of the
// access log. A word with another spelling fails here.

import Balancing
import Configuration
import Foundation
import HTTP1
import Metrics
import Proxy
import TLS
import Testing

@testable import Server

@Suite struct VocabularyTests {
  private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent()
  private static let words = Set(FailureWord.allCases.map { "\($0.name)" })

  private static func file(_ path: String) throws -> String {
    try String(contentsOf: root.appendingPathComponent(path), encoding: .utf8)
  }

  private static func exposition(_ metric: SplitMetric, _ metrics: WorkerMetrics) -> String {
    var output = FamilyWriter(.text)
    output.append(metric, of: MetricsSnapshot(of: [metrics]), by: metric.words)
    return String(decoding: output.finish(), as: UTF8.self)
  }

  @Test func theWordsAreUniqueAndInKebabCase() {
    #expect(Self.words.count == FailureWord.allCases.count)
    for word in Self.words {
      #expect(word.wholeMatch(of: /[a-z]+(-[a-z0-9]+)*/) != nil, "\(word)")
    }
  }

  @Test func theConfigurationSpellsStatusesOfGRPCInTheSameWay() {
    for status in Configuration.GRPCStatus.allCases {
      #expect(status.rawValue == "\(GRPCStatus.names[Int(status.code)])")
    }
    #expect(Configuration.GRPCStatus.allCases.count == GRPCStatus.names.count - 1)
    #expect(GRPCStatus.names.count == CallCounters.missing)
  }

  @Test(arguments: FailureWord.allCases)
  func aFailureIsCountedUnderItsWord(word: FailureWord) {
    let metrics = WorkerMetrics()
    metrics.add(.failures, at: word.rawValue)
    let counted = Self.exposition(.failures, metrics).split(separator: "\n")
      .filter { $0.hasSuffix(" 1") }
    #expect(counted == ["martlet_failures_total{cause=\"\(word.name)\"} 1"])
  }

  /// The counters of a backend are those of the first words.
  @Test func causesOfAttemptsHaveAPlaceInABackendsCounters() {
    let causes: [FailureCause] = [
      .connectRefused, .connectTimeout, .connectFailed, .tlsUntrusted, .tlsExpired,
      .tlsWrongName, .tlsSelfSigned, .tlsPin, .tlsNotSpoken, .tlsAlert(48), .tlsTimeout,
      .tlsFailed, .noHTTP2, .resetBeforeResponse, .closedBeforeResponse, .pingTimeout,
      .responseTimeout, .badResponse, .truncatedResponse, .responseStalled, .grpcNotServing,
      .grpcStatus(14), .status(503),
    ]
    #expect(Set(causes.map(\.word)) == Set(FailureWord.ofAttempts))
    #expect(causes.allSatisfy { $0.isOfBackend })
    #expect(!FailureCause.notProcessed.isOfBackend && !FailureCause.noExtendedConnect.isOfBackend)
    #expect(FailureWord.ofAttempts.allSatisfy { Int($0.rawValue) < TrafficMetrics.failureMax })
  }

  @Test(arguments: SplitMetric.allCases)
  func everyVocabularyFitsItsCounters(metric: SplitMetric) {
    let words = metric.words
    #expect(Set(words.map(\.place)).count == words.count)
    #expect(words.allSatisfy { $0.place < SplitMetric.placeCount })
    for word in words { #expect(!"\(word.name)".contains("_")) }
  }

  @Test func refusalsAndTolerancesAreCountedUnderTheNamesOfTheCodec() {
    let metrics = WorkerMetrics()
    for error in HTTP1Error.allCases { metrics.add(.requestsRefused, at: error.rawValue) }
    let text = Self.exposition(.requestsRefused, metrics)
    for error in HTTP1Error.allCases {
      let line = "martlet_requests_refused_total{reason=\"\(error.name)\"} 1\n"
      #expect(text.contains(line) == !error.isOfResponses, "\(error)")
    }
    #expect(
      SplitMetric.requestsTolerated.words.map(\.place)
        == HTTP1Error.tolerable.map { Int($0.rawValue) })
  }

  // MARK: Documents

  @Test func everyWordHasItsSectionInTroubleshooting() throws {
    let page = try Self.file("docs/TROUBLESHOOTING.md")
    for word in Self.words { #expect(page.contains("\n### `\(word)`\n"), "\(word)") }
  }

  @Test func theDescriptionOfTheAdminAPIHasTheWordsOfAttempts() throws {
    let text = try Self.file("docs/openapi.json")
    let document = try #require(
      try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
    let schemas = (document["components"] as? [String: Any])?["schemas"] as? [String: Any]
    let word = schemas?["AttemptFailure"] as? [String: Any]
    #expect(word?["enum"] as? [String] == FailureWord.ofAttempts.map { "\($0.name)" })
  }

  /// Every `cause="..."` and `"failure":"..."` in the documentation has a word that exists.
  @Test(arguments: [
    "docs/ADMIN.md", "docs/RESILIENCE.md", "docs/SECURITY.md", "docs/TROUBLESHOOTING.md",
    "docs/operators/dashboard.md", "docs/operators/limits.md", "docs/operators/many-sites.md",
    "packaging/prometheus/alerts.yml", "packaging/prometheus/grafana.json", "README.md",
  ])
  func documentsUseTheSameWords(path: String) throws {
    let text = try Self.file(path)
    for match in text.matches(of: /(?:cause=\\?"|"failure":")([^"\\]+)/) where match.1 != "..." {
      #expect(Self.words.contains(String(match.1)), "\(path): \(match.1)")
    }
  }
}
