// The admin interface: its addresses and who may use them.

extension Configuration {
  public struct Admin: Hashable, Sendable {
    public enum SocketPath: Hashable, Sendable, CustomStringConvertible {
      /// In the runtime directory, if there is one and Martlet can write to it.
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
    /// A TCP address, in addition to the socket.
    public var listen: ListenAddress?
    /// The certificate of `listen`; nil for plain HTTP.
    public var certificate: CertificateFiles?
    /// The file with the authorities that sign certificates of clients of `listen`; nil if clients
    /// need no certificate.
    public var clientCA: String?
    /// The file with the token that clients of `listen` send; nil for none. Without token and
    /// `clientCA`, `listen` is read-only.
    public var tokenFile: String?

    public init() {}
  }
}

extension Configuration.Admin: Section {
  static let title = "admin"
  static let about = """
    The admin interface: metrics for Prometheus, a dashboard, and the API of `martlet status` and \
    other commands. docs/ADMIN.md describes it.
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
          "\(json.brief): the path of a socket, with its directory, must have 1 to 107 bytes",
          at: json.origin)
        return nil
      default:
        decoder.mismatch(json, description, suggestion: json.offForFalse)
        return nil
      }
    } write: {
      .string("\($0)")
    }
    return [
      Key(
        "socket", \.socket, socket,
        "Unix socket for the admin interface. Only the user that Martlet runs as can use it. "
          + "`auto`: `admin.sock` in the runtime directory that systemd gives the service, "
          + "otherwise in `$XDG_RUNTIME_DIR/martlet`, otherwise in `/run/martlet`. If Martlet "
          + "can't create the socket there, or another process uses it, there is no socket."),
      Key(
        "listen", optional: \.listen, .listenAddress,
        "Address for the admin interface over TCP, such as `localhost:9091` for Prometheus and "
          + "browsers. Without `client-ca` and `token-file` it must be a loopback address, and "
          + "it is read-only."),
      Key(
        "certificate", optional: \.certificate, .section,
        "Certificate with which `listen` serves HTTPS. Renewed files are reloaded as for "
          + "listeners."),
      Key(
        "client-ca", optional: \.clientCA, .file,
        "File with certificates of authorities (PEM). Clients of `listen` must present a "
          + "certificate signed by one of these. They can then read and make changes. With "
          + "`token-file` they need both. Requires `certificate`."),
      Key(
        "token-file", optional: \.tokenFile, .file,
        "File with a secret of at least 16 characters. Clients of `listen` must send it as "
          + "`Authorization: Bearer ...`, to read and to make changes."),
    ]
  }()
}
