// The PROXY protocol: the proxies that write headers to a listener, and the headers that backends
// get.

public import Primitives

extension Configuration {
  /// The proxies in front of a listener.
  public struct ProxySenders: Hashable, Sendable {
    /// Their addresses. Nobody else may connect.
    public var from: [AddressRange] = []

    public init() {}
  }

  /// The header that begins each connection to a backend.
  public struct ProxyHeader: Hashable, Sendable {
    public enum Version: String, Choice {
      case v1, v2
      static var noun: String { "a version of the PROXY protocol" }
    }

    /// What version 2 can say beside the addresses.
    public enum TLV: String, Choice {
      case alpn, authority
      case uniqueID = "unique-id"
      case tls
      case crc32c
      static var noun: String { "a TLV" }
      static var meant: [String: TLV] { ["ssl": .tls, "sni": .authority, "crc": .crc32c] }
    }

    public var version = Version.v2
    public var tlvs: [TLV] = []

    public init(_ version: Version) { self.version = version }

    /// Such as `v2 with alpn, crc32c`.
    public var text: String {
      let names = tlvs.map(\.rawValue).joined(separator: ", ")
      return version.rawValue + (tlvs.isEmpty ? "" : " with \(names)")
    }
  }
}

extension Configuration.ProxySenders: Section {
  static let title = "proxy-protocol"
  static let about = """
    The PROXY protocol on a listener: each connection must begin with a header of version 1 or 2, \
    which says where it comes from. The header is before TLS, and must come within the timeout \
    `handshake` of `limits`.
    """
  static let keys: [Key<Self>] = [
    Key(
      "from", \.from, .list(of: .addressRange, minimum: 1), required: true,
      "Addresses of the proxies. Connections from other addresses are closed, because anybody who "
        + "can connect could write any address into a header.")
  ]
}

extension Configuration.ProxyHeader: Section {
  init() { self.init(.v2) }

  static let title = "backend proxy-protocol"
  static let about = """
    The PROXY protocol to the backends of a pool: a header, before TLS, with the address of the \
    client. Such a connection belongs to one connection of a client, and is not shared. If you \
    set only `version`, you can write it as a string instead of an object.
    """
  static let keys: [Key<Self>] = [
    Key(
      "version", \.version, .choice, required: true,
      "`v1`: one line of text. `v2`: binary; health checks are marked as such (LOCAL)."),
    Key(
      "tlvs", \.tlvs, .list(of: .choice),
      "What `v2` says beside the addresses. `alpn`: the protocol that the client uses, if it uses "
        + "TLS. `authority`: the host name that the client has sent (SNI). `unique-id`: the name "
        + "of the client's connection, from the header that it began with, or a random one. "
        + "`tls`: whether the client uses TLS, its version and cipher. `crc32c`: a checksum of "
        + "the header."),
  ]
}

extension Configuration {
  func check(_ senders: ProxySenders?, _ path: String, _ decoder: inout Decoder) {
    for (index, range) in (senders?.from ?? []).enumerated()
    where ["0.0.0.0/0", "::/0"].contains("\(range)") {
      decoder.report(
        key: "\(path).proxy-protocol.from[\(index)]",
        "everybody who can connect can claim any address; write the addresses of the proxies",
        severity: .warning)
    }
  }

  func check(_ header: ProxyHeader?, of pool: Pool, _ path: String, _ decoder: inout Decoder) {
    guard let header else { return }
    let key = "\(path).proxy-protocol"
    if pool.protocol != .http1 {
      decoder.report(
        key: key,
        "with HTTP/2 clients share the connections to a backend, and a header is about one client",
        suggestion: "\"protocol\": \"http/1.1\"")
    }
    if header.version == .v1 && !header.tlvs.isEmpty {
      decoder.report(key: "\(key).tlvs", "v1 has no TLVs", suggestion: "\"version\": \"v2\"")
    }
    reportRepeated(header.tlvs.map(\.rawValue), "\(key).tlvs", "TLV", &decoder)
  }
}
