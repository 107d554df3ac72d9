// The ids of backends: small numbers, so that a worker can use them as indices of its tables.
//
// An id belongs to a record until the record is freed, and then to a later one. So code that keeps
// an id must also keep the record (docs/decisions/0014).

import Synchronization

final class BackendIDs: Sendable {
  private struct Content {
    /// Every id is below this.
    var count = 0
    /// Those of freed records.
    var free: [Int] = []
  }

  private let content = Mutex(Content())

  /// An id that no record has.
  func take() -> Int {
    content.withLock { content in
      if let id = content.free.popLast() { return id }
      content.count += 1
      return content.count - 1
    }
  }

  /// Call it when the record is freed. It may be called on any thread, and while the registry is
  /// locked.
  func giveBack(_ id: Int) { content.withLock { $0.free.append(id) } }

  var count: Int { content.withLock { $0.count } }
}
