// The codec of an HTTP/2 connection, with a client or with a backend, and which of its streams wait
// for what.
//
// Streams are named by their identifier, and the codec keeps the exchange of each. Bodies are not
// here: that of a request is in its exchange, that of a response waits at its backend.

import HTTP
import HTTP2
import Primitives

/// Whether received bytes are the first ones of HTTP/2 (RFC 9113 3.4).
enum HTTP2Preface {
  case none, partial, complete

  init(_ inbound: borrowing ByteBuffer) {
    let preface = HTTP2Connection.preface.bytes
    let bytes = inbound.bytes
    let count = min(bytes.count, preface.count)
    guard bytes.extracting(first: count).equals(preface.extracting(first: count)) else {
      self = .none
      return
    }
    self = count == preface.count ? .complete : .partial
  }
}

/// How many streams of a connection to a backend Martlet may reset. Servers end a connection on
/// which too many are, with the streams of all other clients: this keeps below their limits. Netty
/// allows 200 in 30 s, nghttp2 1000 and then 33 per second, hyper 20 at once. As many again as are
/// open may follow when the connection takes no more.
///
/// Each RST_STREAM to the backend counts, since servers don't know who caused it: a client that
/// left, a deadline of Martlet's or of a gRPC call, a response that its client doesn't take, a
/// fault of the backend. A stream that ends without RST_STREAM doesn't: a tunnel that the backend
/// refuses or finishes is ended with END_STREAM, however many there are.
struct CancelBudget {
  private static let burst = 50
  private static let perSecond: Int64 = 1
  /// The price of a stream that is reset in the turn in which it began. Only clients do that. The
  /// backend gets both at the same time, which is what hyper counts.
  private static let immediatePrice = 4

  private var spent = 0
  private var refilledAt = Instant.origin

  /// False when too many were reset.
  mutating func take(isImmediate: Bool, at now: Instant) -> Bool {
    let refill = (now - refilledAt).milliseconds * Self.perSecond / 1000
    if refill > 0 {
      spent = Int(max(0, Int64(spent) - refill))
      refilledAt = now
    }
    spent += isImmediate ? Self.immediatePrice : 1
    return spent <= Self.burst
  }
}

struct HTTP2Session: ~Copyable {
  /// For `keptByteCount`. h2o stops reading a client when as much waits for it.
  static var keptByteMax: Int { 512 * 1024 }

  /// What is left of an answer whose exchange has ended.
  struct Rest {
    let bytes: [UInt8]
    var sentCount = 0
    /// What it takes: nothing if the bytes are those of the configuration.
    let byteCount: Int
    /// How much had been sent when the client's pace was checked last.
    var checkedCount: Int?
  }

  var connection: HTTP2Connection
  /// With a backend: the streams that were reset lately.
  var cancels = CancelBudget()
  /// The backend has ended the connection because it wants HTTP/1.
  var wantsHTTP1 = false
  /// With a client: what the heads, trailers and answers take that wait for it.
  private(set) var keptByteCount = 0
  /// Requests of a client so far.
  var requestCount = 0
  /// The backend has ended the connection, and some clients still take responses that came before.
  var hasEnded = false
  /// Since when it has no stream; meaningless while it has one.
  var idleSince: Instant
  /// Whether it has been idle for some time, and has freed what an idle connection doesn't need.
  var isSettled = false
  /// Exchanges whose message from this side may go on, because the other side has room again.
  var queued: [Handle] = []
  /// Exchanges whose response waits until there is room for its head, the first to wait first.
  var waitingHeads: [Handle] = []
  /// The stream whose turn it is to send a part of its body; nil outside of turns.
  var turn: UInt32?
  /// Answers of Martlet itself that didn't fit into the window of their stream. Hardly any client
  /// has such a small window.
  private(set) var rests: [UInt32: Rest] = [:]
  /// Streams whose response has ended before their request, until when the rest of it is discarded.
  /// Hardly any client sends more then.
  var lingering: [UInt32: Instant] = [:]
  /// When the socket took bytes last.
  var takenAt: Instant
  /// When the pace of the client is checked; `.never` while nothing waits for it.
  var checksAt = Instant.never

  init(_ connection: consuming HTTP2Connection, at now: Instant) {
    self.connection = connection
    idleSince = now
    takenAt = now
  }

  /// Handles one step of what was received.
  mutating func receive(
    from inbound: borrowing ByteBuffer, at now: Instant, workspace: inout HTTP2Workspace,
    unsent: Int, into frames: inout ByteBuffer
  ) -> HTTP2Step {
    connection.receive(
      inbound.bytes, at: now, workspace: &workspace, unsent: unsent, into: &frames)
  }

  /// Sends as much of a piece as the windows allow; returns how many bytes.
  mutating func send(
    _ source: borrowing ByteBuffer, _ range: Range<Int>, ends: Bool, on stream: UInt32,
    into frames: inout ByteBuffer
  ) -> Int {
    connection.send(source.bytes.extracting(range), ends: ends, on: stream, into: &frames)
  }

  /// Counts bytes that wait for the client; false, and they must not be kept, if it is too much.
  mutating func keep(_ byteCount: Int) -> Bool {
    guard keptByteCount + byteCount <= Self.keptByteMax else { return false }
    keptByteCount += byteCount
    return true
  }

  mutating func release(_ byteCount: Int) { keptByteCount -= byteCount }

  /// The rest of an answer waits for the stream's window. False if too much waits already.
  mutating func keep(_ rest: Rest, of stream: UInt32) -> Bool {
    guard keep(rest.byteCount) else { return false }
    rests[stream] = rest
    return true
  }

  mutating func dropRest(of stream: UInt32) {
    if rests.isEmpty { return }
    if let rest = rests.removeValue(forKey: stream) { release(rest.byteCount) }
  }

  mutating func sentRest(_ count: Int, of stream: UInt32) { rests[stream]?.sentCount += count }

  /// Notes how much of the rest was sent, and returns how much that was at the last check.
  mutating func checkRest(of stream: UInt32) -> (sent: Int, before: Int?)? {
    guard let rest = rests[stream] else { return nil }
    rests[stream]?.checkedCount = rest.sentCount
    return (rest.sentCount, rest.checkedCount)
  }

  /// Takes the exchanges that are queued.
  mutating func takeQueued() -> [Handle] {
    defer { queued = [] }
    return queued
  }

  /// The exchange of a stream; nil if the stream is gone, or never had one.
  mutating func exchange(of stream: UInt32) -> Handle? {
    guard let owner = connection.owner(of: stream), owner != 0 else { return nil }
    return Handle(packed: owner)
  }
}
