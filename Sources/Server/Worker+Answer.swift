// Answers that don't come from a backend, and the line in the log that ends every exchange.

import HTTP
import HTTP1
import Metrics
import Primitives
import Proxy
import Reactor
import TLS

extension Worker where IO: ~Copyable {
  /// Answers the request whose head stands in `requestHead`, or, when not even that could be
  /// parsed (`head` false), whatever it was. No exchange is begun: there is nothing to wait for.
  mutating func answerLocally(
    _ downstream: Handle, _ answer: LocalAnswer, route: RouteSettings? = nil,
    failure: ExchangeFailure?, reason: StaticString? = nil, head isKnown: Bool
  ) {
    var persists = isKnown && requestHead.persists && mayPersist(downstream)
    // The body of a request that nobody wants is not read: the connection ends instead.
    if isKnown {
      let framing = try? requestHead.framing()
      if framing != BodyFraming.none && framing != .length(0) { persists = false }
    }
    let method = isKnown ? requestHead.method : downstreams[downstream].likelyMethod
    writeAnswer(
      downstream, answer, edits: route?.responseEdits ?? [], method: method,
      version: isKnown ? requestHead.version : .http11, persists: persists)
    countLocalAnswer(downstream, route, status: answer.status)
    logLocalAnswer(downstream, answer, failure, reason, isKnown)
    continueDownstream(downstream, persists: persists, clientMaySend: true)
  }

  /// Writes a whole answer, which is small: the configuration refuses long bodies.
  mutating func writeAnswer(
    _ downstream: Handle, _ answer: LocalAnswer, edits: [FieldEdit], method: Method,
    version: HTTPVersion, persists: Bool
  ) {
    answer.write(to: &responseHead)
    // Whoever makes an answer dates it (RFC 9110 6.6.1).
    responseHead.fields.append(.date, httpDate(seconds: SystemClock.wall() / 1_000_000_000).span)
    responseHead.fields.apply(edits)
    scratch.removeAll()
    let hasBody = answer.status >= 200 && answer.status != 204 && answer.status != 304
    responseHead.encode(
      for: version, body: hasBody ? .known(UInt64(answer.body.count)) : .none,
      connection: persists ? .keepAlive : .close, into: &scratch)
    if hasBody && method != .head { scratch.append(answer.body.span) }
    downstreams[downstream].transport.write(scratch, &io, &buffers)
    queueToFlush(downstream: downstream)
    countResponse(status: answer.status)
  }

  // MARK: Log

  private mutating func logLocalAnswer(
    _ downstream: Handle, _ answer: LocalAnswer, _ failure: ExchangeFailure?,
    _ reason: StaticString?, _ isKnown: Bool
  ) {
    guard log.isOn else { return }
    var text = buffers.takeSmall()
    let peer = downstreams[downstream].peer.ip
    let client =
      isKnown
      ? peer.map {
        clientAddress(
          peer: $0, fields: requestHead.fields, trusted: settings.forwarding.trustedProxies)
      } : peer
    let summary =
      isKnown ? RequestSummary(of: requestHead, client: client, upgrade: nil, into: &text) : nil
    var facts = accessLogFacts(downstream, status: answer.status)
    facts.client = client
    facts.failure = failure?.name
    facts.reason = reason
    facts.sentByteCount = summary?.method == .head ? 0 : UInt64(answer.body.count)
    log.write(
      facts, listener: listenerName(downstream), summary: summary, text: text,
      attempts: AttemptList(), names: backendNames)
    buffers.give(text)
  }

  mutating func logExchange(_ handle: Handle) {
    let failure = exchanges[handle].machine.failure
    if let failure { countFailure(failure) }
    let downstream = exchanges[handle].downstream
    var status = exchanges[handle].response.status
    // 499 is what nginx made known: the client left before it got an answer.
    if failure == .clientAborted && status == 0 { status = 499 }
    let duration = now - exchanges[handle].machine.startedAt
    countExchange(handle, status: status, took: duration)
    let isNotable =
      status >= 500 || duration >= ExchangeReports.slow
      || exchanges[handle].machine.attempts.count > 1
      || failure != nil && failure != .clientAborted
    let isReported =
      reports.wants(isNotable: isNotable) && (!isNotable || reportAllowance.take(at: now))
    guard log.isOn || isReported else { return }
    var facts = accessLogFacts(downstream, status: status)
    facts.client = exchanges[handle].summary.client
    facts.failure = failure?.name
    facts.reason = exchanges[handle].malformation
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
    log.write(
      facts, listener: listenerName(downstream), summary: exchanges[handle].summary,
      text: exchanges[handle].text, attempts: exchanges[handle].machine.attempts,
      names: backendNames)
  }

  private mutating func listenerName(_ downstream: Handle) -> [UInt8] {
    listeners[downstreams[downstream].listener].name
  }

  private mutating func accessLogFacts(_ downstream: Handle, status: UInt16) -> AccessLogFacts {
    var facts = AccessLogFacts(
      status: status, receivedByteCount: 0, sentByteCount: 0, duration: .zero,
      tls: downstreams[downstream].transport.tlsFacts)
    if downstreams[downstream].desync == .monitor {
      facts.tolerated = downstreams[downstream].tolerated
    }
    return facts
  }
}
