// The states of a connection: what it expects to receive, and how it ends.

import Primitives

public enum HTTP2Role: Sendable {
  /// A connection that a client opened to us.
  case server
  /// A connection that we opened to a backend.
  case client
}

/// What may be received next.
enum ReadingPhase: Equatable {
  /// As a server: this many bytes of the client's preface have arrived (RFC 9113 3.4).
  case preface(matched: Int)
  /// The first frame must be SETTINGS (RFC 9113 3.4).
  case settings
  /// Any frame.
  case frames
  /// Only CONTINUATION of this block (RFC 9113 6.10).
  case block(BlockInProgress)
  /// Payload of a DATA frame.
  case data(DataInProgress)
  /// GOAWAY was sent for this reason; all further input is ignored.
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
  /// Bytes of padding after them.
  var padding: Int
  let ends: Bool
}

/// How far the shutdown of the connection is (RFC 9113 6.8).
enum DrainState: Equatable {
  case none
  /// GOAWAY with the largest identifier was sent, followed by a PING: streams that were already on
  /// their way are still accepted.
  case announced(deadline: Instant)
  /// GOAWAY with the last accepted stream was sent; later streams are ignored.
  case final(last: UInt32)

  var hasEnded: Bool {
    if case .final = self { true } else { false }
  }
}

/// Our PINGs; at most one is waiting for its answer.
enum PingState: Equatable {
  case none
  case waiting(number: UInt64, sent: Instant, deadline: Instant)
}

/// The content of the peer's GOAWAY.
struct PeerGoAway: Equatable {
  var last: UInt32
  var code: ErrorCode
}

/// Counts the frames in the output that answer the peer (acknowledgements, resets). The output is
/// one queue, so its length tells which bytes have been sent. The frames are counted in two
/// generations.
struct ControlBacklog {
  /// All bytes written to the output so far.
  private var written: UInt64 = 0
  /// The older generation has been sent when this number of bytes has.
  private var mark: UInt64 = 0
  private var older = 0
  private var newer = 0

  var count: Int { older + newer }

  /// `waiting` bytes are in the output. Encrypted, they are some more than were written.
  mutating func observe(waiting: Int) {
    let gone = written - min(written, UInt64(waiting))
    guard gone >= mark else { return }
    older = newer
    newer = 0
    mark = written
    // The output is empty, so both generations have been sent.
    if waiting == 0 { older = 0 }
  }

  mutating func wrote(_ byteCount: Int) { written &+= UInt64(byteCount) }

  mutating func add(limit: Int) throws(HTTP2Error) {
    newer += 1
    if count > limit { throw .controlBacklog }
  }
}
