// One exchange as the worker carries it out: the decisions (Proxy.Exchange), the bytes that a
// further attempt would need, and the connections on both sides, by handle.

import Balancing
import HTTP
import HTTP1
import Primitives
import Proxy

struct ActiveExchange: ~Copyable {
  /// What was decided and what happened, in pure form.
  var machine: Exchange
  let downstream: Handle
  /// The configuration it began under, which it keeps to its end.
  let generation: Int
  let pool: PoolSettings
  /// Where the pool stands in that configuration.
  let poolIndex: Int
  let route: RouteSettings
  /// Nil when it isn't recorded.
  let trace: TraceContext?
  /// Did the client come by TLS, here or to a trusted proxy?
  let cameByTLS: Bool

  var selection: Selection
  /// The member that the current attempt is made at, with the place taken there.
  var pick: Pick?
  /// Does the current attempt owe the retry budget?
  var owesBudget = false
  /// Did a retry come to nothing because the budget was spent?
  var wasBudgetSpent = false
  /// Since when it stands in the pool's line; nil while it doesn't.
  var queuedAt: Instant?
  /// How long it has stood there, all told.
  var queueTime = TimeSpan.zero
  /// The upstream connection by which the client is logged in at this pool, and which alone the
  /// request may go over; `.none` for most.
  var login = Handle.none
  /// Does the request bring credentials for its connection?
  let logsIn: Bool
  /// The upstream connection that the current attempt holds; `.none` between attempts.
  var upstream = Handle.none

  /// What the access log wants to know of the request, followed by the head as it goes upstream.
  /// Kept whole to the end, so that each attempt sends the very same head.
  var text: ByteBuffer
  let summary: RequestSummary
  /// Where in `text` the head as it goes upstream lies, and how the body is framed there.
  private(set) var upstreamHead: Range<Int>
  private(set) var upstreamFraming: BodyFraming
  var requestBody: BodyDecoder
  /// Decoded body bytes that a further attempt would have to send again, from the first one on.
  var kept = ByteBuffer()
  /// Is everything that arrived of the body still in `kept`?
  var keepsBody = true
  /// Decoded body bytes so far.
  var bodyByteCount: UInt64 = 0
  /// How many of them the current attempt has been given.
  var givenByteCount: UInt64 = 0
  /// The request's last chunk with trailers as it goes upstream, once it is known.
  var tail = ByteBuffer()
  var isTailGiven = false
  /// Whether trailers of the request may be forwarded.
  let keepsTrailers: Bool
  /// What was wrong with the framing of the request's body, or with the response, if that ended the
  /// exchange.
  var malformation: StaticString?

  /// Did the client mean to use its connection again?
  let requestPersists: Bool
  var response: ResponseProgress
  /// Has the client finished sending, and waits for the answer or for the rest of a relay?
  var clientHasFinished = false

  init(
    machine: consuming Exchange, downstream: Handle, generation: Int, pool: PoolSettings,
    poolIndex: Int, route: RouteSettings, trace: TraceContext?, cameByTLS: Bool,
    selection: Selection, logsIn: Bool, keepsTrailers: Bool,
    text: consuming ByteBuffer, summary: RequestSummary, upstreamHead: Range<Int>,
    framing: BodyFraming, bodyLimits: BodyLimits, persists: Bool
  ) {
    self.selection = selection
    self.logsIn = logsIn
    self.keepsTrailers = keepsTrailers
    self.machine = machine
    self.downstream = downstream
    self.generation = generation
    self.pool = pool
    self.poolIndex = poolIndex
    self.route = route
    self.trace = trace
    self.cameByTLS = cameByTLS
    self.text = text
    self.summary = summary
    self.upstreamHead = upstreamHead
    upstreamFraming = framing
    requestBody = BodyDecoder(framing, limits: bodyLimits)
    requestPersists = persists
    response = ResponseProgress(persists: persists)
  }

  /// Makes what was appended to `text` the head that goes upstream. No attempt may have begun.
  mutating func replaceUpstreamHead(_ head: Range<Int>, framing: BodyFraming) {
    upstreamHead = head
    upstreamFraming = framing
  }

  /// Is there a connection to write the request to?
  var isOpen: Bool { machine.isConnected && upstream != .none }

  /// The downstream side of the answer.
  struct ResponseProgress {
    var framing = BodyFraming.none
    var status: UInt16 = 0
    var byteCount: UInt64 = 0
    /// Will the client's connection be used again?
    var persists: Bool
    /// What it was forgiven.
    var tolerated = ToleratedReasons()
    /// Whether its trailers may be sent to the client.
    var keepsTrailers = true
    /// Did the backend say that its connection may be used again?
    var upstreamPersists = false
    /// The last call stopped for want of room downstream.
    var isBlocked = false

    init(persists: Bool) { self.persists = persists }
  }
}
