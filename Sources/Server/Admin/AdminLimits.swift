// What clients of the admin interface may take: counts, sizes and times. docs/ADMIN.md and
// docs/SECURITY.md list them. They are no keys of the configuration: the interface has few clients,
// and none of them needs more.

import Primitives

enum AdminLimits {
  /// Connections at a time; fewer where descriptors are short (`DescriptorBudget`).
  static let connectionMax = 128
  /// One in so many of the connections is for the Unix socket alone, so that clients of the address
  /// can't keep its user from steering the process.
  static let reservedShare = 8
  /// Streams of events and of exchanges at a time, and how many of them over the address.
  static let (streamMax, addressStreamMax) = (32, 24)

  static let headByteCountMax = 16 * 1024
  /// Whoever may open the Unix socket may send a whole configuration.
  static let (bodyByteCountMax, localBodyByteCountMax) = (64 * 1024, 4 * 1024 * 1024)
  /// What one stream of exchanges may have unsent before it ends.
  static let streamByteCountMax = 2 * 1024 * 1024
  /// What one look at the workers adds to each stream of exchanges; more is dropped.
  static let tapByteCountMax = 1024 * 1024
  /// What all connections may hold together. Beyond it whichever holds the most is closed.
  static let heldByteCountMax = 32 * 1024 * 1024

  /// Connections that are accepted from one listener in one turn.
  static let acceptsPerTurn = 16
  /// Receives of one connection in one turn. A request ends the turn of its connection.
  static let stepsPerTurn = 16

  /// How long accepting pauses when descriptors or memory ran out.
  static var exhaustionPause: TimeSpan { .milliseconds(100) }
}

/// What a connection waits for, which has a time of its own however steadily bytes trickle.
enum AdminWait {
  /// A whole head, from its first byte; for the first one from the connection, TLS included.
  case head
  case body
  /// The next request.
  case request
  /// That the client takes all that was written.
  case reader
  /// That the client closes its side after the last answer.
  case end
  /// Nothing of the client: a command is carried out, or a stream has nothing unsent.
  case nothing

  /// Nil without a limit.
  var time: TimeSpan? {
    switch self {
    case .head: .seconds(10)
    case .body: .seconds(30)
    case .request: .seconds(30)
    case .reader: .seconds(30)
    case .end: .seconds(2)
    case .nothing: nil
    }
  }
}
