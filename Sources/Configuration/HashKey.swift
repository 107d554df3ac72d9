// What the strategy maglev hashes: a part of a connection or of a request.

extension Configuration {
  /// The part of a connection or a request that is hashed.
  public enum HashKey: Hashable, Sendable, CustomStringConvertible {
    case source, twoTuple, threeTuple, fiveTuple
    case header(String)
    case cookie(String)
    case query(String)

    init?(_ text: String) {
      let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
      let name = parts.count == 2 ? String(parts[1]) : ""
      switch parts[0] {
      case "source" where parts.count == 1: self = .source
      case "2-tuple" where parts.count == 1: self = .twoTuple
      case "3-tuple" where parts.count == 1: self = .threeTuple
      case "5-tuple" where parts.count == 1: self = .fiveTuple
      case "header" where isToken(name): self = .header(name)
      case "cookie" where isToken(name): self = .cookie(name)
      case "query" where Self.isParameter(name): self = .query(name)
      default: return nil
      }
    }

    /// Whether it is a part of a request, which connections of TCP listeners don't have.
    var needsRequest: Bool {
      switch self {
      case .source, .twoTuple, .threeTuple, .fiveTuple: false
      case .header, .cookie, .query: true
      }
    }

    public var description: String {
      switch self {
      case .source: "source"
      case .twoTuple: "2-tuple"
      case .threeTuple: "3-tuple"
      case .fiveTuple: "5-tuple"
      case .header(let name): "header:\(name)"
      case .cookie(let name): "cookie:\(name)"
      case .query(let name): "query:\(name)"
      }
    }

    /// Visible ASCII except the separators of a query.
    private static func isParameter(_ name: String) -> Bool {
      !name.isEmpty
        && name.utf8.allSatisfy { (0x21...0x7E).contains($0) && !Array("&=#".utf8).contains($0) }
    }
  }
}

extension Form where Value == Configuration.HashKey {
  static var hashKey: Form {
    Form(
      text: FormDescription(
        noun: "a hash key",
        allowed: "write \"source\", \"2-tuple\", \"3-tuple\", \"5-tuple\", \"header:NAME\","
          + " \"cookie:NAME\" or \"query:NAME\"",
        kind: "`\"source\"`, `\"2-tuple\"`, `\"3-tuple\"`, `\"5-tuple\"`, `\"header:NAME\"`,"
          + " `\"cookie:NAME\"` or `\"query:NAME\"`",
        schema: [
          "type": "string",
          "pattern": "^(source|[235]-tuple|header:.+|cookie:.+|query:.+)$",
        ])
    ) {
      Configuration.HashKey($0)
    } write: {
      "\($0)"
    }
  }
}
