// How paths are normalised before a route is chosen. What a backend may understand otherwise than
// the route did is the opening for getting around a route, so the two choices have names.

extension Configuration {
  public struct Paths: Hashable, Sendable {
    /// `%2F` in a path.
    public enum EncodedSlashes: String, Choice {
      /// Answered with 400.
      case refuse
      /// Part of its segment, and forwarded as it was sent.
      case keep
      /// A slash, for the route and in what is forwarded.
      case decode
      static var noun: String { "a policy for encoded slashes" }
    }

    /// `.` and `..`, also as `%2e`.
    public enum DotSegments: String, Choice {
      /// Answered with 400.
      case refuse
      /// Removed as in RFC 3986 5.2.4, for the route and in what is forwarded.
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
    How paths are normalised before a route is chosen. Escapes of letters, digits and `-._~` are \
    always undone first (RFC 3986 6.2.2).
    """
  static let keys: [Key<Self>] = [
    Key(
      "encoded-slashes", \.encodedSlashes, .choice,
      "What `%2F` means. `keep`: a character of its segment, forwarded as it came, since "
        + "registries of packages and code name things so. `decode`: a slash. `refuse`: 400, "
        + "the right choice where backends decode it by themselves and paths guard something."),
    Key(
      "dot-segments", \.dotSegments, .choice,
      "What `.` and `..` mean, escaped or not. `resolve`: they are removed before the route is "
        + "chosen and before the request is forwarded. `refuse`: 400."),
  ]
}
