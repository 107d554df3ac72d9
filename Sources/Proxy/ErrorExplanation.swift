// The body of an error response: the status, a sentence for the user, and the request's id. With
// the id, the operator finds the log line with the cause. The body contains no cause and no backend
// address, since those are not for clients.

public import HTTP
public import Primitives

public struct ErrorExplanation {
  private let status: UInt16
  private let form: ErrorForm
  private let page: ErrorPage?
  private let requestID: [UInt8]

  /// - Parameter requestID: empty when there is none. It may come from the client, so it is left
  ///   out unless it is short and consists of visible characters.
  public init(of status: UInt16, in form: ErrorForm, pages: ErrorPages, requestID: [UInt8]) {
    self.status = status
    self.form = form
    page = pages.page(for: status, in: form)
    self.requestID = requestID.span.isRequestID ? requestID : []
  }

  /// Appends the body to `body`, and the fields that describe it to `head`.
  public func write(to head: inout ResponseHead, body: inout ByteBuffer) {
    head.fields.append(.contentType, page?.kind.contentType ?? form.contentType)
    // The body contains this request's id, so it must not be cached.
    head.fields.append(.cacheControl, "no-store")
    head.fields.append(.vary, "Accept")
    if let page { return page.write(status: status, requestID: requestID, to: &body) }
    switch form {
    case .text: writeText(to: &body)
    case .html: writeHTML(to: &body)
    case .problem: writeJSON(to: &body)
    }
  }

  private func writeText(to output: inout ByteBuffer) {
    writeTitle(to: &output)
    output.append("\n")
    output.append(errorMessage(status))
    output.append("\n")
    if requestID.isEmpty { return }
    output.append("Request ")
    output.append(requestID.span)
    output.append("\n")
  }

  /// Problem details (RFC 9457). The type is left out: the default, `about:blank`, says that the
  /// status has the whole meaning.
  private func writeJSON(to output: inout ByteBuffer) {
    output.append("{\"title\":\"")
    output.append(errorReason(status))
    output.append("\",\"status\":")
    output.append(decimal: UInt64(status))
    output.append(",\"detail\":\"")
    output.append(errorMessage(status))
    if !requestID.isEmpty {
      output.append("\",\"request_id\":\"")
      output.append(requestID, in: .json)
    }
    output.append("\"}\n")
  }

  /// Self-contained: anything it would load might fail for the same reason.
  private func writeHTML(to output: inout ByteBuffer) {
    output.append(
      """
      <!DOCTYPE html>
      <html lang="en">
      <head>
      <meta charset="utf-8">
      <meta name="viewport" content="width=device-width, initial-scale=1">
      <meta name="robots" content="noindex">
      <title>
      """)
    writeTitle(to: &output)
    output.append(
      """
      </title>
      <style>
      :root { color-scheme: light dark; --ink: #1d2733; --faint: #5c6875; --line: #d5dbe1;
        --paper: #f6f7f9; --accent: #1f5fa8 }
      @media (prefers-color-scheme: dark) {
        :root { --ink: #e4e9ee; --faint: #98a4b0; --line: #333d48; --paper: #151a20;
          --accent: #7fb2ea }
      }
      body { margin: 0; min-height: 100vh; display: grid; place-items: center;
        background: var(--paper); color: var(--ink);
        font: 1.0625rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif }
      main { box-sizing: border-box; width: 100%; max-width: 34rem; padding: 2rem 1.5rem }
      h1 { margin: 0; font-size: 1.375rem; font-weight: 600; line-height: 1.3 }
      h1 b { display: block; font-size: 4rem; font-weight: 700; line-height: 1.1;
        color: var(--accent); font-variant-numeric: tabular-nums }
      p { margin: .75rem 0 0 }
      .id { margin-top: 2rem; padding-top: 1rem; border-top: 1px solid var(--line);
        font-size: .875rem; color: var(--faint) }
      code { font: .8125rem/1.5 ui-monospace, Menlo, Consolas, monospace; color: var(--ink);
        overflow-wrap: anywhere }
      </style>
      </head>
      <body>
      <main>
      <h1><b>
      """)
    output.append(decimal: UInt64(status))
    output.append("</b> ")
    output.append(errorReason(status))
    output.append("</h1>\n<p>")
    output.append(errorMessage(status))
    output.append("</p>\n")
    if !requestID.isEmpty {
      output.append("<p class=\"id\">If you report this, please name the request:<br><code>")
      output.append(requestID, in: .html)
      output.append("</code></p>\n")
    }
    output.append("</main>\n</body>\n</html>\n")
  }

  private func writeTitle(to output: inout ByteBuffer) {
    output.append(decimal: UInt64(status))
    output.append(" ")
    output.append(errorReason(status))
  }
}

func errorReason(_ status: UInt16) -> StaticString {
  let phrase = reasonPhrase(status)
  return phrase.utf8CodeUnitCount == 0 ? "Error" : phrase
}

/// A sentence for a site's visitors. It contains nothing that has to be escaped in any form.
func errorMessage(_ status: UInt16) -> StaticString {
  switch status {
  case 400: "The request was not understood."
  case 403: "This is not open to you."
  case 404: "There is nothing at this address."
  case 408: "The request took too long to arrive. Please try again."
  case 413: "What was sent is larger than this site accepts."
  case 414: "The address is longer than this site accepts."
  case 417: "The request expects something that this site does not offer."
  case 421: "The site that was asked for is not served here. Please try again."
  case 429: "There were too many requests in a short time. Please wait a moment and try again."
  case 431:
    "The request has a larger header than this site accepts. Deleting its cookies may help."
  case 501: "This site does not offer what the request asks for."
  case 502, 500: "The site is not working as it should. Please try again in a few minutes."
  case 503: "The site is not available at the moment. Please try again in a few minutes."
  case 504: "The site took too long to answer. Please try again in a few minutes."
  case 505: "This version of HTTP is not spoken here."
  default:
    status < 500
      ? "The request cannot be answered as it is."
      : "The site is not working as it should. Please try again in a few minutes."
  }
}
