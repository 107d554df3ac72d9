// Logins that a server binds to its connection: NTLM and Negotiate (RFC 4559).
//
// They break the rule that a request stands for itself (RFC 9110 3.3): whoever sends the next
// request on the connection is taken for the user who logged in. So a proxy that shares connections
// between clients must see such a login coming, by the challenge or by the credentials.

public import HTTP
import Primitives

extension RequestHead {
  /// Does it bring credentials that its connection will be known by?
  public var logsConnectionIn: Bool { fields.haveConnectionScheme(.authorization) }
}

extension ResponseHead {
  /// Does it ask for such credentials, or go on with such a login?
  public var asksForConnectionLogin: Bool {
    fields.haveConnectionScheme(.wwwAuthenticate) || fields.haveConnectionScheme(.proxyAuthenticate)
  }
}

extension FieldBlock {
  /// Whether a field of this name begins one of its elements with such a scheme (RFC 9110 11.6.1).
  /// A comma within a quoted parameter separates here too: at worst one connection is not shared.
  @inline(__always)
  fileprivate func haveConnectionScheme(_ known: KnownField) -> Bool {
    guard let index = firstIndex(of: known) else { return false }
    return haveConnectionScheme(known, from: index)
  }

  private func haveConnectionScheme(_ known: KnownField, from first: Int) -> Bool {
    var next: Int? = first
    while let index = next {
      next = nextIndex(of: known, after: index)
      var elements = ListElements(self[index].value)
      while let element = elements.next(in: self) {
        if bytes(of: element).beginsWithConnectionScheme { return true }
      }
    }
    return false
  }
}

extension Span where Element == UInt8 {
  /// NTLM, and all that begins with Nego: Negotiate, and Nego2 of Windows.
  fileprivate var beginsWithConnectionScheme: Bool {
    let scheme = extracting(first: 4)
    if scheme.equalsIgnoringCase(("nego" as StaticString).bytes) { return true }
    return scheme.equalsIgnoringCase(("ntlm" as StaticString).bytes)
      && (count == 4 || !self[4].isTokenByte)
  }
}
