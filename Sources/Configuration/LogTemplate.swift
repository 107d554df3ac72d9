// An access log format written by the operator: text with `$names`.
//
// The names are those of the JSON format. The syntax is nginx's: `$status`, `${status}` if a letter
// follows, `$$` for a dollar.

extension Configuration {
  /// The parts of a line of the access log.
  public struct LogTemplate: Hashable, Sendable {
    public enum Part: Hashable, Sendable {
      case text(String)
      case field(Field)
    }

    /// The values of an exchange that a line can contain.
    public enum Field: String, CaseIterable, Sendable {
      case time
      /// In nginx's form: 02/Jan/2026:03:04:05 +0000.
      case timeLocal = "time_local"
      case listener, client
      case clientPort = "client_port"
      /// The proxy that has connected, if a header of the PROXY protocol named the client.
      case proxy
      case route, pool
      /// What it is, if it is no request.
      case kind
      case method, host, target, version
      /// Method, target and version, as in the request line.
      case request
      case status
      case grpcStatus = "grpc_status"
      case failure, reason, received, sent, ms
      case connect = "connect_ms"
      case firstByte = "first_byte_ms"
      case queued = "queued_ms"
      /// Why a retry was not made.
      case retry
      case tls, cipher, resumed, sni
      case userAgent = "user_agent"
      case referer
      case requestID = "request_id"
      case traceID = "trace_id"
      /// Of the last attempt.
      case backend
      /// The number of attempts.
      case attempts
      /// How many exchanges the line represents.
      case sample
    }

    /// As it was written.
    public let source: String
    public let parts: [Part]

    /// The `combined` format of Apache and nginx. The user name is not logged: the second `-`.
    public static let combined = LogTemplate(
      source: "combined",
      parts: [
        .field(.client), .text(" - - ["), .field(.timeLocal), .text("] \""), .field(.request),
        .text("\" "), .field(.status), .text(" "), .field(.sent), .text(" \""), .field(.referer),
        .text("\" \""), .field(.userAgent), .text("\""),
      ])
  }
}

extension Configuration.LogTemplate {
  /// What is wrong with a template, and where: a position in its UTF-8.
  struct Mistake: Error, Equatable {
    let offset: Int
    let message: String
    var suggestion: String?
  }

  /// Reads a template.
  init(_ source: String) throws(Mistake) {
    let bytes = Array(source.utf8)
    var parts: [Part] = []
    var text: [UInt8] = []
    var index = 0
    while index < bytes.count {
      guard bytes[index] == UInt8(ascii: "$") else {
        if bytes[index] < 0x20 || bytes[index] == 0x7F {
          throw Mistake(offset: index, message: "control characters are not allowed in a log line")
        }
        text.append(bytes[index])
        index += 1
        continue
      }
      let dollar = index
      index += 1
      if index < bytes.count && bytes[index] == UInt8(ascii: "$") {
        text.append(bytes[index])
        index += 1
        continue
      }
      let isBraced = index < bytes.count && bytes[index] == UInt8(ascii: "{")
      if isBraced { index += 1 }
      let start = index
      while index < bytes.count && Self.isOfName(bytes[index]) { index += 1 }
      let name = String(decoding: bytes[start..<index], as: UTF8.self)
      if isBraced {
        guard index < bytes.count && bytes[index] == UInt8(ascii: "}") else {
          throw Mistake(offset: dollar, message: "the brace after the $ is not closed")
        }
        index += 1
      }
      guard let field = Field(rawValue: name) else {
        throw Self.unknown(name, at: dollar)
      }
      if !text.isEmpty { parts.append(.text(String(decoding: text, as: UTF8.self))) }
      text = []
      parts.append(.field(field))
    }
    if !text.isEmpty { parts.append(.text(String(decoding: text, as: UTF8.self))) }
    self.init(source: source, parts: parts)
  }

  private static func unknown(_ name: String, at offset: Int) -> Mistake {
    let known = Field.allCases.map(\.rawValue)
    if name.isEmpty {
      return Mistake(
        offset: offset, message: "a name is missing after the $; write a dollar as $$")
    }
    return Mistake(
      offset: offset,
      message: "there is no $\(name); known names: "
        + known.map { "$" + $0 }.joined(separator: ", "),
      suggestion: nearestName(to: name, among: known).map { "$" + $0 })
  }

  private static func isOfName(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
      true
    default: false
    }
  }
}
