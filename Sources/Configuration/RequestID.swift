// Request IDs, and the field in which trusted proxies send the client address.

extension Configuration {
  /// The field in which trusted proxies send the client address.
  public enum ForwardingField: String, Choice {
    case xForwardedFor = "x-forwarded-for"
    case forwarded
    case both
    static var noun: String { "a forwarding field" }
  }

  /// How to handle X-Request-ID.
  public enum RequestID: String, Choice {
    /// Send it to the backend, and log it.
    case forward
    /// Also send it to the client in the response.
    case `return`
    case off
    static var noun: String { "a request ID mode" }
  }
}
