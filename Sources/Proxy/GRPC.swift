// gRPC over HTTP/2 (grpc/doc/PROTOCOL-HTTP2.md): which requests are calls, their method and their
// deadline, and how clients learn of an error of Martlet's own.
//
// Everything else about gRPC is HTTP/2: streams, trailers, flow control.

import Balancing
public import HTTP
public import Primitives

extension RequestHead {
  /// Whether this is a call of gRPC: its messages are a stream, and its result is in the trailers.
  public var isGRPC: Bool {
    guard version == .http2, method == .post, let type = fields.first(.contentType) else {
      return false
    }
    // Also application/grpc+proto and the like, but not application/grpc-web (PROTOCOL-WEB.md).
    return bytes(of: type).isMediaType("application/grpc")
  }
}

extension Span<UInt8> {
  /// Whether a Content-Type has this name, in any case (RFC 9110 8.3.1), with or without a suffix
  /// or parameters.
  func isMediaType(_ name: StaticString) -> Bool {
    let wanted = name.bytes
    guard count >= wanted.count, extracting(first: wanted.count).equalsIgnoringCase(wanted) else {
      return false
    }
    return count == wanted.count || [0x2B, 0x3B, 0x20, 0x09].contains(self[wanted.count])
  }
}

// MARK: - Status

/// The statuses of gRPC (grpc/doc/statuscodes.md).
public enum GRPCStatus {
  /// By code, as the configuration, the metrics and the documentation spell them.
  public static let names: [StaticString] = [
    "ok", "cancelled", "unknown", "invalid-argument", "deadline-exceeded", "not-found",
    "already-exists", "permission-denied", "resource-exhausted", "failed-precondition", "aborted",
    "out-of-range", "unimplemented", "internal", "unavailable", "data-loss", "unauthenticated",
  ]
  public static let ok: UInt8 = 0
  public static let cancelled: UInt8 = 1
  public static let deadlineExceeded: UInt8 = 4

  /// What stands for an HTTP status that no server of gRPC has sent. It is the mapping that clients
  /// use themselves (grpc/doc/http-grpc-status-mapping.md), except that Martlet's own timeouts are
  /// deadlines.
  public static func code(forHTTP status: UInt16) -> UInt8 {
    switch status {
    case 400, 431: 13
    case 401: 16
    case 403: 7
    case 404: 12
    case 429, 502, 503: 14
    case 408, 504: 4
    default: 2
    }
  }

  /// The status of a call that has ended with this failure, or with this status of HTTP.
  public static func code(of failure: ExchangeFailure?, http status: UInt16) -> UInt8 {
    if case .upstream(.grpcStatus(let code))? = failure { return code }
    return code(forHTTP: status)
  }

  /// Whether a span with this status is an error of the server (OpenTelemetry's conventions).
  public static func isServerError(_ code: UInt8) -> Bool {
    switch code {
    case 2, 4, 12, 13, 14, 15: true
    default: false
    }
  }
}

extension FieldBlock {
  /// The value of grpc-status, 0 to 16 and possibly more; nil if there is none.
  public var grpcStatus: UInt8? {
    guard let value = first(named: ("grpc-status" as StaticString).bytes) else { return nil }
    return bytes(of: value).decimalValue.flatMap { UInt8(exactly: $0) }
  }

  /// Whether the server lets the call be tried again at once (gRPC A6, Pushback). It may say after
  /// how many milliseconds, and a negative or invalid number means never. Martlet doesn't wait.
  public var allowsGRPCRetry: Bool {
    guard let value = first(named: ("grpc-retry-pushback-ms" as StaticString).bytes) else {
      return true
    }
    return bytes(of: value).decimalValue == 0
  }

  /// Appends the status of a call that has failed here.
  public mutating func appendGRPCStatus(_ code: UInt8, _ message: GRPCMessage) {
    var text = ByteBuffer(capacity: 256)
    text.append(decimal: UInt64(code))
    _ = append(name: ("grpc-status" as StaticString).bytes, value: text.bytes)
    text.removeAll()
    message.write(to: &text)
    _ = append(name: ("grpc-message" as StaticString).bytes, value: text.bytes)
  }
}

extension ResponseHead {
  /// Turns an error into a response without a body that has the status of gRPC (Trailers-Only).
  ///
  /// - Parameter web: the form of gRPC-Web that the client uses; nil for gRPC itself.
  public mutating func becomeGRPCError(_ code: UInt8, _ message: GRPCMessage, _ web: GRPCWeb?) {
    self.status = 200
    fields.removeAll(of: .contentType)
    fields.append(.contentType, "application/grpc")
    if let web { _ = becomeGRPCWeb(web) }
    fields.appendGRPCStatus(code, message)
  }
}

// MARK: - Messages

/// Follows a body of gRPC from message to message: each has a flag, four bytes of length, and its
/// bytes.
public struct GRPCMessages: Equatable, Sendable {
  private static let prefixByteCount = 5
  /// How much of the prefix of a message has come; the whole one while its bytes come.
  private var prefixCount = 0
  private var length: UInt32 = 0
  /// Bytes of the message that are still to come.
  private var rest = 0

  public init() {}

  public var isBetweenMessages: Bool { prefixCount == 0 }

  public mutating func take(_ bytes: Span<UInt8>) {
    var place = 0
    while place < bytes.count {
      if prefixCount < Self.prefixByteCount {
        if prefixCount > 0 { length = length << 8 | UInt32(bytes[place]) }
        prefixCount += 1
        place += 1
        if prefixCount == Self.prefixByteCount { rest = Int(length) }
      } else {
        let count = min(rest, bytes.count - place)
        rest -= count
        place += count
      }
      if prefixCount == Self.prefixByteCount && rest == 0 { self = GRPCMessages() }
    }
  }
}

// MARK: - Deadline

/// The time that the client gives a call in grpc-timeout.
public enum GRPCTimeout: Equatable, Sendable {
  case none
  case after(TimeSpan)
  /// It has no valid value, or several.
  case malformed

  private static var name: StaticString { "grpc-timeout" }

  public init(_ fields: borrowing FieldBlock) {
    self = .none
    for index in 0..<fields.count {
      let field = fields[index]
      guard !field.isRemoved, field.known == nil,
        fields.bytes(of: field.name).equalsIgnoringCase(Self.name.bytes)
      else { continue }
      guard self == .none, let time = TimeSpan(grpcTimeout: fields.bytes(of: field.value)) else {
        self = .malformed
        return
      }
      self = .after(time)
    }
  }

  /// Says how much time is left. `scratch` is overwritten.
  public static func set(
    _ time: TimeSpan, in fields: inout FieldBlock, scratch: inout ByteBuffer
  ) {
    scratch.removeAll()
    time.writeGRPCTimeout(to: &scratch)
    fields.removeAll(named: name.bytes)
    _ = fields.append(name: name.bytes, value: scratch.bytes)
  }
}

extension TimeSpan {
  /// At most 8 digits and a unit; nil for anything else. Zero means that the time is over.
  init?(grpcTimeout text: Span<UInt8>) {
    guard (2...9).contains(text.count),
      let number = text.extracting(first: text.count - 1).decimalValue
    else { return nil }
    let count = Int64(number)
    switch text[text.count - 1] {
    case 0x48: self = .seconds(count * 3600)  // H
    case 0x4D: self = .seconds(count * 60)  // M
    case 0x53: self = .seconds(count)  // S
    case 0x6D: self = .milliseconds(count)  // m
    case 0x75: self = .microseconds(count)  // u
    case 0x6E: self = .nanoseconds(count)  // n
    default: return nil
    }
  }

  /// In the smallest unit that 8 digits allow, rounded up: Martlet ends the call itself.
  func writeGRPCTimeout(to output: inout ByteBuffer) {
    let (unit, size): (UInt8, Int64) =
      switch max(0, nanoseconds) {
      case ..<100_000_000: (0x6E, 1)
      case ..<100_000_000_000: (0x75, 1_000)
      case ..<100_000_000_000_000: (0x6D, 1_000_000)
      case ..<100_000_000_000_000_000: (0x53, 1_000_000_000)
      default: (0x48, 3_600_000_000_000)
      }
    let time = max(0, nanoseconds)
    let count = time / size + (time % size == 0 ? 0 : 1)
    output.append(decimal: UInt64(min(count, 99_999_999)))
    output.append(unit)
  }
}

// MARK: - Method

/// Which method of which service a call is for.
public struct GRPCMethod: Equatable, Sendable {
  /// In the bytes of the path.
  public let service: Range<Int>
  public let method: Range<Int>

  /// Longer paths are no method that anyone defined.
  static let byteCountMax = 200

  /// Nil unless the path is `/service/method`, of letters, digits, `_`, `.` and `-`.
  public init?(path: Span<UInt8>) {
    guard (4...Self.byteCountMax).contains(path.count), path[0] == 0x2F else { return nil }
    let slash = path.firstIndex(of: 0x2F, in: 1..<path.count)
    guard slash > 1, slash + 1 < path.count else { return nil }
    for index in 1..<path.count where index != slash && !path[index].isInGRPCName { return nil }
    service = 1..<slash
    method = (slash + 1)..<path.count
  }
}

extension UInt8 {
  fileprivate var isInGRPCName: Bool {
    switch self {
    case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x5F, 0x2E, 0x2D: true
    default: false
    }
  }
}
