// What a parser may tolerate when a listener (requests) or a pool (responses) enables it, and which
// field names are never tolerated.
//
// An error is tolerable if, after its repair, the message has only one possible end: neither the
// sender nor the recipient can find another one than we do. The repair changes the head, so a
// tolerant parser returns what a strict one would accept. In requests, every other error in line
// ends, request line, Host, Transfer-Encoding and chunks is refused in every mode. Responses
// tolerate a few of these, because no third party reads the same bytes after us. Trailers are
// always parsed strictly. docs/SECURITY.md describes this for operators.

import HTTP
import Primitives

extension HTTP1Error {
  /// The errors that can be tolerated in a request.
  public static let tolerable: [HTTP1Error] = [
    // RFC 9112 6.3 rule 5: several identical lengths become one.
    .repeatedContentLength,
    // RFC 9112 5.2: the fold becomes spaces.
    .obsFold,
    // RFC 9112 5.1 says to remove the space in responses. In requests it asks for a refusal,
    // because the space was used to hide framing and routing fields from one of two servers.
    .spaceBeforeColon,
    // The field is dropped, as many servers do.
    .badFieldName,
    // RFC 3986 2.5: non-ASCII bytes are escaped, as the client should have done.
    .targetNotASCII,
  ]

  /// The errors that can be tolerated in a response.
  public static let tolerableInResponses: [HTTP1Error] = [
    .obsFold, .badFieldName,
    // The line is dropped. Without a colon it is no field, so it can't change the framing.
    .missingColon,
    // RFC 9112 2.2 allows a recipient to accept LF as a line end. Only if all lines of the head end
    // so: in a head with both kinds, LF could be part of a value.
    .bareLineFeed,
    // Once or twice, the outermost coding is chunked, and only that delimits the message.
    .repeatedChunked,
    // RFC 2616 3.6: "identity" is no coding at all. Without a length, the body ends with the
    // connection either way (RFC 9112 6.3 rules 4 and 8). With a length the two readings would
    // differ, so that stays refused.
    .identityCoding,
    // The size is the same. Some old servers pad it.
    .blankAfterChunkSize,
  ]
}

/// How strictly responses are parsed.
public enum ResponseRules: Equatable, Sendable {
  case strict
  /// Tolerable errors are repaired.
  case tolerant
}

/// The tolerated errors of one message.
public struct ToleratedReasons: Equatable, Sendable {
  private var bits: UInt64 = 0

  public init() {}

  public var isEmpty: Bool { bits == 0 }

  public func contains(_ reason: HTTP1Error) -> Bool { bits >> UInt64(reason.rawValue) & 1 == 1 }

  public mutating func insert(_ reason: HTTP1Error) { bits |= 1 << UInt64(reason.rawValue) }

  public mutating func formUnion(_ others: ToleratedReasons) { bits |= others.bits }

  /// The errors that are not in `others`.
  public func subtracting(_ others: ToleratedReasons) -> ToleratedReasons {
    var rest = self
    rest.bits &= ~others.bits
    return rest
  }
}

/// How strictly field lines are parsed.
enum FieldLineRules: Sendable {
  case strict
  /// Blanks before a colon are removed, as RFC 9112 5.1 requires for responses.
  case response
  /// Errors that are tolerable in a request are repaired.
  case tolerant
  /// As `response`; in addition, errors that are tolerable in a response are repaired.
  case tolerantResponse

  init(_ rules: ResponseRules) { self = rules == .tolerant ? .tolerantResponse : .response }

  var repairs: Bool { self == .tolerant || self == .tolerantResponse }
  var isForResponses: Bool { self == .response || self == .tolerantResponse }
}

extension Span where Element == UInt8 {
  /// Whether a server that drops or maps characters could take this name for a framing or routing
  /// field. Only letters are compared, so that quotes, blanks, brackets or underscores can't hide a
  /// name.
  var looksLikeFraming: Bool {
    var letters = InlineArray<16, UInt8>(repeating: 0)
    var count = 0
    var length = WordMatch("contentlength")
    var coding = WordMatch("transferencoding")
    // A single pass, since a name may be as long as a head.
    for index in 0..<self.count {
      let letter = self[index].lowercased
      guard letter &- 0x61 < 26 else { continue }
      if length.take(letter) || coding.take(letter) { return true }
      if count < 16 { letters[count] = letter }
      count += 1
    }
    if count > 16 { return false }
    let name = letters.span.extracting(first: count)
    return name.equals(("host" as StaticString).bytes)
      || name.equals(("connection" as StaticString).bytes)
      || name.equals(("upgrade" as StaticString).bytes)
      || name.equals(("te" as StaticString).bytes)
      || name.equals(("trailer" as StaticString).bytes)
      || name.equals(("expect" as StaticString).bytes)
      || name.equals(("proxyconnection" as StaticString).bytes)
      || name.equals(("keepalive" as StaticString).bytes)
  }
}

/// Searches for a word in a stream of letters. Its first letter must not occur again in the word:
/// then, after a mismatch, a new match can only begin at the current letter.
private struct WordMatch {
  private let word: StaticString
  private var matched = 0

  init(_ word: StaticString) { self.word = word }

  /// Returns true at the end of the word.
  mutating func take(_ letter: UInt8) -> Bool {
    if letter != word.bytes[matched] { matched = 0 }
    if letter == word.bytes[matched] { matched += 1 }
    return matched == word.bytes.count
  }
}
