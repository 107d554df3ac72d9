// Constant load by several clients, each on its own connections, which check every response.

import Foundation
import Synchronization

final class Load: Sendable {
  struct Count {
    /// 200 responses by their text.
    var answers: [String: Int] = [:]
    var errors: [String] = []
    var total: Int { answers.values.reduce(0, +) }
  }

  private let state = Mutex(Count())
  private let running: Atomic<Int>
  private let isEnding = Atomic(false)

  /// `keepsAlive`: the next request uses the same connection.
  init(_ martlet: MartletProcess, clients: Int = 6, keepsAlive: Bool = true) {
    running = Atomic(clients)
    for _ in 0..<clients {
      Thread.detachNewThread { [self] in
        var wire: Wire?
        while !isEnding.load(ordering: .relaxed) {
          do {
            if wire == nil { wire = try martlet.wire() }
            let answer = try wire!.get()
            if answer.status == 200 {
              state.withLock { $0.answers[answer.text, default: 0] += 1 }
            } else {
              state.withLock { $0.errors.append(answer.line) }
            }
            if !keepsAlive || answer["Connection"] == "close" { wire = nil }
            // A few thousand requests per second are enough.
            usleep(500)
          } catch {
            state.withLock { $0.errors.append("\(error)") }
            wire = nil
          }
        }
        running.subtract(1, ordering: .releasing)
      }
    }
  }

  var count: Count { state.withLock { $0 } }
  var errors: [String] { count.errors }

  /// Returns the counts so far and resets them.
  func takeAnswers() -> [String: Int] {
    state.withLock { count in
      defer { count.answers = [:] }
      return count.answers
    }
  }

  /// Waits for this number of further responses, and returns them by text.
  func nextAnswers(_ wanted: Int) -> [String: Int] {
    _ = takeAnswers()
    _ = poll { count.total >= wanted }
    return count.answers
  }

  @discardableResult
  func stop() -> Count {
    isEnding.store(true, ordering: .relaxed)
    _ = poll { running.load(ordering: .acquiring) == 0 }
    return count
  }
}
