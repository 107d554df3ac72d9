// TLS to the backends of a pool. This only stores paths; the server reads the files and validates
// the certificates.

extension Configuration {
  /// TLS to the backends of one pool.
  public struct BackendTLS: Hashable, Sendable {
    public enum Verification: String, Choice {
      case on, off
      static var noun: String { "a value of verify" }
    }

    public var verification = Verification.on
    /// A file with trusted certificates; nil for those that the system trusts.
    public var authority: String?
    /// For SNI and verification; nil for the host of each backend.
    public var serverName: String?
    /// Presented to backends that ask for a certificate.
    public var certificate: CertificateFiles?
    public var minimumVersion = TLS.Version.tls12
    /// Empty if the key of a backend doesn't matter.
    public var pins: [KeyPin] = []

    public init() {}

    /// Whether a backend has to prove who it is.
    public var isVerified: Bool { verification == .on || !pins.isEmpty }
  }

  /// SHA-256 of a public key (SubjectPublicKeyInfo, RFC 7469 2.4).
  public struct KeyPin: Hashable, Sendable {
    /// In base64 (RFC 4648 4).
    public let text: String
    /// 32 bytes.
    public let bytes: [UInt8]

    /// Nil if the text isn't the base64 of 32 bytes.
    public init?(_ text: String) {
      let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
      let digits = Array(text.utf8)
      guard digits.count == 44, digits.last == UInt8(ascii: "=") else { return nil }
      var bytes: [UInt8] = []
      var bits = 0
      for (index, digit) in digits.dropLast().enumerated() {
        guard let value = alphabet.firstIndex(of: digit) else { return nil }
        bits = (bits << 6 | value) & 0xFFFF
        // Each digit after the first of a group of four completes a byte.
        if index % 4 > 0 { bytes.append(UInt8(truncatingIfNeeded: bits >> (6 - 2 * (index % 4)))) }
      }
      // The last digit has two bits too many.
      if bits & 0b11 != 0 { return nil }
      self.text = text
      self.bytes = bytes
    }
  }
}

extension Form where Value == Configuration.KeyPin {
  static var keyPin: Form {
    Form(
      text: FormDescription(
        noun: "the SHA-256 of a public key",
        allowed: "write its 32 bytes in base64, 44 characters with \"=\" at the end",
        kind: "base64", schema: ["type": "string", "pattern": "^[A-Za-z0-9+/]{43}=$"]),
      parse: { Configuration.KeyPin($0) },
      // As other programs write it.
      suggest: { text in
        ["sha256//", "sha256/"].first { text.hasPrefix($0) }
          .flatMap { Configuration.KeyPin(String(text.dropFirst($0.count)))?.text }
      }, write: { $0.text })
  }
}

extension Configuration.BackendTLS: Section {
  static let title = "backend tls"
  static let about = """
    TLS to the backends of a pool. All backends of a pool use TLS, or none does.
    """
  static let keys: [Key<Self>] = [
    Key(
      "verify", \.verification, .choice,
      "Whether the certificate of a backend must be valid: signed by a trusted authority, not "
        + "expired, and for `server-name`. With `off`, anybody who can intercept the connection "
        + "can read and change everything, unless `pins` are set. Martlet warns about it."),
    Key(
      "ca", optional: \.authority, .file,
      "File with the certificates (PEM) that are trusted: authorities, or the backends' own "
        + "certificates. Default: the authorities that the system trusts. A renewed file is "
        + "reloaded."),
    Key(
      "server-name", optional: \.serverName, .hostName,
      "Host name or IP address that the certificates of the backends must have. A host name is "
        + "also sent as SNI. Default: the host of each backend's address as written. It never "
        + "depends on the client's request. Unix sockets have no host, so they need this key "
        + "unless `verify` is `off`."),
    Key(
      "certificate", optional: \.certificate, .section,
      "Certificate of Martlet, for backends that ask for one (mutual TLS). Renewed files are "
        + "reloaded."),
    Key("minimum-version", \.minimumVersion, .choice, "Lowest TLS version."),
    Key(
      "pins", \.pins, .list(of: .keyPin),
      "Public keys of the backends, each as the SHA-256 of its SubjectPublicKeyInfo in base64. A "
        + "backend must have one of them, in addition to a valid certificate. Set at least two, "
        + "so that a key can be replaced. Default: any key."),
  ]
}
