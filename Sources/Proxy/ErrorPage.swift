// Pages that operators give for errors of Martlet's own, in place of its words.
//
// A page is cut into pieces when it is read, so that to answer is only to append. What comes from
// outside, the request's id, is escaped as the page's type wants it. Backends' answers are theirs,
// and never replaced.

import Primitives

public struct ErrorPage: Sendable {
  public enum Kind: Sendable {
    case html, text, json, xml

    var contentType: StaticString {
      switch self {
      case .html: ErrorForm.html.contentType
      case .text: ErrorForm.text.contentType
      // A page of the operator may have any shape, so it is no problem details.
      case .json: "application/json"
      case .xml: "application/xml"
      }
    }
  }

  /// What is put in, by its name between braces. Other braces mean nothing.
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

  /// More placeholders are no page but a way to make large answers out of long ids.
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

  /// Appends the page. An id that isn't known is `-`, as in the log.
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
  /// Appends visible ASCII, with what means something in a page of this kind escaped.
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

/// The pages by status, the nearest first.
public struct ErrorPages: Sendable {
  private var pages: [(statuses: ClosedRange<UInt16>, page: ErrorPage)] = []

  public init() {}

  /// These pages, and where they have none those of `outer`.
  public init(
    _ pages: [(statuses: ClosedRange<UInt16>, page: ErrorPage)], over outer: ErrorPages
  ) {
    // One status stands above its class.
    self.pages = pages.filter { $0.statuses.count == 1 } + pages.filter { $0.statuses.count > 1 }
    self.pages += outer.pages
  }

  /// Programs that ask for JSON can do nothing with a page for people.
  func page(for status: UInt16, in form: ErrorForm) -> ErrorPage? {
    guard let page = pages.first(where: { $0.statuses.contains(status) })?.page else { return nil }
    switch (form, page.kind) {
    case (.text, _), (.html, _), (_, .json): return page
    case (.problem, _): return nil
    }
  }
}
