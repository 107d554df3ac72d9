// A client that stays with its backend by a cookie: what the cookie is called and how it is set.

public import Primitives

extension Configuration {
  /// A pool's cookie.
  public struct Stickiness: Hashable, Sendable {
    /// When the cookie is for HTTPS alone.
    public enum Secure: String, Choice {
      case automatic = "auto"
      case always, never
      static var noun: String { "a rule for Secure" }
    }

    /// Whether other sites' requests bring the cookie.
    public enum SameSite: String, Choice {
      case lax, strict, none
      static var noun: String { "a rule for SameSite" }
    }

    public var cookie: String
    /// The secret of the digest that stands for a backend; nil for one that the process draws.
    public var key: String?
    public var path = "/"
    public var domain: String?
    /// Nil for as long as the browser runs.
    public var maxAge: TimeSpan?
    public var sameSite = SameSite.lax
    public var secure = Secure.automatic
    public var isHTTPOnly = true

    public init(cookie: String) { self.cookie = cookie }

    /// What stands behind the cookie's value, Secure apart (RFC 6265 4.1.1).
    public var attributes: String {
      var text = "; Path=\(path)"
      if let domain { text += "; Domain=\(domain)" }
      if let maxAge { text += "; Max-Age=\(maxAge.milliseconds / 1000)" }
      if isHTTPOnly { text += "; HttpOnly" }
      switch sameSite {
      case .lax: return text + "; SameSite=Lax"
      case .strict: return text + "; SameSite=Strict"
      case .none: return text + "; SameSite=None"
      }
    }
  }
}

extension Configuration.Stickiness: Section {
  init() { self.init(cookie: "") }

  static let title = "stickiness"
  static let about = """
    Keeps a client with its backend by a cookie. Its value is a keyed digest that doesn't tell the \
    backend's address. While that backend is down or full another one serves, and the cookie is \
    set anew; who has no cookie is dealt out by the pool's strategy. The name alone, as text, is \
    short for an object with nothing else in it.
    """
  static let keys: [Key<Self>] = [
    Key(
      "cookie", \.cookie, .cookieName, required: true,
      "The name of the cookie. Pools that share a host and a path need different ones."),
    Key(
      "key", optional: \.key, .text(maxByteCount: 256, example: "a long secret"),
      "The secret of the digest. With one of their own, several Martlets agree about cookies, and "
        + "cookies outlive a restart; by default each process draws its own."),
    Key("path", \.path, .path, "The Path of the cookie."),
    Key(
      "domain", optional: \.domain, .hostName,
      "The Domain of the cookie, for names below it as well. By default the host alone."),
    Key(
      "max-age", optional: \.maxAge, .duration(.seconds(1) ... .seconds(400 * 86_400)),
      "How long the browser keeps the cookie; by default until it is closed."),
    Key(
      "same-site", \.sameSite, .choice,
      "Whether requests that other sites lead to bring the cookie. `none` needs HTTPS."),
    Key(
      "secure", \.secure, .choice,
      "When the cookie is kept to HTTPS: `auto` where the client came by TLS, here or as a "
        + "trusted proxy says; `always` behind any other proxy that terminates TLS."),
    Key("http-only", \.isHTTPOnly, .flag, "Keeps the cookie from scripts in the page."),
  ]
}
