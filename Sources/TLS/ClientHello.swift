// The first message of a TLS client, read without answering it: the server name and the protocols
// that it asks for. For connections whose TLS is passed through to a backend.
//
// Pure. A ClientHello may be split over records, and arrives in pieces; with a post-quantum key it
// is larger than a packet. `HelloScan` finds its end and looks at each record once, and
// `ClientHello` reads the whole message once, so the work is linear in the bytes. Nothing is
// consumed: the bytes go on as they came. Who sends them is not verified.

public import Primitives

/// How far a ClientHello has arrived.
public struct HelloScan: Equatable, Sendable {
  public enum Verdict: Equatable, Sendable {
    /// More must come.
    case more
    /// The whole message is there.
    case whole
    case notTLS
    /// It is longer than `byteMax`.
    case tooBig
  }

  /// The maximum of bytes with the headers of records. Real ones have at most a few thousand.
  public static let byteMax = 16 * 1024

  private static let recordHeaderByteCount = 5
  private static let messageHeaderByteCount = 4

  /// Where the record begins that is not complete.
  private var recordStart: UInt16 = 0
  /// Bytes of the message in the records before it.
  private var messageByteCount: UInt16 = 0
  /// Of the message's body, as far as its header has arrived.
  private var bodyByteCount: UInt32 = 0

  public init() {}

  /// `bytes`: everything since the beginning of the connection. Call it again with more after
  /// `more`.
  public mutating func scan(_ bytes: Span<UInt8>) -> Verdict {
    let visible = bytes.extracting(first: min(bytes.count, Self.byteMax))
    let verdict = scanRecords(visible)
    return verdict == .more && bytes.count >= Self.byteMax ? .tooBig : verdict
  }

  private mutating func scanRecords(_ bytes: Span<UInt8>) -> Verdict {
    while true {
      let start = Int(recordStart)
      // RFC 8446 5.1: a handshake record. Its version is 3.1 or 3.3.
      if start < bytes.count && bytes[start] != 22 { return .notTLS }
      if start + 1 < bytes.count && bytes[start + 1] != 3 { return .notTLS }
      let payload = start + Self.recordHeaderByteCount
      if payload > bytes.count { return .more }
      let length = Int(bytes[start + 3]) << 8 | Int(bytes[start + 4])
      // A record without a piece of the message is not allowed.
      if length == 0 || length > 16 * 1024 { return .notTLS }
      let count = min(length, bytes.count - payload)
      guard readHeader(bytes.extracting(payload..<(payload + count))) else { return .notTLS }
      let known = Int(messageByteCount) + count
      if known >= Self.messageHeaderByteCount {
        let whole = Self.messageHeaderByteCount + Int(bodyByteCount)
        if whole > Self.byteMax { return .tooBig }
        if known >= whole { return .whole }
      }
      if count < length { return .more }
      messageByteCount += UInt16(length)
      recordStart = UInt16(payload + length)
    }
  }

  /// Reads those of the four bytes before the message's body that are in this piece (RFC 8446 4).
  private mutating func readHeader(_ piece: Span<UInt8>) -> Bool {
    for index in 0..<piece.count {
      let place = Int(messageByteCount) + index
      if place >= Self.messageHeaderByteCount { return true }
      if place == 0 {
        if piece[index] != 1 { return false }
      } else {
        bodyByteCount |= UInt32(piece[index]) << UInt32(8 * (3 - place))
      }
    }
    return true
  }
}

/// What a ClientHello says, as places in the message that `appendMessage` has written.
public struct ClientHello: Equatable, Sendable {
  /// Nil without one (RFC 6066 3).
  public private(set) var serverName: Range<Int>?
  /// The list of ALPN (RFC 7301 3.1): each name behind its length.
  public private(set) var protocols: Range<Int>?

  /// Appends the message to `output`, without the headers of its records. `bytes` must be those
  /// that the scan has called whole.
  public static func appendMessage(_ bytes: Span<UInt8>, to output: inout ByteBuffer) {
    let base = output.count
    var start = 0
    var missing: Int?
    var header = 0
    var headerCount = 0
    while start + 5 <= bytes.count, missing != 0 {
      let length = Int(bytes[start + 3]) << 8 | Int(bytes[start + 4])
      var piece = bytes.extracting((start + 5)..<min(bytes.count, start + 5 + length))
      for index in 0..<piece.count where headerCount < 4 {
        header = header << 8 | Int(piece[index])
        headerCount += 1
        if headerCount == 4 { missing = 4 + (header & 0xFF_FFFF) - (output.count - base) }
      }
      if let count = missing { piece = piece.extracting(first: min(piece.count, count)) }
      output.append(piece)
      if let count = missing { missing = count - piece.count }
      start += 5 + length
    }
  }

  /// Nil if it is malformed.
  public init?(_ message: Span<UInt8>) {
    // The header, the version and the random number.
    var reader = Reader(bytes: 0..<message.count)
    guard reader.skip(4 + 2 + 32), reader.vector(message, lengthByteCount: 1) != nil,
      reader.vector(message, lengthByteCount: 2) != nil,
      reader.vector(message, lengthByteCount: 1) != nil
    else { return nil }
    // TLS 1.2 allows a message without extensions.
    if reader.isAtEnd { return }
    guard let extensions = reader.vector(message, lengthByteCount: 2), reader.isAtEnd else {
      return nil
    }
    var list = Reader(bytes: extensions)
    while !list.isAtEnd {
      guard let kind = list.number(message, byteCount: 2),
        let content = list.vector(message, lengthByteCount: 2)
      else { return nil }
      switch kind {
      case 0 where serverName == nil:
        guard let name = Self.serverName(message, content) else { return nil }
        serverName = name
      case 16 where protocols == nil:
        var names = Reader(bytes: content)
        guard let list = names.vector(message, lengthByteCount: 2), names.isAtEnd else {
          return nil
        }
        protocols = list
      default: break
      }
    }
  }

  /// The first host name of the list.
  private static func serverName(_ message: Span<UInt8>, _ content: Range<Int>) -> Range<Int>? {
    var outer = Reader(bytes: content)
    guard let names = outer.vector(message, lengthByteCount: 2), outer.isAtEnd else { return nil }
    var list = Reader(bytes: names)
    while !list.isAtEnd {
      guard let kind = list.number(message, byteCount: 1),
        let name = list.vector(message, lengthByteCount: 2)
      else { return nil }
      if kind == 0 { return (1...255).contains(name.count) ? name : nil }
    }
    return nil
  }

  /// Whether the client offers this protocol.
  public func offers(_ name: Span<UInt8>, in message: Span<UInt8>) -> Bool {
    guard let protocols else { return false }
    var list = Reader(bytes: protocols)
    while let place = list.vector(message, lengthByteCount: 1) {
      if message.extracting(place).isSame(as: name) { return true }
    }
    return false
  }
}

/// Takes numbers and vectors (RFC 8446 3.4) from the front of a part of the message.
private struct Reader {
  private var position: Int
  private let end: Int

  init(bytes: Range<Int>) {
    position = bytes.lowerBound
    end = bytes.upperBound
  }

  var isAtEnd: Bool { position == end }

  mutating func skip(_ count: Int) -> Bool {
    guard end - position >= count else { return false }
    position += count
    return true
  }

  mutating func number(_ bytes: Span<UInt8>, byteCount: Int) -> Int? {
    guard end - position >= byteCount else { return nil }
    var number = 0
    for index in 0..<byteCount { number = number << 8 | Int(bytes[position + index]) }
    position += byteCount
    return number
  }

  mutating func vector(_ bytes: Span<UInt8>, lengthByteCount: Int) -> Range<Int>? {
    guard let count = number(bytes, byteCount: lengthByteCount), skip(count) else { return nil }
    return (position - count)..<position
  }
}

extension Span<UInt8> {
  fileprivate func isSame(as other: Span<UInt8>) -> Bool {
    guard count == other.count else { return false }
    for index in indices where self[index] != other[index] { return false }
    return true
  }
}
