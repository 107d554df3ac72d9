// Why a peer's bytes were refused, one case per reason.
//
// Ambiguous messages are refused and not repaired: request smuggling is possible when two servers
// read one message differently (RFC 9112 11.2). Tolerance.swift lists the few exceptions that a
// listener can enable. After any of these errors the connection can't be used again, since the
// start of the next message is unknown.

public enum HTTP1Error: UInt8, Error, Equatable, Sendable, CaseIterable {
  // Octets and lines (RFC 9112 2.2).
  case bareLineFeed, bareCarriageReturn, controlCharacter, tooManyEmptyLines
  // The start line (RFC 9112 3 and 4).
  case badRequestLine, badMethod, badTarget, targetNotASCII, targetTooLong, badVersion
  case badStatusLine
  // Field lines (RFC 9112 5).
  case headTooLarge, tooManyFields, obsFold, spaceBeforeColon, badFieldName
  // Host (RFC 9112 3.2).
  case missingHost, duplicateHost, badHost
  // Framing (RFC 9112 6).
  case contentLengthWithTransferEncoding, differingContentLengths, repeatedContentLength
  case badContentLength, transferEncodingInHTTP10, transferEncodingNotChunked
  case unknownTransferCoding
  // Chunks (RFC 9112 7.1).
  case badChunkSize, chunkExtensionTooLong, badChunkEnd, trailerTooLarge
  /// The connection closed within a body.
  case truncatedBody
  // Errors that only responses have a case for, because a pool may tolerate them (Tolerance.swift).
  case missingColon, repeatedChunked, identityCoding, blankAfterChunkSize
  /// A server sent interim responses without end (RFC 9110 15.2).
  case tooManyInterimHeads

  /// The status of the answer to such a request. For such a response the client gets 502, whatever
  /// the reason.
  public var status: UInt16 {
    switch self {
    case .targetTooLong: 414
    case .headTooLarge, .tooManyFields, .trailerTooLarge: 431
    case .unknownTransferCoding: 501
    case .badVersion: 505
    default: 400
    }
  }

  /// Whether this is about one message and not about its sender. Fields often contain data that a
  /// client sent before, such as a query that is reflected into a cookie. If a server were blamed
  /// for their size or their bytes, any client could make it look broken. The start line and the
  /// framing of chunks come from the server itself, so there the same bytes show that it is broken.
  public var isAboutFields: Bool {
    switch self {
    case .headTooLarge, .tooManyFields, .trailerTooLarge, .bareLineFeed, .bareCarriageReturn,
      .controlCharacter, .obsFold, .spaceBeforeColon, .badFieldName, .missingColon:
      true
    default: false
    }
  }

  /// Whether this never applies to a request. An end within the body of a request counts as an
  /// abort.
  public var isOfResponses: Bool {
    switch self {
    case .badStatusLine, .truncatedBody, .missingColon, .repeatedChunked, .identityCoding,
      .blankAfterChunkSize, .tooManyInterimHeads:
      true
    default: false
    }
  }

  /// For logs and metrics.
  public var name: StaticString {
    switch self {
    case .bareLineFeed: "bare-line-feed"
    case .bareCarriageReturn: "bare-carriage-return"
    case .controlCharacter: "control-character"
    case .tooManyEmptyLines: "too-many-empty-lines"
    case .badRequestLine: "bad-request-line"
    case .badMethod: "bad-method"
    case .badTarget: "bad-target"
    case .targetNotASCII: "target-not-ascii"
    case .targetTooLong: "target-too-long"
    case .badVersion: "bad-version"
    case .badStatusLine: "bad-status-line"
    case .headTooLarge: "head-too-large"
    case .tooManyFields: "too-many-fields"
    case .obsFold: "obs-fold"
    case .spaceBeforeColon: "space-before-colon"
    case .badFieldName: "bad-field-name"
    case .missingHost: "missing-host"
    case .duplicateHost: "duplicate-host"
    case .badHost: "bad-host"
    case .contentLengthWithTransferEncoding: "content-length-with-transfer-encoding"
    case .differingContentLengths: "differing-content-lengths"
    case .repeatedContentLength: "repeated-content-length"
    case .badContentLength: "bad-content-length"
    case .transferEncodingInHTTP10: "transfer-encoding-in-http10"
    case .transferEncodingNotChunked: "transfer-encoding-not-chunked"
    case .unknownTransferCoding: "unknown-transfer-coding"
    case .badChunkSize: "bad-chunk-size"
    case .chunkExtensionTooLong: "chunk-extension-too-long"
    case .badChunkEnd: "bad-chunk-end"
    case .trailerTooLarge: "trailer-too-large"
    case .truncatedBody: "truncated-body"
    case .missingColon: "missing-colon"
    case .repeatedChunked: "repeated-chunked"
    case .identityCoding: "identity-coding"
    case .blankAfterChunkSize: "blank-after-chunk-size"
    case .tooManyInterimHeads: "too-many-interim-heads"
    }
  }
}
