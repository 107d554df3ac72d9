// SETTINGS (RFC 9113 6.5, RFC 8441 3, RFC 9218 2.1): what each side tells about itself.

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

/// What the peer has told. Before its SETTINGS come, the initial values of RFC 9113 6.5.2 hold.
struct PeerSettings: Equatable {
  /// The largest window that exists (RFC 9113 6.9.1).
  static let windowMax = 0x7FFF_FFFF
  static let initialWindow = 65_535

  var headerTableSize = 4096
  /// Nil until it is told. The number is initially unlimited, which is no number to build on.
  var maxConcurrentStreams: Int? = nil
  var initialWindowSize = initialWindow
  var maxFrameSize = FrameHeader.payloadByteCountMax
  var maxHeaderListSize: Int? = nil
  var takesExtendedConnect = false

  /// Takes one setting, and refuses values that RFC 9113 6.5.2 forbids. `isServer` is about the
  /// peer.
  mutating func take(
    _ identifier: UInt16, _ value: UInt32, isServer: Bool
  ) throws(HTTP2Error) {
    switch Setting(rawValue: identifier) {
    case .headerTableSize: headerTableSize = Int(value)
    case .enablePush:
      // A server must not offer to be pushed to (RFC 9113 6.5.2).
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
      // It must not be withdrawn (RFC 8441 3).
      guard value <= 1, value == 1 || !takesExtendedConnect else { throw .badSetting }
      takesExtendedConnect = value == 1
    case .noRFC7540Priorities:
      guard value <= 1 else { throw .badSetting }
    case nil: break
    }
  }
}
