// Sticky sessions by cookie: reads the cookies that a pool's clients send, and sets them.
//
// The value is the member's token in hexadecimal, a keyed digest that doesn't reveal the backend's
// address. Balancing maps tokens to members and decides whether a member can be used. A made-up
// value matches no member, and is replaced like an outdated one.

public import HTTP
import Primitives

public struct Stickiness: Sendable {
  /// When the cookie is restricted to HTTPS.
  public enum Secure: Sendable {
    /// If the client uses TLS, to us or to a trusted proxy.
    case automatic
    case always, never
  }

  private let name: [UInt8]
  /// Everything after the value except Secure, such as `; Path=/`.
  private let attributes: [UInt8]
  private let secure: Secure

  /// The name must be a token, and the attributes must be valid in a field (RFC 6265 4.1.1).
  public init(name: [UInt8], attributes: [UInt8], secure: Secure) {
    self.name = name
    self.attributes = attributes
    self.secure = secure
  }

  /// The tokens in a request, in order; the rest of the array is 0. A browser sends one cookie with
  /// this name for each path and domain that it was set for. After 8 tokens, the rest is ignored.
  public func tokens(in fields: borrowing FieldBlock) -> InlineArray<8, UInt64> {
    var tokens = InlineArray<8, UInt64>(repeating: 0)
    var count = 0
    var cookies = CookieValues(named: name)
    while count < tokens.count, let value = cookies.next(in: fields) {
      guard let token = Self.token(fields.bytes(of: value)), token != 0 else { continue }
      tokens[count] = token
      count += 1
    }
    return tokens
  }

  /// Adds the field that makes the client stick to the member with this token.
  public func set(_ token: UInt64, isTLS: Bool, in fields: inout FieldBlock) {
    fields.beginField(.setCookie)
    fields.appendValue(name.span)
    fields.appendValue("=")
    let digits = Self.digits(token)
    fields.appendValue(digits.span)
    fields.appendValue(attributes.span)
    switch secure {
    case .always: fields.appendValue("; Secure")
    case .automatic where isTLS: fields.appendValue("; Secure")
    case .automatic, .never: break
    }
    fields.endField()
  }

  private static func digits(_ token: UInt64) -> InlineArray<16, UInt8> {
    InlineArray { index in
      let digit = UInt8(truncatingIfNeeded: token >> UInt64(60 - 4 * index)) & 0xF
      return digit < 10 ? 0x30 + digit : 0x61 + digit - 10
    }
  }

  private static func token(_ digits: Span<UInt8>) -> UInt64? {
    if digits.count != 16 { return nil }
    var token: UInt64 = 0
    for index in 0..<digits.count {
      switch digits[index] {
      case 0x30...0x39: token = token << 4 | UInt64(digits[index] - 0x30)
      case 0x61...0x66: token = token << 4 | UInt64(digits[index] - 0x61 + 10)
      default: return nil
      }
    }
    return token
  }
}
