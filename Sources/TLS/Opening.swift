// The first bytes of a connection, looked at before OpenSSL gets them.
//
// OpenSSL makes room for a whole handshake message as soon as its header has come, 131 KB for a
// ClientHello, so that 21 bytes of a client that says no more would hold as much. So a longer
// message than clients send is refused by its header. And OpenSSL knows only some of the request
// lines by which plain HTTP is told from garbage.
//
// It walks over records (RFC 8446 5.1) and messages (RFC 8446 4) without keeping any of them. What
// a client sends under its keys has no header that could be read, and is none of its business.

import Primitives

struct Opening {
  /// The longest ClientHello that is taken, without its header: as BoringSSL has it. They have some
  /// hundred bytes, or two thousand with keys that withstand quantum computers.
  static let messageByteCountMax = 16 * 1024

  private enum Position {
    /// In the header of a record, of which so many bytes are missing.
    case recordHeader(rest: Int)
    /// In a record's body.
    case body(rest: Int)
    /// Nothing more is looked at.
    case done
  }

  private var firstBytes: UInt64 = 0
  private var firstCount = 0
  private var position = Position.recordHeader(rest: Self.recordHeaderByteCount)
  /// Of the record: its type, and its length as far as it came.
  private var recordType: UInt8 = 0
  private var recordByteCount = 0
  /// Of the message: its header as far as it came, and what is missing of its body.
  private var messageHeader: UInt32 = 0
  private var messageHeaderCount = 0
  private var messageRest = 0
  /// Has the header of a ClientHello announced more than may be?
  private(set) var isTooLong = false

  private static let recordHeaderByteCount = 5
  private static let messageHeaderByteCount = 4
  private static let handshake: UInt8 = 22
  private static let changeCipherSpec: UInt8 = 20
  private static let clientHello: UInt8 = 1

  /// Takes what has come, each byte once.
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

  /// A client whose version is settled as TLS 1.2 says no second ClientHello.
  mutating func end() { position = .done }

  private static let nextRecord = Position.recordHeader(rest: recordHeaderByteCount)

  private mutating func takeHeader(_ byte: UInt8, rest: Int) {
    if rest == Self.recordHeaderByteCount {
      recordType = byte
      recordByteCount = 0
      // With anything else the client is past its ClientHello, or speaks no TLS.
      if byte != Self.handshake && byte != Self.changeCipherSpec { return end() }
    }
    if rest <= 2 { recordByteCount = recordByteCount << 8 | Int(byte) }
    if rest > 1 {
      position = .recordHeader(rest: rest - 1)
    } else {
      position = recordByteCount > 0 ? .body(rest: recordByteCount) : Self.nextRecord
    }
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
    // Of other messages OpenSSL expects less, and refuses more before it makes room.
    guard UInt8(truncatingIfNeeded: messageHeader >> 24) == Self.clientHello else { return end() }
    if messageRest > Self.messageByteCountMax {
      isTooLong = true
      end()
    }
  }

  /// Methods of HTTP that OpenSSL doesn't know: it has GET, HEAD, POST, PUT and CONNECT.
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
