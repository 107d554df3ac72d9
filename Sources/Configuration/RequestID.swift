// Whether requests get an id, and who is told.

extension Configuration {
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
