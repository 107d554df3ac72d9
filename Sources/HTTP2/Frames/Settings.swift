// SETTINGS (RFC 9113 6.5, RFC 8441 3, RFC 9218 2.1): what each side announces about itself.

/// The settings that we know. Others are ignored (RFC 9113 6.5.2).
enum Setting: UInt16 {
  case headerTableSize = 0x1
  case enablePush = 0x2
  case maxConcurrentStreams = 0x3
  case initialWindowSize = 0x4
  case maxFrameSize = 0x5
  case maxHeaderListSize = 0x6
  case enableConnectProtocol = 0x8
  case noRFC7540Priorities = 0x9
}

/// The peer's settings. Until its SETTINGS arrive, the initial values of RFC 9113 6.5.2 apply.
struct PeerSettings: Equatable {
  /// The largest possible window (RFC 9113 6.9.1).
  static let windowMax = 0x7FFF_FFFF
  static let initialWindow = 65_535

  var headerTableSize = 4096
  /// Nil until the peer has sent it: the initial value is unlimited.
  var maxConcurrentStreams: Int? = nil
  var initialWindowSize = initialWindow
  var maxFrameSize = FrameHeader.payloadByteCountMax
  var maxHeaderListSize: Int? = nil
  var takesExtendedConnect = false

  /// Applies one setting, and refuses values that RFC 9113 6.5.2 forbids. `isServer` is the peer's
  /// role.
  mutating func take(
    _ identifier: UInt16, _ value: UInt32, isServer: Bool
  ) throws(HTTP2Error) {
    switch Setting(rawValue: identifier) {
    case .headerTableSize: headerTableSize = Int(value)
    case .enablePush:
      // A server must not enable push (RFC 9113 6.5.2).
      guard value == 0 || (value == 1 && !isServer) else { throw .badSetting }
    case .maxConcurrentStreams: maxConcurrentStreams = Int(value)
    case .initialWindowSize:
      guard value <= UInt32(Self.windowMax) else { throw .badInitialWindow }
      initialWindowSize = Int(value)
    case .maxFrameSize:
      guard value >= 16_384, value <= 0xFF_FFFF else { throw .badSetting }
      maxFrameSize = Int(value)
    case .maxHeaderListSize: maxHeaderListSize = Int(value)
    case .enableConnectProtocol:
      // A server must not withdraw it (RFC 8441 3).
      guard value <= 1, value == 1 || !takesExtendedConnect else { throw .badSetting }
      takesExtendedConnect = value == 1
    case .noRFC7540Priorities:
      guard value <= 1 else { throw .badSetting }
    case nil: break
    }
  }
}
