// Why a peer's bytes were refused, or a connection was given up, one case per reason.
//
// A connection error ends the connection with GOAWAY, since both sides may no longer agree on its
// state (RFC 9113 5.4.1). A stream error resets only that stream (5.4.2); so does every malformed
// message (8.1.1), in both directions.

public enum HTTP2Error: UInt8, Error, Equatable, Sendable, CaseIterable {
  // MARK: Connection errors

  // Preface and frames (RFC 9113 3.4, 4, 5.1, 6).
  case badPreface, noHTTP2, firstFrameNotSettings, frameTooLarge, badFrameSize, badPadding
  case missingStreamID, unwantedStreamID, badStreamID, frameOnIdleStream, headersOnClosedStream
  case expectedContinuation, unexpectedContinuation, unexpectedPush, badPriorityUpdate
  // Settings and flow control (RFC 9113 6.5, 6.9).
  case badSetting, badInitialWindow, zeroIncrement, connectionWindowOverflow
  case connectionWindowExceeded, risingGoAway
  // Field compression (RFC 7541).
  case truncatedFieldBlock, badHPACKInteger, badHPACKIndex, badHuffman, badTableSizeUpdate
  // A limit was exceeded (RFC 9113 10.5).
  case tooManyContinuations, fieldBlockTooLarge, fieldListBomb, resetFlood, causedResetFlood
  case refusalFlood, settingsFlood, pingFlood, priorityFlood, emptyDataFlood, windowUpdateFlood
  case unknownFrameFlood, closedStreamFlood, controlBacklog
  // Deadlines.
  case settingsTimeout, frameTimeout, pingTimeout

  // MARK: Stream errors

  // Streams (RFC 9113 5.1, 6.9).
  case frameOnClosedStream, streamWindowOverflow, streamWindowExceeded, zeroStreamIncrement
  case tooManyStreams, stalledPeer
  // Messages: pseudo-fields (RFC 9113 8.3, RFC 8441 4).
  case unknownPseudoField, repeatedPseudoField, misplacedPseudoField, pseudoFieldInTrailers
  case missingPseudoField, badMethod, badScheme, badPath, badAuthority, missingAuthority
  case badStatus, badConnect, badProtocol
  // Messages: fields (RFC 9113 8.2).
  case emptyFieldName, upperCaseFieldName, badFieldName, badFieldValue, connectionField, badTE
  case differingHost, repeatedHost, fieldInTrailers
  // Messages: framing (RFC 9113 8.1).
  case badContentLength, repeatedContentLength, contentLengthMismatch, bodyNotAllowed
  case trailersWithoutEnd, interimWithEnd, dataBeforeHead, tooManyInterims
  // Heads over a limit, which are answered with a status.
  case fieldListTooLarge, tooManyFields, targetTooLong
  // Errors in messages of our own, which are not sent.
  case unsendableStatus, unsendableHead, headTooLargeForPeer

  /// Whether the error ends the whole connection and not just a stream.
  public var isOfConnection: Bool { rawValue < HTTP2Error.frameOnClosedStream.rawValue }

  /// Whether a client can cause this in the response of a faultless backend, as by a field that the
  /// backend returns.
  public var isAboutFields: Bool {
    switch self {
    case .fieldListTooLarge, .tooManyFields, .upperCaseFieldName, .badFieldName, .badFieldValue,
      .fieldInTrailers, .tooManyInterims, .emptyDataFlood, .windowUpdateFlood, .unknownFrameFlood:
      true
    default: false
    }
  }

  /// The error code that the peer gets.
  public var code: ErrorCode {
    switch self {
    case .frameTooLarge, .badFrameSize: .frameSizeError
    case .headersOnClosedStream, .frameOnClosedStream: .streamClosed
    case .badInitialWindow, .connectionWindowOverflow, .connectionWindowExceeded,
      .streamWindowOverflow, .streamWindowExceeded:
      .flowControlError
    case .truncatedFieldBlock, .badHPACKInteger, .badHPACKIndex, .badHuffman,
      .badTableSizeUpdate:
      .compressionError
    case .tooManyContinuations, .fieldBlockTooLarge, .fieldListBomb, .resetFlood,
      .causedResetFlood, .refusalFlood, .settingsFlood, .pingFlood, .priorityFlood,
      .emptyDataFlood, .windowUpdateFlood, .unknownFrameFlood, .closedStreamFlood,
      .frameTimeout,
      .controlBacklog, .tooManyInterims, .fieldListTooLarge, .tooManyFields, .targetTooLong:
      .enhanceYourCalm
    case .settingsTimeout: .settingsTimeout
    case .pingTimeout: .noError
    case .tooManyStreams: .refusedStream
    case .stalledPeer: .cancel
    case .unsendableStatus, .unsendableHead, .headTooLargeForPeer: .internalError
    default: .protocolError
    }
  }

  /// The status of the answer to such a request, if there is one. For such a response the client
  /// gets 502, whatever the reason.
  public var status: UInt16 {
    switch self {
    case .targetTooLong: 414
    case .fieldListTooLarge, .tooManyFields: 431
    default: 400
    }
  }

  /// For logs and metrics.
  public var name: StaticString {
    switch self {
    case .badPreface: "bad-preface"
    case .noHTTP2: "no-http2"
    case .firstFrameNotSettings: "first-frame-not-settings"
    case .frameTooLarge: "frame-too-large"
    case .badFrameSize: "bad-frame-size"
    case .badPadding: "bad-padding"
    case .missingStreamID: "missing-stream-id"
    case .unwantedStreamID: "unwanted-stream-id"
    case .badStreamID: "bad-stream-id"
    case .frameOnIdleStream: "frame-on-idle-stream"
    case .headersOnClosedStream: "headers-on-closed-stream"
    case .expectedContinuation: "expected-continuation"
    case .unexpectedContinuation: "unexpected-continuation"
    case .unexpectedPush: "unexpected-push"
    case .badPriorityUpdate: "bad-priority-update"
    case .badSetting: "bad-setting"
    case .badInitialWindow: "bad-initial-window"
    case .zeroIncrement: "zero-increment"
    case .connectionWindowOverflow: "connection-window-overflow"
    case .connectionWindowExceeded: "connection-window-exceeded"
    case .risingGoAway: "rising-go-away"
    case .truncatedFieldBlock: "truncated-field-block"
    case .badHPACKInteger: "bad-hpack-integer"
    case .badHPACKIndex: "bad-hpack-index"
    case .badHuffman: "bad-huffman"
    case .badTableSizeUpdate: "bad-table-size-update"
    case .tooManyContinuations: "too-many-continuations"
    case .fieldBlockTooLarge: "field-block-too-large"
    case .fieldListBomb: "field-list-bomb"
    case .resetFlood: "reset-flood"
    case .causedResetFlood: "caused-reset-flood"
    case .refusalFlood: "refusal-flood"
    case .settingsFlood: "settings-flood"
    case .pingFlood: "ping-flood"
    case .priorityFlood: "priority-flood"
    case .emptyDataFlood: "empty-data-flood"
    case .windowUpdateFlood: "window-update-flood"
    case .unknownFrameFlood: "unknown-frame-flood"
    case .closedStreamFlood: "closed-stream-flood"
    case .controlBacklog: "control-backlog"
    case .settingsTimeout: "settings-timeout"
    case .frameTimeout: "frame-timeout"
    case .pingTimeout: "ping-timeout"
    case .frameOnClosedStream: "frame-on-closed-stream"
    case .streamWindowOverflow: "stream-window-overflow"
    case .streamWindowExceeded: "stream-window-exceeded"
    case .zeroStreamIncrement: "zero-stream-increment"
    case .tooManyStreams: "too-many-streams"
    case .stalledPeer: "stalled-peer"
    case .unknownPseudoField: "unknown-pseudo-field"
    case .repeatedPseudoField: "repeated-pseudo-field"
    case .misplacedPseudoField: "misplaced-pseudo-field"
    case .pseudoFieldInTrailers: "pseudo-field-in-trailers"
    case .missingPseudoField: "missing-pseudo-field"
    case .badMethod: "bad-method"
    case .badScheme: "bad-scheme"
    case .badPath: "bad-path"
    case .badAuthority: "bad-authority"
    case .missingAuthority: "missing-authority"
    case .badStatus: "bad-status"
    case .badConnect: "bad-connect"
    case .badProtocol: "bad-protocol"
    case .emptyFieldName: "empty-field-name"
    case .upperCaseFieldName: "upper-case-field-name"
    case .badFieldName: "bad-field-name"
    case .badFieldValue: "bad-field-value"
    case .connectionField: "connection-field"
    case .badTE: "bad-te"
    case .differingHost: "differing-host"
    case .repeatedHost: "repeated-host"
    case .fieldInTrailers: "field-in-trailers"
    case .badContentLength: "bad-content-length"
    case .repeatedContentLength: "repeated-content-length"
    case .contentLengthMismatch: "content-length-mismatch"
    case .bodyNotAllowed: "body-not-allowed"
    case .trailersWithoutEnd: "trailers-without-end"
    case .interimWithEnd: "interim-with-end"
    case .dataBeforeHead: "data-before-head"
    case .tooManyInterims: "too-many-interims"
    case .fieldListTooLarge: "field-list-too-large"
    case .tooManyFields: "too-many-fields"
    case .targetTooLong: "target-too-long"
    case .unsendableStatus: "unsendable-status"
    case .unsendableHead: "unsendable-head"
    case .headTooLargeForPeer: "head-too-large-for-peer"
    }
  }
}
