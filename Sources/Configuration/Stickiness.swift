// Sticky sessions: the name and the attributes of the cookie.

public import Primitives

extension Configuration {
  /// A pool's cookie.
  public struct Stickiness: Hashable, Sendable {
    /// When the cookie has the Secure attribute.
    public enum Secure: String, Choice {
      case automatic = "auto"
      case always, never
      static var noun: String { "a value of secure" }
    }

    /// Whether browsers send the cookie with requests from other sites.
    public enum SameSite: String, Choice {
      case lax, strict, none
      static var noun: String { "a value of same-site" }
    }

    public var cookie: String
    /// The secret of the hash that identifies a backend; nil for a random one.
    public var key: String?
    public var path = "/"
    public var domain: String?
    /// Nil for a session cookie.
    public var maxAge: TimeSpan?
    public var sameSite = SameSite.lax
    public var secure = Secure.automatic
    public var isHTTPOnly = true

    public init(cookie: String) { self.cookie = cookie }

    /// The attributes after the cookie's value, except Secure (RFC 6265 4.1.1).
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
    Sticky sessions: a cookie keeps a client on its backend. Its value is a keyed hash, which does \
    not reveal the backend's address. While the backend is down or full, another one serves the \
    client, and Martlet sets the cookie again. For a client without the cookie, the pool's \
    strategy selects the backend. If you set only `cookie`, you can write it as a string instead \
    of an object.
    """
  static let keys: [Key<Self>] = [
    Key(
      "cookie", \.cookie, .cookieName, required: true,
      "Name of the cookie. Pools with the same host and path need different names."),
    Key(
      "key", optional: \.key, .text(maxByteCount: 256, example: "a long secret"),
      "Secret of the keyed hash. With the same secret, several Martlet instances accept each "
        + "other's cookies, and cookies stay valid after a restart. Default: a random secret per "
        + "process."),
    Key("path", \.path, .path, "Path attribute of the cookie."),
    Key(
      "domain", optional: \.domain, .hostName,
      "Domain attribute of the cookie. It includes all subdomains. Default: only the requested "
        + "host."),
    Key(
      "max-age", optional: \.maxAge, .duration(.seconds(1) ... .seconds(400 * 86_400)),
      "How long the browser keeps the cookie. Default: until the browser is closed."),
    Key(
      "same-site", \.sameSite, .choice,
      "SameSite attribute: whether browsers send the cookie with requests that come from other "
        + "sites. `none` requires HTTPS."),
    Key(
      "secure", \.secure, .choice,
      "Secure attribute: whether browsers send the cookie over HTTPS only. `auto`: yes, if the "
        + "client used HTTPS to reach Martlet or a trusted proxy. `always`: yes; use it behind a "
        + "proxy that terminates TLS and is not in `trusted-proxies`. `never`: no."),
    Key(
      "http-only", \.isHTTPOnly, .flag,
      "HttpOnly attribute: scripts in the page can't read the cookie."),
  ]
}
