// Refusals and tolerances are counted under the names that the log uses.

import HTTP1
import Testing

@testable import Metrics
@testable import Server

@Suite struct RefusalMetricTests {
  @Test(
    arguments: HTTP1Error.allCases.filter {
      ![
        .badStatusLine, .truncatedBody, .tooManyInterimHeads, .missingColon, .repeatedChunked,
        .identityCoding, .blankAfterChunkSize,
      ].contains($0)
    })
  func aRefusalIsCountedUnderItsName(error: HTTP1Error) {
    let entry = Metric(refusing: error).entry
    #expect("\(entry.family)" == "martlet_requests_refused_total")
    #expect("\(entry.labels)" == "reason=\"\(error.name)\"")
  }

  @Test(arguments: HTTP1Error.allCases)
  func whatIsTolerableIsCountedUnderItsName(error: HTTP1Error) {
    let entry = Metric(tolerating: error)?.entry
    #expect((entry != nil) == HTTP1Error.tolerable.contains(error))
    guard let entry else { return }
    #expect("\(entry.family)" == "martlet_requests_tolerated_total")
    #expect("\(entry.labels)" == "reason=\"\(error.name)\"")
  }
}
