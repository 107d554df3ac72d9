// How paths are normalised before a route is selected. If a backend reads a path differently, a
// client can bypass a route; so the operator chooses how to handle the two ambiguous cases.

extension Configuration {
  public struct Paths: Hashable, Sendable {
    /// `%2F` in a path.
    public enum EncodedSlashes: String, Choice {
      /// Answered with 400.
      case refuse
      /// Part of its segment, and forwarded as it was sent.
      case keep
      /// A slash, for the route and in the forwarded path.
      case decode
      static var noun: String { "a policy for encoded slashes" }
    }

    /// `.` and `..`, also as `%2e`.
    public enum DotSegments: String, Choice {
      /// Answered with 400.
      case refuse
      /// Removed as in RFC 3986 5.2.4, for the route and in the forwarded path.
      case resolve
      static var noun: String { "a policy for dot segments" }
    }

    public var encodedSlashes = EncodedSlashes.keep
    public var dotSegments = DotSegments.resolve

    public init() {}
  }
}

extension Configuration.Paths: Section {
  static let title = "paths"
  static let about = """
    How paths are normalised before a route is selected. Escapes of letters, digits and `-._~` are \
    always decoded first (RFC 3986, 6.2.2).
    """
  static let keys: [Key<Self>] = [
    Key(
      "encoded-slashes", \.encodedSlashes, .choice,
      "What `%2F` means. `keep`: a character of its segment, which is forwarded unchanged; "
        + "package and source code registries use it in names. `decode`: a slash. `refuse`: "
        + "respond with 400; use this if backends decode `%2F` themselves and routes restrict "
        + "access by path."),
    Key(
      "dot-segments", \.dotSegments, .choice,
      "What `.` and `..` mean, escaped or not. `resolve`: remove them before a route is selected "
        + "and before the request is forwarded (RFC 3986, 5.2.4). `refuse`: respond with 400."),
  ]
}
