// The places of the values of a document, for diagnostics after it was read: about files and names
// that it refers to.

extension Configuration {
  public struct Places: Sendable {
    /// Something outside of the document that one of its values names.
    struct Reference: Sendable {
      /// A path as the server opens it, or the host name of a backend.
      let subject: String
      let key: String
      let origin: JSON.Origin
    }

    private let source: SourceText
    private let origins: [String: JSON.Origin]
    private let references: [String: [Reference]]

    init(_ decoder: Decoder) {
      source = decoder.source
      origins = decoder.origins
      references = Dictionary(grouping: decoder.references, by: \.subject)
    }

    /// A diagnostic about the value at `key`, or at its nearest container in the text.
    public func diagnostic(
      _ severity: Diagnostic.Severity, key: String, _ message: String
    ) -> Diagnostic {
      Diagnostic(severity, at: source.place(origins.nearest(to: key)), key: key, message)
    }

    /// A diagnostic about something that values under a key called `name` refer to, at the first of
    /// them; nil if the document doesn't name it.
    public func diagnostic(
      _ severity: Diagnostic.Severity, about subject: String, namedBy name: String,
      _ message: String
    ) -> Diagnostic? {
      let found = references[subject]?.first { $0.key.isUnder(name) }
      return found.map {
        Diagnostic(severity, at: source.place($0.origin), key: $0.key, message)
      }
    }
  }
}

extension [String: JSON.Origin] {
  /// Of the value at `path`, or of the nearest container that the document has.
  func nearest(to path: String) -> JSON.Origin {
    var place = Substring(path)
    while self[String(place)] == nil && !place.isEmpty {
      place = place.lastIndex { $0 == "." || $0 == "[" }.map { place[..<$0] } ?? ""
    }
    return self[String(place)] ?? .none
  }
}

extension String {
  /// Whether `name` is one of the keys on this path.
  fileprivate func isUnder(_ name: String) -> Bool {
    split { $0 == "." || $0 == "[" || $0 == "]" }.contains { $0 == name }
  }
}
