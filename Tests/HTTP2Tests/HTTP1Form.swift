// An HTTP/2 request, written as HTTP/1.

import HTTP
import HTTP1
import Primitives

func http1Text(_ bench: Bench) -> String {
  var output = ByteBuffer()
  bench.workspace.request.encode(body: .none, connection: .keepAlive, into: &output)
  return String(decoding: output)
}
