// TLS settings of a listener. This only stores paths; the server reads the files and validates the
// certificates.

public import Primitives

extension Configuration {
  /// TLS of one listener.
  public struct TLS: Hashable, Sendable {
    /// At least one. The client's server name (SNI) selects one; the first is the default.
    public var certificates: [CertificateFiles]
    public var minimumVersion = Version.tls12
    public var policy = Policy.intermediate
    /// Nil if sessions can't be resumed.
    public var tickets: Tickets? = Tickets()

    public init(certificates: [CertificateFiles]) { self.certificates = certificates }

    /// The files that scripts/make-certs creates.
    public static let standard = TLS(
      certificates: [CertificateFiles(chain: "certs/server.crt", key: "certs/server.key")])

    public enum Version: String, Choice {
      case tls12 = "1.2"
      case tls13 = "1.3"
      static var noun: String { "a TLS version" }
    }

    /// A named set of cipher suites, all of them forward-secret and authenticated.
    public enum Policy: String, Choice {
      case intermediate
      case modern
      static var noun: String { "a TLS policy" }
    }
  }

  /// Paths of PEM files.
  public struct CertificateFiles: Hashable, Sendable {
    /// The server's certificate, then the intermediate certificates.
    public var chain: String
    public var key: String

    public init(chain: String, key: String) {
      self.chain = chain
      self.key = key
    }
  }

  /// Session tickets (RFC 8446 4.6.1, RFC 5077).
  public struct Tickets: Hashable, Sendable {
    /// Empty: keys are random, and replaced every `rotation`. Otherwise the first file encrypts,
    /// and all decrypt.
    public var keyFiles: [String] = []
    public var rotation = TimeSpan.seconds(12 * 3600)

    public init() {}
  }
}

extension Configuration.TLS: Section {
  init() { self.init(certificates: []) }

  static let title = "tls"
  static let about = "TLS of a listener: certificates, versions, session resumption."
  static let keys: [Key<Self>] = [
    Key(
      "certificates", \.certificates, .list(of: .section, minimum: 1), required: true,
      "Certificates with their private keys. Martlet selects one by the name that the client "
        + "asks for (SNI). Clients that send no name or an unknown name get the first one."),
    Key(
      "minimum-version", \.minimumVersion, .choice,
      "Lowest TLS version. Default: 1.2, because some clients don't support 1.3. Older versions "
        + "are never offered."),
    Key(
      "policy", \.policy, .choice,
      "Cipher suites. `intermediate`: TLS 1.3, and TLS 1.2 with ECDHE and AES-GCM or "
        + "ChaCha20-Poly1305. `modern`: only TLS 1.3."),
    Key(
      "tickets", \.tickets, .off(or: .section),
      "Session tickets: clients can resume a session, which saves most of the cost of a "
        + "handshake."),
  ]
}

extension Configuration.CertificateFiles: Section {
  init() { self.init(chain: "", key: "") }

  static let title = "certificate"
  static let about = "A certificate chain and its private key, as PEM files."
  static let keys: [Key<Self>] = [
    Key(
      "chain", \.chain, .file, required: true,
      "File with the server's certificate, followed by the intermediate certificates."),
    Key(
      "key", \.key, .file, required: true,
      "File with the private key of the server's certificate. It must not be encrypted."),
  ]
}

extension Configuration.Tickets: Section {
  static let title = "tickets"
  static let about = "Keys that encrypt session tickets."
  static let keys: [Key<Self>] = [
    Key(
      "key-files", \.keyFiles, .list(of: .file),
      "Files with ticket keys, each 48 or 80 random bytes. With the same files, several machines "
        + "behind one address can resume each other's sessions. The first key encrypts; all keys "
        + "decrypt. Default: random keys, which are kept in memory only."),
    Key(
      "rotation", \.rotation, .duration(.seconds(60) ... .seconds(7 * 86_400)),
      "How often a new random key replaces the old one. An attacker with a key can decrypt the "
        + "TLS 1.2 sessions that used it, so a key should not be used for long."),
  ]
}
