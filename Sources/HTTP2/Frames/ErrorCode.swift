// Error codes of RST_STREAM and GOAWAY (RFC 9113 7).

public enum ErrorCode: UInt32, Sendable, CaseIterable {
  case noError = 0x0
  case protocolError, internalError, flowControlError, settingsTimeout, streamClosed
  case frameSizeError, refusedStream, cancel, compressionError, connectError, enhanceYourCalm
  case inadequateSecurity, http11Required

  /// An undefined code counts as an internal error (RFC 9113 7).
  public init(wire: UInt32) { self = ErrorCode(rawValue: wire) ?? .internalError }

  /// For logs and metrics.
  public var name: StaticString {
    switch self {
    case .noError: "no-error"
    case .protocolError: "protocol-error"
    case .internalError: "internal-error"
    case .flowControlError: "flow-control-error"
    case .settingsTimeout: "settings-timeout"
    case .streamClosed: "stream-closed"
    case .frameSizeError: "frame-size-error"
    case .refusedStream: "refused-stream"
    case .cancel: "cancel"
    case .compressionError: "compression-error"
    case .connectError: "connect-error"
    case .enhanceYourCalm: "enhance-your-calm"
    case .inadequateSecurity: "inadequate-security"
    case .http11Required: "http-1-1-required"
    }
  }
}
