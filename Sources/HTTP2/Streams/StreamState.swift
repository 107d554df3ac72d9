// The states of a stream (RFC 9113 5.1), by its two halves.
//
// Each half knows how far its message has come, since HEADERS mean a head, or trailers, by that
// alone. Idle streams and those that are long closed have no state here: an identifier says which
// they are. The functions are total: every event has an outcome in every state.

/// The message that the peer sends.
enum IncomingHalf: Equatable, Sendable, CaseIterable {
  /// A response's head is still to come; interim heads don't change that.
  case head
  /// Body pieces, then trailers or the end.
  case body
  case ended
}

/// The message that we send.
enum OutgoingHalf: Equatable, Sendable, CaseIterable {
  case head, body, ended
}

enum StreamState: Equatable, Sendable {
  case live(IncomingHalf, OutgoingHalf)
  /// RST_STREAM was sent: what the peer sent before it knew is ignored.
  case resetByUs
  /// RST_STREAM came, or a GOAWAY that leaves the stream out: nothing may come or go any more.
  case resetByPeer

  /// Neither side will send anything on it.
  var isClosed: Bool {
    switch self {
    case .live(.ended, .ended), .resetByUs, .resetByPeer: true
    case .live: false
    }
  }

  var isReset: Bool {
    switch self {
    case .live: false
    case .resetByUs, .resetByPeer: true
    }
  }

  // MARK: What comes

  /// What a field block is.
  enum FieldBlockMeaning: Equatable {
    case head, trailers
    case ignored
    case wrong(HTTP2Error)
  }

  var fieldBlockMeaning: FieldBlockMeaning {
    switch self {
    case .live(.head, _): .head
    case .live(.body, _): .trailers
    case .live(.ended, _): .wrong(.frameOnClosedStream)
    case .resetByUs: .ignored
    case .resetByPeer: .wrong(.headersOnClosedStream)
    }
  }

  enum DataMeaning: Equatable {
    case piece, ignored
    case wrong(HTTP2Error)
  }

  var dataMeaning: DataMeaning {
    switch self {
    case .live(.body, _): .piece
    case .live(.head, _): .wrong(.dataBeforeHead)
    case .live(.ended, _), .resetByPeer: .wrong(.frameOnClosedStream)
    case .resetByUs: .ignored
    }
  }

  /// A head that was taken; `ends` when END_STREAM came with it.
  mutating func receivedHead(isInterim: Bool, ends: Bool) {
    guard case .live(.head, let outgoing) = self, !isInterim else { return }
    self = .live(ends ? .ended : .body, outgoing)
  }

  mutating func receivedEnd() {
    guard case .live(_, let outgoing) = self else { return }
    self = .live(.ended, outgoing)
  }

  // MARK: What goes

  /// Whether a head, or an interim one, may be sent.
  var maySendHead: Bool {
    if case .live(_, .head) = self { true } else { false }
  }

  /// Whether body pieces, trailers or the end may be sent.
  var maySendBody: Bool {
    if case .live(_, .body) = self { true } else { false }
  }

  mutating func sentHead(ends: Bool) {
    guard case .live(let incoming, .head) = self else { return }
    self = .live(incoming, ends ? .ended : .body)
  }

  mutating func sentEnd() {
    guard case .live(let incoming, .body) = self else { return }
    self = .live(incoming, .ended)
  }
}
