// Checks the first bytes of a connection before OpenSSL gets them.
//
// OpenSSL allocates memory for a whole handshake message when its header arrives: 131 KB for a
// ClientHello. So a client could use that much memory with 21 bytes. A message that is longer than
// those of real clients is refused by its header. Also, OpenSSL recognises only some of the request
// lines that distinguish plain HTTP from other bytes.
//
// It walks over records (RFC 8446 5.1) and messages (RFC 8446 4) without storing them. Encrypted
// records have no readable message header, and are not checked.

import Primitives

struct Opening {
  /// The longest accepted ClientHello, without its header. BoringSSL has the same limit. Usual ones
  /// have some hundred bytes, or two thousand with post-quantum keys.
  static let messageByteCountMax = 16 * 1024

  private enum Position {
    /// In the header of a record; `rest` bytes of it are missing.
    case recordHeader(rest: Int)
    /// In a record's body.
    case body(rest: Int)
    /// No further bytes are checked.
    case done
  }

  private var firstBytes: UInt64 = 0
  private var firstCount = 0
  private var position = Position.recordHeader(rest: Self.recordHeaderByteCount)
  /// The type and the length of the record, as far as they have arrived.
  private var recordType: UInt8 = 0
  private var recordByteCount = 0
  /// The header of the message as far as it has arrived, and the number of missing bytes of its
  /// body.
  private var messageHeader: UInt32 = 0
  private var messageHeaderCount = 0
  private var messageRest = 0
  /// Whether the header of a ClientHello announced more than the limit.
  private(set) var isTooLong = false

  private static let recordHeaderByteCount = 5
  /// RFC 8446 5.1.
  private static let plaintextByteCountMax = 16_384
  /// The longest record that fits into OpenSSL's buffer.
  private static let recordByteCountMax = 16_711
  private static let messageHeaderByteCount = 4
  private static let handshake: UInt8 = 22
  private static let changeCipherSpec: UInt8 = 20
  private static let alert: UInt8 = 21
  private static let applicationData: UInt8 = 23
  private static let clientHello: UInt8 = 1

  /// Processes the new bytes, each byte once.
  mutating func observe(_ input: Span<UInt8>) {
    for index in 0..<input.count {
      if firstCount < Self.recordHeaderByteCount {
        firstBytes = firstBytes << 8 | UInt64(input[index])
        firstCount += 1
      }
      switch position {
      case .recordHeader(let rest): takeHeader(input[index], rest: rest)
      case .body(let rest):
        if recordType == Self.handshake { takeHandshake(input[index]) }
        if case .done = position { return }
        position = rest > 1 ? .body(rest: rest - 1) : Self.nextRecord
      case .done where firstCount == Self.recordHeaderByteCount: return
      case .done: continue
      }
    }
  }

  /// After the version is negotiated as TLS 1.2, no second ClientHello can come.
  mutating func end() { position = .done }

  private static let nextRecord = Position.recordHeader(rest: recordHeaderByteCount)

  private mutating func takeHeader(_ byte: UInt8, rest: Int) {
    if rest == Self.recordHeaderByteCount {
      recordType = byte
      recordByteCount = 0
      // After a HelloRetryRequest, OpenSSL skips records of early data before the second
      // ClientHello. With any other type, the client does not use TLS.
      switch byte {
      case Self.handshake, Self.changeCipherSpec, Self.alert, Self.applicationData: break
      default: return end()
      }
    }
    if rest <= 2 { recordByteCount = recordByteCount << 8 | Int(byte) }
    if rest > 1 {
      position = .recordHeader(rest: rest - 1)
      return
    }
    // OpenSSL refuses a record that is longer, before it looks at messages.
    let isRefused =
      recordByteCount
      > (recordType == Self.handshake ? Self.plaintextByteCountMax : Self.recordByteCountMax)
    if isRefused { return end() }
    position = recordByteCount > 0 ? .body(rest: recordByteCount) : Self.nextRecord
  }

  private mutating func takeHandshake(_ byte: UInt8) {
    if messageRest > 0 {
      messageRest -= 1
      return
    }
    messageHeader = messageHeader << 8 | UInt32(byte)
    messageHeaderCount += 1
    guard messageHeaderCount == Self.messageHeaderByteCount else { return }
    messageHeaderCount = 0
    messageRest = Int(messageHeader & 0xFF_FFFF)
    // For other messages OpenSSL expects less, and refuses more before it allocates memory.
    guard UInt8(truncatingIfNeeded: messageHeader >> 24) == Self.clientHello else { return end() }
    if messageRest > Self.messageByteCountMax {
      isTooLong = true
      end()
    }
  }

  /// HTTP methods that OpenSSL does not recognise: it recognises GET, HEAD, POST, PUT and CONNECT.
  var isRequestLine: Bool {
    switch firstBytes {
    case 0x44_454C_4554: true  // DELET
    case 0x4F_5054_494F: true  // OPTIO
    case 0x50_4154_4348: true  // PATCH
    case 0x54_5241_4345: true  // TRACE
    default: false
    }
  }
}
