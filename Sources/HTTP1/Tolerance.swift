// What a request parser may put up with when a listener asks it to, and which names never.
//
// A reason is tolerable when its repair leaves no two readings of where the message ends: neither
// whoever sent the head on to us nor whoever gets it from us can see another boundary than we do.
// The repair is made in the head, so that what comes out of a tolerant parser is what a strict one
// would have taken. Everything about line ends, the request line, Host, Transfer-Encoding and
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
    var letters = InlineArray<16, UInt8>(repeating: 0)
    var count = 0
    var length = WordMatch("contentlength")
    var coding = WordMatch("transferencoding")
    // One pass, since a name may be as long as a head.
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

/// Looks for a word among letters that come one by one. Its first letter must stand nowhere else in
/// it: then a letter that doesn't match can begin the word anew, and none before it can.
private struct WordMatch {
  private let word: StaticString
  private var matched = 0

  init(_ word: StaticString) { self.word = word }

  /// True at the end of the word.
  mutating func take(_ letter: UInt8) -> Bool {
    if letter != word.bytes[matched] { matched = 0 }
    if letter == word.bytes[matched] { matched += 1 }
    return matched == word.bytes.count
  }
}
