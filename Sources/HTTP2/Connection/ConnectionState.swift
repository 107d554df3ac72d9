// The states of a connection: where it stands in what comes, and how it ends.

import Primitives

public enum HTTP2Role: Sendable {
  /// Of a connection that a client opened to us.
  case server
  /// Of a connection that we opened to a backend.
  case client
}

/// What may come next.
enum ReadingPhase: Equatable {
  /// As a server: so many bytes of the client's preface have come (RFC 9113 3.4).
  case preface(matched: Int)
  /// The first frame must be SETTINGS (RFC 9113 3.4).
  case settings
  /// Any frame.
  case frames
  /// CONTINUATION of this block and nothing else (RFC 9113 6.10).
  case block(BlockInProgress)
  /// Payload of a DATA frame.
  case data(DataInProgress)
  /// GOAWAY was sent for this reason; whatever comes is ignored.
  case failed(HTTP2Error)
}

struct BlockInProgress: Equatable {
  let stream: UInt32
  let ends: Bool
  var continuationCount = 0
}

struct DataInProgress: Equatable {
  let stream: UInt32
  /// Body bytes that are still to come.
  var remaining: Int
  /// Bytes of padding behind them.
  var padding: Int
  let ends: Bool
}

/// How far we are with ending the connection (RFC 9113 6.8).
enum DrainState: Equatable {
  case none
  /// GOAWAY with the largest identifier was sent, and a PING behind it: streams that were on their
  /// way are still taken.
  case announced(deadline: Instant)
  /// GOAWAY with the last stream that is processed was sent; later ones are ignored.
  case final(last: UInt32)

  var hasEnded: Bool {
    if case .final = self { true } else { false }
  }
}

/// PINGs of ours. One is on its way at a time.
enum PingState: Equatable {
  case none
  case waiting(number: UInt64, sent: Instant, deadline: Instant)
}

/// What a GOAWAY of the peer's said.
struct PeerGoAway: Equatable {
  var last: UInt32
  var code: ErrorCode
}

/// Frames that answer the peer and wait in the output. The output is one queue, so what was taken
/// out of it tells which of them have left; they are counted in two generations.
struct ControlBacklog {
  /// Bytes that were ever put into the output.
  private var written: UInt64 = 0
  /// When so many have left, the older generation has.
  private var mark: UInt64 = 0
  private var older = 0
  private var newer = 0

  var count: Int { older + newer }

  /// `waiting` bytes are in the output.
  mutating func observe(waiting: Int) {
    let gone = written &- UInt64(waiting)
    guard gone >= mark else { return }
    older = newer
    newer = 0
    mark = written
    // Nothing waits, so nothing is left of either.
    if waiting == 0 { older = 0 }
  }

  mutating func wrote(_ byteCount: Int) { written &+= UInt64(byteCount) }

  mutating func add(limit: Int) throws(HTTP2Error) {
    newer += 1
    if count > limit { throw .controlBacklog }
  }
}
