// Error pages of the operator, which replace Martlet's own.
//
// A page is split at its placeholders when it is read, so that an answer only appends pieces. The
// request's id comes from outside, so it is escaped for the page's type. Error responses of
// backends are not replaced.

import Primitives

public struct ErrorPage: Sendable {
  public enum Kind: Sendable {
    case html, text, json, xml

    var contentType: StaticString {
      switch self {
      case .html: ErrorForm.html.contentType
      case .text: ErrorForm.text.contentType
      // A page of the operator may have any structure, so it does not count as problem details.
      case .json: "application/json"
      case .xml: "application/xml"
      }
    }
  }

  /// The values that a page can contain, by their name between braces. Other braces are plain text.
  enum Placeholder: String, CaseIterable {
    case status, reason, message
    case requestID = "request-id"
  }

  private enum Piece {
    case text([UInt8])
    case placeholder(Placeholder)
  }

  public let kind: Kind
  private var pieces: [Piece] = []

  /// The limit keeps a page from turning long ids into very large answers.
  public static let placeholderMax = 32

  /// Nil with more than `placeholderMax` placeholders.
  public init?(_ template: [UInt8], kind: Kind) {
    self.kind = kind
    var textStart = 0
    var index = 0
    while index < template.count {
      guard template[index] == 0x7B,
        let placeholder = Placeholder.allCases.first(where: {
          template[(index + 1)...].starts(with: Array("\($0.rawValue)}".utf8))
        })
      else {
        index += 1
        continue
      }
      if index > textStart { pieces.append(.text(Array(template[textStart..<index]))) }
      pieces.append(.placeholder(placeholder))
      index += placeholder.rawValue.utf8.count + 2
      textStart = index
    }
    if textStart < template.count { pieces.append(.text(Array(template[textStart...]))) }
    let placeholderCount = pieces.count { if case .placeholder = $0 { true } else { false } }
    if placeholderCount > Self.placeholderMax { return nil }
  }

  /// Appends the page. An unknown id becomes `-`, as in the log.
  func write(status: UInt16, requestID: [UInt8], to output: inout ByteBuffer) {
    for piece in pieces {
      switch piece {
      case .text(let text): output.append(text.span)
      case .placeholder(.status): output.append(decimal: UInt64(status))
      case .placeholder(.reason): output.append(errorReason(status))
      case .placeholder(.message): output.append(errorMessage(status))
      case .placeholder(.requestID):
        if requestID.isEmpty { output.append("-") } else { output.append(requestID, in: kind) }
      }
    }
  }
}

extension ByteBuffer {
  /// Appends visible ASCII, escaped for a page of this kind.
  mutating func append(_ text: [UInt8], in kind: ErrorPage.Kind) {
    for byte in text {
      switch (kind, byte) {
      case (.html, 0x22), (.xml, 0x22): append("&quot;")
      case (.html, 0x26), (.xml, 0x26): append("&amp;")
      case (.html, 0x27), (.xml, 0x27): append("&#39;")
      case (.html, 0x3C), (.xml, 0x3C): append("&lt;")
      case (.html, 0x3E), (.xml, 0x3E): append("&gt;")
      case (.json, 0x22): append("\\\"")
      case (.json, 0x5C): append("\\\\")
      default: append(byte)
      }
    }
  }
}

/// The pages by status; the most specific setting comes first.
public struct ErrorPages: Sendable {
  private var pages: [(statuses: ClosedRange<UInt16>, page: ErrorPage)] = []

  public init() {}

  /// These pages, then those of `outer` for statuses without one.
  public init(
    _ pages: [(statuses: ClosedRange<UInt16>, page: ErrorPage)], over outer: ErrorPages
  ) {
    // A page for one status takes precedence over a page for its class.
    self.pages = pages.filter { $0.statuses.count == 1 } + pages.filter { $0.statuses.count > 1 }
    self.pages += outer.pages
  }

  /// Clients that ask for JSON get no custom page, since they could not parse it.
  func page(for status: UInt16, in form: ErrorForm) -> ErrorPage? {
    guard let page = pages.first(where: { $0.statuses.contains(status) })?.page else { return nil }
    switch (form, page.kind) {
    case (.text, _), (.html, _), (_, .json): return page
    case (.problem, _): return nil
    }
  }
}
