// What is told about a request: whether it gets an id, and in which field trusted proxies say who
// sent it.

extension Configuration {
  /// The field in which trusted proxies say for whom they speak.
  public enum ForwardingField: String, Choice {
    case xForwardedFor = "x-forwarded-for"
    case forwarded
    case both
    static var noun: String { "a forwarding field" }
  }

  /// What becomes of X-Request-ID.
  public enum RequestID: String, Choice {
    /// The backend and the log get it.
    case forward
    /// The client gets it as well, in the answer.
    case `return`
    case off
    static var noun: String { "a way to treat request ids" }
  }
}
