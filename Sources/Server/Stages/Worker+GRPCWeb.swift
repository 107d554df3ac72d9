// The stage for gRPC-Web: calls become gRPC, and their responses are translated back. Proxy.GRPCWeb
// has the formats.

import HTTP
import Primitives
import Proxy
import Reactor

extension Worker where IO: ~Copyable {
  mutating func translateGRPCWebRequest(_ handle: Handle) -> StageVerdict {
    guard exchanges[handle].request.upgrade.isEmpty,
      let form = heads[exchanges[handle].head].grpcWeb
    else { return .next }
    heads[exchanges[handle].head].becomeGRPC()
    exchanges[handle].request.grpcWeb = form
    noteCall(handle)
    exchanges[handle].request.acceptsTrailers = true
    return form == .text ? .transform(.base64(Base64Decoder())) : .next
  }

  /// Other responses, such as the error page of a server in between, go on as they are. So do those
  /// of HTTP/1 backends, which have no place for a status.
  mutating func translateGRPCWebResponse(_ handle: Handle) {
    guard let form = exchanges[handle].request.grpcWeb, exchanges[handle].attempt.stream != 0,
      responseHead.becomeGRPCWeb(form)
    else { return }
    // Without a body and trailers, the status is in the head, where clients of gRPC-Web find it.
    let isWhole =
      exchanges[handle].response.arrived.hasEnded
      && exchanges[handle].response.arrived.bytes.isEmpty
      && exchanges[handle].response.hasNoTrailers
    if !isWhole { transformResponse(handle, .grpcWeb(form)) }
  }
}
