// Detects logins that a server binds to the connection: NTLM and Negotiate (RFC 4559).
//
// They violate the rule that requests are independent (RFC 9110 3.3): the server takes every later
// request on the connection for one of the user who logged in. So a proxy that shares connections
// between clients must detect such a login, by its challenge or its credentials.

public import HTTP
import Primitives

extension RequestHead {
  /// Whether the request contains credentials that the server will bind to its connection.
  public var logsConnectionIn: Bool { fields.haveConnectionScheme(.authorization) }
}

extension ResponseHead {
  /// Whether the response asks for such credentials, or continues such a login.
  public var asksForConnectionLogin: Bool {
    fields.haveConnectionScheme(.wwwAuthenticate) || fields.haveConnectionScheme(.proxyAuthenticate)
  }
}

extension FieldBlock {
  /// Whether an element of a field with this name begins with such a scheme (RFC 9110 11.6.1). A
  /// comma within a quoted parameter separates here too: at worst, one connection is not shared.
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
  /// NTLM, and everything that begins with Nego: Negotiate, and Nego2 of Windows.
  fileprivate var beginsWithConnectionScheme: Bool {
    let scheme = extracting(first: 4)
    if scheme.equalsIgnoringCase(("nego" as StaticString).bytes) { return true }
    return scheme.equalsIgnoringCase(("ntlm" as StaticString).bytes)
      && (count == 4 || !self[4].isTokenByte)
  }
}
