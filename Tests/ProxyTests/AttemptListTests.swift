// AttemptList: the stored attempts, and which of them count.

import Balancing
import Primitives
import Testing

@testable import Proxy

@Suite struct AttemptListTests {
  private func attempt(_ backend: Int, isReused: Bool = false) -> Attempt {
    Attempt(backend: backend, isReused: isReused, startedAt: .origin)
  }

  @Test func anEmptyListHasNoLastOne() {
    var list = AttemptList()
    list.endLast(.succeeded, at: .origin)
    list.noteStatus(200, at: .origin)
    #expect(list.last == nil && list.countedCount == 0)
    #expect(list.count == 0 && !list.lastBackendHadFreshConnection)
  }

  @Test func aStaleAttemptStaysInTheListAndDoesNotCount() {
    var list = AttemptList()
    list.append(attempt(1, isReused: true))
    list.forgiveLast()
    list.append(attempt(1))
    #expect(list.count == 2 && list.countedCount == 1)
  }

  @Test func onlyTheLastMembersOwnConnectionsCountAsFresh() {
    var list = AttemptList()
    list.append(attempt(1))
    #expect(list.lastBackendHadFreshConnection)
    list.append(attempt(2, isReused: true))
    #expect(!list.lastBackendHadFreshConnection)
    list.append(attempt(1, isReused: true))
    #expect(list.lastBackendHadFreshConnection)
  }

  @Test func anAttemptThatHasEndedKeepsItsResult() {
    var list = AttemptList()
    list.append(attempt(1))
    list.endLast(.failed(.connectRefused), at: .origin + .seconds(1))
    list.endLast(.clientAborted, at: .origin + .seconds(2))
    #expect(list.last?.result == .failed(.connectRefused))
    #expect(list.last?.duration == .seconds(1))
  }

  @Test func allOfThemAreRememberedInTheirOrder() {
    var list = AttemptList()
    for backend in 0..<20 { list.append(attempt(backend)) }
    #expect((0..<list.count).map { list[$0].backend } == Array(0..<20))
    #expect(list.countedCount == 20 && list.last?.backend == 19)
  }

  @Test func resultsHaveDifferentNames() {
    let results: [Attempt.Result] = [
      .pending, .succeeded, .failed(.connectRefused), .clientAborted, .abandoned,
    ]
    #expect(Set(results.map { "\($0.name)" }).count == results.count)
  }
}
