// Answers that don't come from a backend, and the line in the log that ends every exchange.

import HTTP
import HTTP1
import Metrics
import Primitives
import Proxy
import Reactor
import TLS

/// What an answer of ours is for.
enum AnsweredRequest {
  /// Whatever it was, its head could not be parsed.
  case unknown
  /// The one whose head stands in the worker's `requestHead`.
  case head(RouteSettings?)
  case exchange(Handle)
}

extension Worker where IO: ~Copyable {
  /// Answers the request whose head stands in `requestHead`, or, when not even that could be
  /// parsed (`head` false), whatever it was. No exchange is begun: there is nothing to wait for.
  mutating func answerLocally(
    _ downstream: Handle, _ answer: LocalAnswer, route: RouteSettings? = nil,
    failure: ExchangeFailure?, reason: StaticString? = nil, head isKnown: Bool
  ) {
    let startedAt = downstreams[downstream].beganAt
    var persists = isKnown && requestHead.persists && mayPersist(downstream)
    // The body of a request that nobody wants is not read: the connection ends instead.
    if isKnown {
      let framing = try? requestHead.framing()
      if framing != BodyFraming.none && framing != .length(0) { persists = false }
    }
    let sent = writeAnswer(
      downstream, answer, to: isKnown ? .head(route) : .unknown, persists: persists)
    if let failure { countFailure(failure) }
    let duration = io.exactNow - (startedAt ?? now)
    countLocalAnswer(downstream, route, status: answer.status, sent: sent, took: duration)
    logLocalAnswer(
      downstream, answer.status, route, failure, reason, isKnown, sentByteCount: sent,
      took: duration)
    continueDownstream(downstream, persists: persists, clientMaySend: true)
  }

  /// Writes a whole answer, which is small: the configuration refuses long bodies. Returns how many
  /// bytes of body it has.
  mutating func writeAnswer(
    _ downstream: Handle, _ answer: LocalAnswer, to request: AnsweredRequest, persists: Bool
  ) -> UInt64 {
    let method: Method
    let version: HTTPVersion
    let edits: [FieldEdit]
    switch request {
    case .unknown:
      (method, version, edits) = (downstreams[downstream].likelyMethod, .http11, [])
    case .head(let route):
      (method, version) = (requestHead.method, requestHead.version)
      edits = route?.responseEdits ?? []
    case .exchange(let handle):
      method = exchanges[handle].summary.method
      version = exchanges[handle].summary.version
      edits = exchanges[handle].route.responseEdits
    }
    answer.write(to: &responseHead)
    // The body comes first, since the head tells its length.
    scratch.removeAll()
    switch answer.content {
    case .fixed(_, let body): scratch.append(body.span)
    case .explanation:
      explanation(of: answer.status, to: request).write(to: &responseHead, body: &scratch)
    }
    let body = 0..<scratch.count
    // Whoever makes an answer dates it (RFC 9110 6.6.1).
    responseHead.fields.append(.date, dates.date(at: SystemClock.wall()).span)
    switch request {
    case .exchange(let handle): returnRequestID(of: handle)
    case .head where settings.returnsRequestID: responseHead.setRequestID(of: requestHead)
    case .head, .unknown: break
    }
    responseHead.fields.apply(edits)
    let hasBody = answer.status >= 200 && answer.status != 204 && answer.status != 304
    responseHead.encode(
      for: version, body: hasBody ? .known(UInt64(body.count)) : .none,
      connection: persists ? .keepAlive : .close, into: &scratch)
    downstreams[downstream].transport.write(
      scratch, body.upperBound..<scratch.count, &io, &buffers)
    let sendsBody = hasBody && method != .head
    if sendsBody { downstreams[downstream].transport.write(scratch, body, &io, &buffers) }
    queueToFlush(downstream: downstream)
    countResponse(status: answer.status)
    return sendsBody ? UInt64(body.count) : 0
  }

  /// What is said about an error to whoever asked, in the form that they want.
  private mutating func explanation(
    of status: UInt16, to request: AnsweredRequest
  ) -> ErrorExplanation {
    var form = ErrorForm.text
    var pages = snapshot.errorPages
    var requestID: [UInt8] = []
    switch request {
    case .unknown: break
    case .head(let route):
      form = ErrorForm(accepting: requestHead.fields)
      if let route { pages = route.errorPages }
      if let id = requestHead.fields.first(.xRequestID) {
        requestID = requestHead.fields.array(id)
      }
    case .exchange(let handle):
      pages = exchanges[handle].route.errorPages
      requestID = exchanges[handle].text.array(exchanges[handle].summary.requestID.range)
      // Next to no request comes to this, so the head is read anew from what went upstream instead
      // of remembering the form of each.
      let head = exchanges[handle].upstreamHead
      if requestHead.parseAgain(exchanges[handle].text, head) {
        form = ErrorForm(accepting: requestHead.fields)
      }
    }
    return ErrorExplanation(of: status, in: form, pages: pages, requestID: requestID)
  }

  /// Tells the client by which id its request is known, if that is wanted.
  mutating func returnRequestID(of exchange: Handle) {
    guard snapshot(of: exchange).settings.returnsRequestID else { return }
    responseHead.setRequestID(
      exchanges[exchange].summary.requestID, in: exchanges[exchange].text)
  }

  // MARK: Log

  private mutating func logLocalAnswer(
    _ downstream: Handle, _ status: UInt16, _ route: RouteSettings?, _ failure: ExchangeFailure?,
    _ reason: StaticString?, _ isKnown: Bool, sentByteCount: UInt64, took duration: TimeSpan
  ) {
    let weight =
      log.isOn
      ? log.weight(status: status, failed: failure != nil, attempts: 0, duration: duration) : 0
    let trace = isKnown ? requestTrace : nil
    if weight == 0 && trace == nil { return }
    var text = buffers.takeSmall()
    let peer = downstreams[downstream].peer.ip
    let client =
      isKnown
      ? peer.map {
        RequestOrigin(peer: $0, fields: requestHead.fields, policy: settings.forwarding).client
      } : peer
    let summary =
      isKnown ? RequestSummary(
        of: requestHead, client: client, upgrade: nil, hiding: log.settings.hidden, into: &text)
      : nil
    if let trace, let summary {
      exportSpan(
        of: summary, in: text, trace, route, downstream, status: status, failure: failure?.name)
    }
    var facts = accessLogFacts(downstream, status: status, client: client)
    facts.route = route?.name
    facts.duration = duration
    facts.sample = weight
    facts.failure = failure?.name
    facts.reason = reason
    facts.sentByteCount = sentByteCount
    if weight > 0 {
      log.write(
        facts, listener: listenerName(downstream), summary: summary, text: text,
        attempts: AttemptList(), names: backendNames)
    }
    buffers.give(text)
  }

  mutating func logExchange(_ handle: Handle) {
    let failure = exchanges[handle].machine.failure
    if let failure { countFailure(failure) }
    let downstream = exchanges[handle].downstream
    var status = exchanges[handle].response.status
    // 499 is what nginx made known: the client left before it got an answer.
    if failure == .clientAborted && status == 0 { status = 499 }
    var duration = now - exchanges[handle].machine.startedAt
    // It began in this turn, so its duration is measured exactly.
    if duration == .zero { duration = io.exactNow - now }
    countExchange(handle, status: status, took: duration)
    if let trace = exchanges[handle].trace {
      exportSpans(of: handle, trace, status: status, failure: failure?.name)
    }
    let isNotable =
      status >= 500 || duration >= ExchangeReports.slow
      || exchanges[handle].machine.attempts.count > 1
      || failure != nil && failure != .clientAborted
    let isReported =
      reports.wants(isNotable: isNotable) && (!isNotable || reportAllowance.take(at: now))
    let weight =
      log.isOn
      ? log.weight(
        status: status, failed: failure != nil,
        attempts: exchanges[handle].machine.attempts.count, duration: duration) : 0
    guard weight > 0 || isReported else { return }
    var facts = accessLogFacts(
      downstream, status: status, client: exchanges[handle].summary.client)
    facts.route = exchanges[handle].route.name
    facts.pool = exchanges[handle].pool.name
    if let last = exchanges[handle].machine.attempts.last {
      facts.connectTime = last.connectDuration
      facts.firstByteTime = last.respondedAt.map { $0 - exchanges[handle].machine.startedAt }
    }
    facts.failure = failure?.name
    facts.reason = exchanges[handle].malformation
    facts.toleratedInResponse = exchanges[handle].response.tolerated
    facts.receivedByteCount = exchanges[handle].bodyByteCount
    facts.sentByteCount = exchanges[handle].response.byteCount
    facts.duration = duration
    facts.queueTime = exchanges[handle].queueTime
    facts.wasBudgetSpent = exchanges[handle].wasBudgetSpent
    if isReported {
      let line = log.json(
        facts, listener: listenerName(downstream), summary: exchanges[handle].summary,
        text: exchanges[handle].text, attempts: exchanges[handle].machine.attempts,
        names: backendNames)
      reports.add(line, isNotable: isNotable)
    }
    guard weight > 0 else { return }
    facts.sample = weight
    log.write(
      facts, listener: listenerName(downstream), summary: exchanges[handle].summary,
      text: exchanges[handle].text, attempts: exchanges[handle].machine.attempts,
      names: backendNames)
  }

  private mutating func listenerName(_ downstream: Handle) -> LogName {
    listeners[downstreams[downstream].listener].name
  }

  private mutating func accessLogFacts(
    _ downstream: Handle, status: UInt16, client: IPAddress?
  ) -> AccessLogFacts {
    log.serverName.removeAll()
    downstreams[downstream].transport.appendServerName(to: &log.serverName)
    var facts = AccessLogFacts(
      client: client, status: status, receivedByteCount: 0, sentByteCount: 0, duration: .zero,
      tls: downstreams[downstream].transport.tlsFacts)
    if case .ip(let address, let port) = downstreams[downstream].peer, address == client {
      facts.clientPort = port
    }
    if downstreams[downstream].desync == .monitor {
      facts.tolerated = downstreams[downstream].tolerated
    }
    return facts
  }
}

extension ResponseHead {
  fileprivate mutating func setRequestID(of request: borrowing RequestHead) {
    guard let id = request.fields.first(.xRequestID) else { return }
    fields.append(.xRequestID, request.bytes(of: id))
  }

  /// A backend may have set it as well.
  fileprivate mutating func setRequestID(_ id: Slice, in text: borrowing ByteBuffer) {
    if id.isEmpty { return }
    fields.removeAll(of: .xRequestID)
    fields.append(.xRequestID, text.bytes.extracting(id.range))
  }
}
