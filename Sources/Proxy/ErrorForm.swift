// In which form an error is told: to people as a page, to programs as JSON, to everybody else as
// plain text.

public import HTTP

public enum ErrorForm: Sendable {
  case text, html
  /// Problem details as in RFC 9457, also for a client that only asks for JSON: they are JSON.
  case problem

  /// What Accept would rather have. Only what it names itself is sent: `*/*`, as command-line
  /// clients say it, gets plain text, and so does whoever takes none of the others.
  public init(accepting fields: borrowing FieldBlock) {
    self = .text
    guard fields.contains(.accept) else { return }
    var weight = max(
      fields.weight(accepting: "text/plain"), fields.weight(accepting: "text/*"),
      fields.weight(accepting: "*/*"))
    // Of two that are as welcome the later one wins.
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
