// The stages of an exchange: what edits a message on its way, in one order.
//
//   request    request ID and trace, before routing; then forwarding fields and hop-by-hop fields,
//              the host of a request without one, the route's edits
//   response   hop-by-hop fields and Via, Date, request ID, stickiness, the route's edits
//   trailers   the rules for trailers, with the route's edits
//
// The route's edits are last in both directions, so that the operator has the last word. Framing
// fields are not edited here: the codec of each side owns them.

import Balancing
import HTTP
import Metrics
import Primitives
import Proxy
import Reactor

/// What a response is to its client. A stage is for some of them.
enum ResponseKind {
  /// A backend's final response.
  case final
  /// A backend's response with a 1xx status, except 101.
  case interim
  /// A backend's 101.
  case switching
  /// An answer of Martlet itself.
  case local
}

extension Worker where IO: ~Copyable {
  // MARK: Request

  /// Before routing: identifies the next head. Returns its place in a trace; nil when it isn't
  /// recorded.
  mutating func identifyRequest() -> TraceContext? {
    if settings.setsRequestID {
      Proxy.identifyRequest(&heads[nextHead].fields, using: &generator)
    }
    return traceRequest()
  }

  /// Before the first attempt: turns the client's head into the one that backends get.
  mutating func editRequest(_ handle: Handle) {
    let client = exchanges[handle].client.connection
    let isEncrypted = connections[client].transport.isEncrypted
    let forwarded = prepareRequest(
      &heads[exchanges[handle].head], peer: peer(of: client), isTLS: isEncrypted,
      policy: settings.forwarding)
    exchanges[handle].request.client = forwarded.client
    exchanges[handle].request.isTLS = forwarded.isTLS
    exchanges[handle].request.upgrade = forwarded.upgrade ?? .empty
    exchanges[handle].request.keepsTrailers = forwarded.keepsTrailers
    exchanges[handle].request.acceptsTrailers = forwarded.acceptsTrailers
    // Backends refuse HTTP/1.1 without a host. The pool's first backend gives the name, since the
    // selected one isn't known yet (nginx sends the name of its upstream group).
    if heads[exchanges[handle].head].authority.isEmpty {
      let authority = exchanges[handle].pool.authority
      heads[exchanges[handle].head].fields.append(.host, authority.span)
    }
    if exchanges[handle].route?.editsRequests == true,
      let edits = exchanges[handle].route?.requestEdits
    {
      heads[exchanges[handle].head].fields.apply(edits)
    }
    exchanges[handle].request.logsIn = heads[exchanges[handle].head].logsConnectionIn
  }

  /// Edits the worker's `trailers` of a request.
  mutating func editRequestTrailers(of handle: Handle) {
    trailers.prepareTrailers(exchanges[handle].route?.requestEdits ?? [])
  }

  // MARK: Response

  /// Edits the response in `responseHead`.
  mutating func edit(_ kind: ResponseKind, of handle: Handle) {
    if kind != .local {
      let addsVia = snapshot(of: handle).settings.forwarding.addsVia
      let keepsTrailers = prepareResponse(&responseHead, addsVia: addsVia)
      if kind == .final { exchanges[handle].response.keepsTrailers = keepsTrailers }
    }
    switch kind {
    case .final, .local: date()
    case .interim, .switching: break
    }
    if kind != .interim { returnRequestID(of: handle) }
    switch kind {
    case .final, .switching: stick(handle)
    case .interim, .local: break
    }
    guard exchanges[handle].editsResponse, let edits = exchanges[handle].route?.responseEdits
    else { return }
    if kind == .interim {
      // Fields that the route sets are for the final response; those that it removes are removed
      // from every response.
      responseHead.fields.removeAll(editedBy: edits)
    } else {
      responseHead.fields.apply(edits)
    }
  }

  /// A server that generates or forwards a response without a date adds one (RFC 9110 6.6.1).
  private mutating func date() {
    if responseHead.fields.contains(.date) { return }
    responseHead.fields.append(.date, dates.date(at: io.wall).span)
  }

  /// Returns the id of the request to the client, if that is configured.
  private mutating func returnRequestID(of handle: Handle) {
    guard exchanges[handle].request.hasHead, snapshot(of: handle).settings.returnsRequestID
    else { return }
    responseHead.setRequestID(of: heads[exchanges[handle].head])
  }

  /// Makes the client stick to the backend that responds, unless it does already.
  private mutating func stick(_ handle: Handle) {
    guard let stickiness = exchanges[handle].pool.stickiness,
      let token = exchanges[handle].attempt.pick?.member.stickyToken, token != 0
    else { return }
    let asked = exchanges[handle].selection.stickyToken
    if token == asked { return metrics.add(.stickyKept) }
    metrics.add(asked == 0 ? .stickyNew : .stickyMoved)
    stickiness.set(token, isTLS: exchanges[handle].request.isTLS, in: &responseHead.fields)
  }

  /// Edits the worker's `trailers` of a response.
  mutating func editResponseTrailers(of handle: Handle) {
    trailers.prepareTrailers(exchanges[handle].route?.responseEdits ?? [])
  }
}

extension ResponseHead {
  fileprivate mutating func setRequestID(of request: borrowing RequestHead) {
    guard let id = request.fields.first(.xRequestID) else { return }
    // A backend may have set it as well.
    fields.removeAll(of: .xRequestID)
    fields.append(.xRequestID, request.bytes(of: id))
  }
}
