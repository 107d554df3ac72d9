// The form of an error response: HTML for browsers, JSON for programs that ask for it, otherwise
// plain text.

public import HTTP

public enum ErrorForm: Sendable {
  case text, html
  /// Problem details (RFC 9457). A client that only asks for JSON gets them too, because they are
  /// JSON.
  case problem

  /// The form that Accept prefers. JSON and HTML are sent only if Accept names their types. Plain
  /// text is sent for `*/*`, which command-line clients send, and to clients that accept none of
  /// the three.
  public init(accepting fields: borrowing FieldBlock) {
    self = .text
    guard fields.contains(.accept) else { return }
    var weight = max(
      fields.weight(accepting: "text/plain"), fields.weight(accepting: "text/*"),
      fields.weight(accepting: "*/*"))
    // At equal weight the later one wins.
    for (form, offered) in [
      (.problem, fields.weight(accepting: "application/json")),
      (.problem, fields.weight(accepting: "application/problem+json")),
      (.html, fields.weight(accepting: "text/html")),
    ] as [(ErrorForm, Int)] where offered > 0 && offered >= weight {
      self = form
      weight = offered
    }
  }

  var contentType: StaticString {
    switch self {
    case .text: "text/plain; charset=utf-8"
    case .html: "text/html; charset=utf-8"
    case .problem: "application/problem+json"
    }
  }
}
