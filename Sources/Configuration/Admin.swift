// Where the running process is watched and steered: the admin interface.

extension Configuration {
  public struct Admin: Hashable, Sendable {
    public enum SocketPath: Hashable, Sendable, CustomStringConvertible {
      /// In the directory for sockets of running programs, if there is one that may be written.
      case automatic
      case off
      case path(String)

      public var description: String {
        switch self {
        case .automatic: "auto"
        case .off: "off"
        case .path(let path): path
        }
      }
    }

    public var socket = SocketPath.automatic
    /// Over TCP, besides.
    public var listen: ListenAddress?
    /// With which `listen` speaks TLS; nil for plain HTTP.
    public var certificate: CertificateFiles?
    /// The file with the authorities of which clients of `listen` must show a certificate.
    public var clientCA: String?
    /// The file with the token that clients of `listen` show; nil for looking only.
    public var tokenFile: String?

    public init() {}
  }
}

extension Configuration.Admin: Section {
  static let title = "admin"
  static let about = """
    Where the running process is watched and steered: metrics for Prometheus, a page for people, \
    and the interface behind `martlet status` and its like. docs/ADMIN.md describes it.
    """
  static let keys: [Key<Self>] = {
    let file = Form<String>.file
    let description = FormDescription(
      noun: "a path for the admin socket", allowed: "write \"auto\", \"off\" or a path",
      kind: "`\"auto\"`, `\"off\"` or path", schema: file.description.schema)
    let socket = Form<SocketPath>(description) { json, decoder in
      switch json.text {
      case "auto": return .automatic
      case "off": return .off
      case let text? where !text.isEmpty:
        guard let path = file.read(json, &decoder) else { return nil }
        if isSocketPath(path) { return .path(path) }
        decoder.report(
          "\(json.brief): the path of a socket has 1 to 107 bytes, with its directory",
          at: json.origin)
        return nil
      default:
        decoder.mismatch(json, description)
        return nil
      }
    } write: {
      .string("\($0)")
    }
    return [
      Key(
        "socket", \.socket, socket,
        "A Unix socket that only the user of the process can use. `auto` puts `admin.sock` into "
          + "the directory that systemd gives the service, else `$XDG_RUNTIME_DIR/martlet`, else "
          + "`/run/martlet`; where none can be written, or another process has the socket, there "
          + "is none."),
      Key(
        "listen", optional: \.listen, .listenAddress,
        "An address for the same over HTTP, such as `localhost:9091` for Prometheus and a "
          + "browser. Without `client-ca` and `token-file` it must be on the loopback interface, "
          + "and only shows."),
      Key(
        "certificate", optional: \.certificate, .section,
        "With it `listen` speaks HTTPS. A renewed one is taken up as those of listeners are."),
      Key(
        "client-ca", optional: \.clientCA, .file,
        "A file with the certificates of authorities (PEM). Clients of `listen` must show a "
          + "certificate that one of them has signed, and may then look and change; with "
          + "`token-file` they need both. It needs `certificate`."),
      Key(
        "token-file", optional: \.tokenFile, .file,
        "A file with a secret of at least 16 characters, which clients of `listen` send as "
          + "`Authorization: Bearer ...`, to look as well as to change."),
    ]
  }()
}
