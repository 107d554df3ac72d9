// Answers from Martlet itself, instead of or after attempts: errors, redirects, fixed responses.

import HTTP
import HTTP1
import HTTP2
import Metrics
import Primitives
import Proxy
import Reactor

extension Worker where IO: ~Copyable {
  /// Answers a request that no backend is asked for.
  mutating func answer(
    _ handle: Handle, _ answer: LocalAnswer, failure: ExchangeFailure? = nil,
    reason: StaticString? = nil
  ) {
    exchanges[handle].malformation = reason
    identifyClient(handle)
    send(answer, handle, failure)
    perform(exchanges[handle].machine.handle(.answered(failure), at: now), handle)
  }

  /// The client behind trusted proxies; for a forwarded request this is part of its preparation.
  private mutating func identifyClient(_ handle: Handle) {
    guard exchanges[handle].request.hasHead, let peer = exchanges[handle].request.client,
      !settings.forwarding.trustedProxies.isEmpty
    else { return }
    exchanges[handle].request.client =
      RequestOrigin(
        peer: peer, fields: heads[exchanges[handle].head].fields, policy: settings.forwarding
      ).client
  }

  /// No backend will respond: Martlet does.
  mutating func answerInstead(_ handle: Handle, _ status: UInt16) {
    endAttempt(handle, .broken)
    send(LocalAnswer(error: status), handle, exchanges[handle].machine.failure)
    finish(handle)
  }

  private mutating func send(_ answer: LocalAnswer, _ handle: Handle, _ failure: ExchangeFailure?) {
    // The connection ends if the client is logged in at the backend, so that it logs in again.
    if exchanges[handle].attempt.login != .none { exchanges[handle].response.persists = false }
    exchanges[handle].response.status = answer.status
    exchanges[handle].response.byteCount = write(answer, handle, failure)
  }

  /// Writes a whole answer, which is small: the configuration refuses long bodies. Returns the
  /// length of the body in bytes.
  private mutating func write(
    _ answer: LocalAnswer, _ handle: Handle, _ failure: ExchangeFailure?
  ) -> UInt64 {
    answer.write(to: &responseHead)
    // The body comes first, since the head contains its length.
    scratch.removeAll()
    var shared: [UInt8]?
    switch answer.content {
    case .fixed(_, let body):
      scratch.append(body.span)
      // That of a redirect is made from the request.
      if answer.location == nil { shared = body }
    case .explanation:
      explanation(of: answer.status, for: handle).write(to: &responseHead, body: &scratch)
    }
    let body = 0..<scratch.count
    edit(exchanges[handle].stages.local, of: handle)
    if exchanges[handle].request.isGRPC, case .explanation = answer.content {
      return writeGRPCError(answer.status, handle, failure)
    }
    let hasBody = answer.status >= 200 && answer.status != 204 && answer.status != 304
    let sendsBody = hasBody && heads[exchanges[handle].head].method != .head
    if hasBody && !sendsBody {
      responseHead.fields.beginField(.contentLength)
      responseHead.fields.appendValue(decimal: UInt64(body.count))
      responseHead.fields.endField()
    }
    exchanges[handle].response.length = sendsBody ? .known(UInt64(body.count)) : .none
    writeAnswerHead(handle)
    if sendsBody { writeWhole(body, to: exchanges[handle].client, shared: shared) }
    countResponse(status: answer.status)
    return sendsBody ? UInt64(body.count) : 0
  }

  /// An error for a client that uses gRPC. The log and the metrics have the status of HTTP.
  private mutating func writeGRPCError(
    _ status: UInt16, _ handle: Handle, _ failure: ExchangeFailure?
  ) -> UInt64 {
    let code = GRPCStatus.code(of: failure, http: status)
    responseHead.becomeGRPCError(
      code, callMessage(handle, failure, http: status), exchanges[handle].request.grpcWeb)
    exchanges[handle].response.grpcStatus = code
    // In HTTP/1, gRPC-Web has a body of length 0.
    exchanges[handle].response.length = exchanges[handle].client.stream == 0 ? .known(0) : .none
    writeAnswerHead(handle)
    countResponse(status: status)
    return 0
  }

  /// Writes the head. A client that doesn't take it gets a reset of its stream at once.
  private mutating func writeAnswerHead(_ handle: Handle) {
    guard let reason = writeHead(handle) else { return }
    if exchanges[handle].malformation == nil { exchanges[handle].malformation = reason }
    let client = exchanges[handle].client
    guard case .http2Client(let codec) = connections[client.connection].wire else { return }
    resetHTTP2Stream(client, codec, .internalError)
  }

  /// Empty if there is none.
  mutating func requestID(of handle: Handle) -> [UInt8] {
    guard let id = heads[exchanges[handle].head].fields.first(.xRequestID) else { return [] }
    return heads[exchanges[handle].head].fields.array(id)
  }

  /// The body of an error response, in the form that the client accepts.
  private mutating func explanation(
    of status: UInt16, for handle: Handle
  ) -> ErrorExplanation {
    guard exchanges[handle].request.hasHead else {
      return ErrorExplanation(of: status, in: .text, pages: snapshot.errorPages, requestID: [])
    }
    return ErrorExplanation(
      of: status, in: ErrorForm(accepting: heads[exchanges[handle].head].fields),
      pages: exchanges[handle].route?.errorPages ?? snapshot.errorPages,
      requestID: requestID(of: handle))
  }
}
