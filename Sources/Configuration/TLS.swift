// What a listener needs to speak TLS. Only paths are here: the files are read where TLS is spoken,
// and whether a certificate is any good is judged there.

public import Primitives

extension Configuration {
  /// TLS of one listener.
  public struct TLS: Hashable, Sendable {
    /// At least one; the client's server name (SNI) chooses, and the first is for all others.
    public var certificates: [CertificateFiles]
    public var minimumVersion = Version.tls12
    public var policy = Policy.intermediate
    /// Nil when sessions can't be resumed.
    public var tickets: Tickets? = Tickets()

    public init(certificates: [CertificateFiles]) { self.certificates = certificates }

    static let standard = TLS(
      certificates: [CertificateFiles(chain: "certs/server.crt", key: "certs/server.key")])

    public enum Version: String, Choice {
      case tls12 = "1.2"
      case tls13 = "1.3"
      static var noun: String { "a version of TLS" }
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
    /// The server's certificate first, then those that lead to its root.
    public var chain: String
    public var key: String

    public init(chain: String, key: String) {
      self.chain = chain
      self.key = key
    }
  }

  /// Session tickets (RFC 8446 4.6.1, RFC 5077).
  public struct Tickets: Hashable, Sendable {
    /// Empty: keys are made at random and replaced every `rotation`. Else the first file encrypts
    /// and all decrypt.
    public var keyFiles: [String] = []
    public var rotation = TimeSpan.seconds(12 * 3600)

    public init() {}
  }
}

extension Configuration.TLS: Section {
  init() { self.init(certificates: []) }

  static let title = "tls"
  static let about = "How a listener speaks TLS: certificates, versions, resumption."
  static let keys: [Key<Self>] = [
    Key(
      "certificates", \.certificates, .list(of: .section, minimum: 1), required: true,
      "Certificates with their keys. The name that a client asks for (SNI) chooses among them; "
        + "the first is for clients that ask for no name or an unknown one."),
    Key(
      "minimum-version", \.minimumVersion, .choice,
      "The lowest version that is spoken. 1.2, because clients without 1.3 are still about; "
        + "older versions aren't offered at all."),
    Key(
      "policy", \.policy, .choice,
      "Which cipher suites: `intermediate` is TLS 1.3, and TLS 1.2 with ECDHE and AES-GCM or "
        + "ChaCha20-Poly1305; `modern` is TLS 1.3 alone."),
    Key(
      "tickets", \.tickets, .off(or: .section),
      "Lets clients resume their sessions, which saves most of the cost of a handshake."),
  ]
}

extension Configuration.CertificateFiles: Section {
  init() { self.init(chain: "", key: "") }

  static let title = "certificate"
  static let about = "One certificate chain and its private key, as PEM files."
  static let keys: [Key<Self>] = [
    Key(
      "chain", \.chain, .file, required: true,
      "The file with the server's certificate and behind it the intermediate ones."),
    Key(
      "key", \.key, .file, required: true,
      "The file with the private key of the server's certificate, not encrypted."),
  ]
}

extension Configuration.Tickets: Section {
  static let title = "tickets"
  static let about = "Keys of session tickets."
  static let keys: [Key<Self>] = [
    Key(
      "key-files", \.keyFiles, .list(of: .file),
      "Files with ticket keys, so that several machines behind one address can resume each "
        + "other's sessions. The first encrypts, all decrypt. By default keys are made at "
        + "random and never leave the process."),
    Key(
      "rotation", \.rotation, .duration(.seconds(60) ... .seconds(7 * 86_400)),
      "How often a new random key takes over. Who steals a key can read what was sent under it "
        + "by TLS 1.2, so it shouldn't be old."),
  ]
}
