// What a request parser may put up with when a listener asks it to, and which names never.
//
// A reason is tolerable when its repair leaves no two readings of where the message ends: neither
// whoever sent the head on to us nor whoever gets it from us can see another boundary than we do.
// The repair is made in the head, so that what comes out of a tolerant parser is what a strict one
// would have taken. Everything else about line ends, the request line, Host, Transfer-Encoding and
// chunks stays refused in every mode, and trailers are always read strictly. docs/SECURITY.md tells
// operators about it.

import HTTP
import Primitives

extension HTTP1Error {
  /// The reasons that can be put up with.
  public static let tolerable: [HTTP1Error] = [
    // RFC 9112 6.3 rule 5: the same length several times becomes one.
    .repeatedContentLength,
    // RFC 9112 5.2: the fold becomes spaces.
    .obsFold,
    // RFC 9112 5.1 has the space removed in responses. For requests it demands a refusal because
    // of what it was used for: to hide a field that frames or routes.
    .spaceBeforeColon,
    // The field is left out, as many servers do.
    .badFieldName,
    // RFC 3986 2.5: what isn't ASCII is escaped, as the client should have done.
    .targetNotASCII,
  ]
}

/// The reasons that one request gave and that were put up with.
public struct ToleratedReasons: Equatable, Sendable {
  private var bits: UInt64 = 0

  public init() {}

  public var isEmpty: Bool { bits == 0 }

  public func contains(_ reason: HTTP1Error) -> Bool { bits >> UInt64(reason.rawValue) & 1 == 1 }

  public mutating func insert(_ reason: HTTP1Error) { bits |= 1 << UInt64(reason.rawValue) }
}

/// How strictly field lines are read.
enum FieldLineRules: Sendable {
  case strict
  /// Blanks before a colon are moved behind it, as RFC 9112 5.1 demands for responses.
  case response
  /// What is tolerable in a request is repaired.
  case tolerant
}

extension Span where Element == UInt8 {
  /// Could some reader, after dropping or mapping characters, take a field of this name for one
  /// that frames or routes the message? Only letters are looked at, so that no quote, blank,
  /// bracket or underscore hides a name.
  var looksLikeFraming: Bool {
    containsLetters(of: "contentlength") || containsLetters(of: "transferencoding")
      || hasLetters(of: "host") || hasLetters(of: "connection") || hasLetters(of: "upgrade")
      || hasLetters(of: "te") || hasLetters(of: "trailer") || hasLetters(of: "expect")
      || hasLetters(of: "proxyconnection") || hasLetters(of: "keepalive")
  }

  /// Whether the letters of this text are those of `word`, whatever stands between them.
  private func hasLetters(of word: StaticString) -> Bool {
    var matched = 0
    for index in 0..<count {
      let letter = self[index].lowercased
      guard letter &- 0x61 < 26 else { continue }
      if matched == word.bytes.count || letter != word.bytes[matched] { return false }
      matched += 1
    }
    return matched == word.bytes.count
  }

  /// Whether the letters of `word` follow one another somewhere, whatever stands between them.
  private func containsLetters(of word: StaticString) -> Bool {
    for start in 0..<count {
      var matched = 0
      var index = start
      while index < count && matched < word.bytes.count {
        let letter = self[index].lowercased
        index += 1
        guard letter &- 0x61 < 26 else { continue }
        if letter != word.bytes[matched] { break }
        matched += 1
      }
      if matched == word.bytes.count { return true }
    }
    return false
  }
}
