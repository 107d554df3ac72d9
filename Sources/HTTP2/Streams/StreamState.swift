// The states of a stream (RFC 9113 5.1), as two halves.
//
// Each half stores how far its message is, since this decides whether HEADERS are a head or
// trailers. Idle streams and long-closed ones have no state here: their identifier is enough. The
// functions are total: every event has an outcome in every state.

/// The message that the peer sends.
enum IncomingHalf: Equatable, Sendable, CaseIterable {
  /// The head of a response is still to come, also after interim heads.
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
  /// RST_STREAM was sent: frames that the peer sent before it received that are ignored.
  case resetByUs
  /// The peer sent RST_STREAM, or a GOAWAY that excludes the stream: no more frames in either
  /// direction.
  case resetByPeer

  /// Neither side sends any more on it.
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

  // MARK: Incoming

  /// The meaning of a field block.
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

  /// A head was accepted; `ends` if it had END_STREAM.
  mutating func receivedHead(isInterim: Bool, ends: Bool) {
    guard case .live(.head, let outgoing) = self, !isInterim else { return }
    self = .live(ends ? .ended : .body, outgoing)
  }

  mutating func receivedEnd() {
    guard case .live(_, let outgoing) = self else { return }
    self = .live(.ended, outgoing)
  }

  // MARK: Outgoing

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
