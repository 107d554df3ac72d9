// A format of the access log that an operator has put together: text with `$names` in it.
//
// The names are those that a line of JSON has, so that there is one vocabulary, and the syntax is
// nginx's: `$status`, `${status}` where a letter follows, `$$` for a dollar.

extension Configuration {
  /// What a line of the access log is made of.
  public struct LogTemplate: Hashable, Sendable {
    public enum Part: Hashable, Sendable {
      case text(String)
      case field(Field)
    }

    /// What a line can say of an exchange.
    public enum Field: String, CaseIterable, Sendable {
      case time
      /// In nginx's form: 02/Jan/2026:03:04:05 +0000.
      case timeLocal = "time_local"
      case listener, client
      case clientPort = "client_port"
      case route, pool, method, host, target, version
      /// Method, target and version, as the client's first line has them.
      case request
      case status, failure, reason, received, sent, ms
      case connect = "connect_ms"
      case firstByte = "first_byte_ms"
      case queued = "queued_ms"
      case tls, cipher, sni
      case userAgent = "user_agent"
      case referer
      case requestID = "request_id"
      case traceID = "trace_id"
      /// Of the last attempt.
      case backend
      /// How many were made.
      case attempts
      /// For how many exchanges the line stands.
      case sample
    }

    /// As it was written.
    public let source: String
    public let parts: [Part]

    /// Apache's and nginx's format of this name. Who a client claims to be isn't logged, hence the
    /// second `-`.
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
          throw Mistake(offset: index, message: "a line can't hold a control character")
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
          throw Mistake(offset: dollar, message: "the brace behind the $ isn't closed")
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
        offset: offset, message: "no name follows the $; a dollar itself is written $$")
    }
    return Mistake(
      offset: offset,
      message: "there is no $\(name); there is " + known.map { "$" + $0 }.joined(separator: ", "),
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
