// Runs the stages of an exchange: over the head of the request, and over each head of a response.
// Their order is in Stage.swift. The stages that only edit fields are here; the others have files
// of their own.

import Balancing
import HTTP
import Metrics
import Primitives
import Proxy
import Reactor

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

  /// Runs these stages of the request, then does what the route says.
  mutating func runStages(_ stages: StageSet, of handle: Handle) {
    var rest = stages
    while let stage = rest.popFirst() {
      let verdict: StageVerdict
      switch stage {
      case .delay: verdict = injectDelay(handle)
      case .abort: verdict = injectAbort(handle)
      case .forwarding:
        setForwarding(handle)
        continue
      case .host:
        setHost(handle)
        continue
      case .grpcWeb: verdict = translateGRPCWebRequest(handle)
      case .stickiness:
        readStickiness(handle)
        continue
      case .affinity:
        readAffinity(handle)
        continue
      case .requestEdits:
        if let edits = exchanges[handle].route?.requestEdits {
          heads[exchanges[handle].head].fields.apply(edits)
        }
        continue
      case .date, .requestID, .responseEdits:
        continue
      }
      switch verdict {
      case .next: break
      case .transform(let codec): transformRequest(handle, codec)
      case .wait(let until): return stageWaits(handle, stage, until: until)
      case .answer(let local, let failure): return answer(handle, local, failure: failure)
      }
    }
    followRoute(handle)
  }

  /// The exchange keeps its place among the stages. What arrives of its body waits.
  private mutating func stageWaits(_ handle: Handle, _ stage: Stage, until: Instant) {
    let client = exchanges[handle].client
    if client.stream == 0 { own(client, by: handle) }
    perform(
      exchanges[handle].machine.handle(.stageWaits(until: until, stage.rawValue), at: now), handle)
  }

  /// The stage that waited has what it waited for, or has waited long enough.
  mutating func stageEnded(_ handle: Handle) {
    delayed.remove(handle)
    perform(exchanges[handle].machine.handle(.staged, at: now), handle)
    // The body has waited too.
    if exchanges.contains(handle) && !exchanges[handle].machine.isRequestComplete {
      queueSource(handle, .request)
    }
  }

  /// Turns the client's head into the one that backends get.
  @inline(__always)
  private mutating func setForwarding(_ handle: Handle) {
    let client = exchanges[handle].client.connection
    let isEncrypted = connections[client].transport.isEncrypted
    let forwarded = prepareRequest(
      &heads[exchanges[handle].head], peer: peer(of: client), isTLS: isEncrypted,
      policy: snapshot(of: handle).settings.forwarding)
    exchanges[handle].request.client = forwarded.client
    exchanges[handle].request.isTLS = forwarded.isTLS
    exchanges[handle].request.upgrade = forwarded.upgrade ?? .empty
    exchanges[handle].request.keepsTrailers = forwarded.keepsTrailers
    exchanges[handle].request.acceptsTrailers = forwarded.acceptsTrailers
  }

  /// Backends refuse HTTP/1.1 without a host. The pool's first backend gives the name, since the
  /// selected one isn't known yet (nginx sends the name of its upstream group).
  private mutating func setHost(_ handle: Handle) {
    if heads[exchanges[handle].head].authority.isEmpty {
      let authority = exchanges[handle].pool.authority
      heads[exchanges[handle].head].fields.append(.host, authority.span)
    }
  }

  /// Edits the worker's `trailers` of a request.
  mutating func editRequestTrailers(of handle: Handle) {
    trailers.prepareTrailers(exchanges[handle].route?.requestEdits ?? [])
  }

  // MARK: Response

  /// Runs these stages, which are the exchange's for the response in `responseHead`.
  mutating func edit(_ stages: StageSet, of handle: Handle) {
    var rest = stages
    while let stage = rest.popFirst() {
      switch stage {
      case .forwarding: endForwarding(handle)
      case .grpcWeb: translateGRPCWebResponse(handle)
      case .date: date()
      case .requestID: returnRequestID(of: handle)
      case .stickiness: stick(handle)
      case .responseEdits: applyEdits(handle)
      case .delay, .abort, .host, .affinity, .requestEdits: break
      }
    }
  }

  private mutating func endForwarding(_ handle: Handle) {
    let addsVia = snapshot(of: handle).settings.forwarding.addsVia
    let keepsTrailers = prepareResponse(&responseHead, addsVia: addsVia)
    // Those of an interim response or a 101 belong to no message with a body.
    if responseHead.status >= 200 { exchanges[handle].response.keepsTrailers = keepsTrailers }
  }

  /// A server that generates or forwards a response without a date adds one (RFC 9110 6.6.1).
  private mutating func date() {
    if responseHead.fields.contains(.date) { return }
    responseHead.fields.append(.date, dates.date(at: io.wallTime).span)
  }

  /// Returns the id of the request to the client.
  private mutating func returnRequestID(of handle: Handle) {
    guard exchanges[handle].request.hasHead else { return }
    responseHead.setRequestID(of: heads[exchanges[handle].head])
  }

  /// Fields that the route sets are for the final response; those that it removes are removed from
  /// every response.
  private mutating func applyEdits(_ handle: Handle) {
    guard let edits = exchanges[handle].route?.responseEdits else { return }
    if responseHead.isInterim {
      responseHead.fields.removeAll(editedBy: edits)
    } else {
      responseHead.fields.apply(edits)
    }
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
