// What the admin interface answers, and to whom.

import HTTP
import HTTP1
import Primitives
import Reactor

extension AdminServer {
  /// The page's own script and style, and nothing else.
  private static let contentPolicy =
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    + "connect-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'"

  func right(of request: AdminRequest, _ access: AdminAccess) -> AdminRight {
    if access.isLocal { return .change }
    guard let token = view.credentials.token else { return access.right(of: request) }
    return request.token.map { constantTimeEqual($0, token) } == true ? .change : .nothing
  }

  mutating func answer(_ handle: Handle, _ request: AdminRequest) {
    let api = AdminAPI(view: view, history: history, now: io.now)
    let right = right(of: request, connections[handle].access)
    if right == .change { connections[handle].isTrusted = true }
    switch api.answer(request, right: right) {
    case .whole(let document): send(document, to: handle, request)
    case .command(let command):
      connections[handle].phase = .awaitingControl(request)
      control.post(.admin(command, from: handle))
    case .stateEvents:
      guard let encoder = beginStream("text/event-stream", right, to: handle, request) else {
        return
      }
      connections[handle].phase = .stateEvents(encoder)
      sendState(to: handle)
    case .tap(let filter):
      guard let encoder = beginStream("application/jsonl", right, to: handle, request) else {
        return
      }
      connections[handle].phase = .tap(filter, encoder)
      for reports in view.process.reports { reports.setTapped(true) }
    }
  }

  mutating func send(_ document: AdminDocument, to handle: Handle, _ request: AdminRequest) {
    let persists = request.persists && !isOutdated(handle)
    connections[handle].phase = persists ? .awaitingHead : .ending
    write(
      document, to: handle, version: request.version, isHead: request.method == "HEAD",
      persists: persists)
  }

  mutating func refuse(_ handle: Handle, _ document: AdminDocument) {
    connections[handle].phase = .ending
    write(document, to: handle, version: .http11, isHead: false, persists: false)
  }

  private mutating func write(
    _ document: AdminDocument, to handle: Handle, version: HTTPVersion, isHead: Bool, persists: Bool
  ) {
    var head = responseHead(document.status, document.contentType)
    head.fields.append(
      name: Array("Content-Security-Policy".utf8).span, value: Array(Self.contentPolicy.utf8).span)
    for field in document.fields { head.fields.append(field.name, Array(field.value.utf8).span) }
    var text = ByteBuffer()
    head.encode(
      for: version, body: .known(UInt64(document.body.count)),
      connection: persists ? .keepAlive : .close, into: &text)
    if !isHead { text.append(document.body.span) }
    makeRoom(for: text.count, of: handle)
    connections[handle].transport.write(text, &io, &buffers)
    if !persists { connections[handle].transport.writeCloseNotify(&buffers) }
    connections[handle].transport.flush(&io, &buffers)
  }

  mutating func responseHead(_ status: UInt16, _ contentType: String) -> ResponseHead {
    var head = ResponseHead()
    head.status = status
    head.fields.append(.date, httpDate(seconds: SystemClock.wall() / 1_000_000_000).span)
    head.fields.append(.contentType, Array(contentType.utf8).span)
    head.fields.append(.cacheControl, "no-store")
    return head
  }

  /// RFC 9110 10.1.1: the client waits for it before it sends the body.
  mutating func writeContinue(_ handle: Handle) {
    var head = ResponseHead()
    head.status = 100
    var text = ByteBuffer()
    head.encodeInterim(into: &text)
    connections[handle].transport.write(text, &io, &buffers)
  }
}

/// Takes the same time wherever the two differ, so that a token can't be guessed letter by letter.
private func constantTimeEqual(_ left: String, _ right: String) -> Bool {
  let (left, right) = (Array(left.utf8), Array(right.utf8))
  if left.count != right.count { return false }
  return zip(left, right).reduce(0) { $0 | ($1.0 ^ $1.1) } == 0
}
