// The certificates of one server, leaf first, as OpenSSL keeps them.

import COpenSSL
import Primitives

/// Owner of a stack of certificates with at least one element.
@safe struct CertificateChain: ~Copyable {
  /// STACK_OF(X509) *, owned.
  private let stack: OpaquePointer
  /// X509 *, the first element of the stack.
  let leaf: OpaquePointer

  init(path: String) throws(CertificateFailure) {
    let file = try PEMFile(path: path)
    if file.isEmpty { throw .emptyChain(path: path) }
    if !file.hasPEMBlock { throw .notPEM(path: path) }
    guard let stack = unsafe martlet_sk_X509_new_null() else { throw .malformed(path: path) }
    let complete =
      unsafe file.withBIO { source in unsafe Self.readAll(from: source, into: stack) } ?? false
    guard complete, let leaf = unsafe martlet_sk_X509_value(stack, 0) else {
      let isEmpty = unsafe martlet_sk_X509_num(stack) == 0
      unsafe martlet_sk_X509_pop_free(stack)
      throw complete && isEmpty ? .emptyChain(path: path) : .malformed(path: path)
    }
    unsafe self.stack = stack
    unsafe self.leaf = leaf
  }

  deinit { unsafe martlet_sk_X509_pop_free(stack) }

  /// Passes copies of the leaf and of the rest to `body`. They are copies because each connection
  /// counts references on its context's certificates, and workers must not share those counters.
  func withCopy<Result>(_ body: (_ leaf: OpaquePointer, _ rest: OpaquePointer) -> Result) -> Result?
  {
    guard let rest = unsafe martlet_sk_X509_new_null() else { return nil }
    defer { unsafe martlet_sk_X509_pop_free(rest) }
    guard let first = unsafe X509_dup(leaf) else { return nil }
    defer { unsafe X509_free(first) }
    let count = unsafe martlet_sk_X509_num(stack)
    for index in 1..<max(1, count) {
      guard let next = unsafe X509_dup(martlet_sk_X509_value(stack, index)) else { return nil }
      if unsafe martlet_sk_X509_push(rest, next) == 0 {
        unsafe X509_free(next)
        return nil
      }
    }
    return unsafe body(first, rest)
  }

  /// Whether `check` is true for each certificate (X509 *).
  func allSatisfy(_ check: (OpaquePointer) -> Bool) -> Bool {
    for index in 0..<(unsafe martlet_sk_X509_num(stack)) {
      guard let each = unsafe martlet_sk_X509_value(stack, index), unsafe check(each) else {
        return false
      }
    }
    return true
  }

  /// SHA-256 of all certificates in their order.
  var fingerprint: [UInt8] {
    var bytes: [UInt8] = []
    for index in 0..<(unsafe martlet_sk_X509_num(stack)) {
      var digest = [UInt8](repeating: 0, count: 32)
      _ = unsafe X509_digest(martlet_sk_X509_value(stack, index), EVP_sha256(), &digest, nil)
      bytes += digest
    }
    let digest = sha256(bytes)
    return digest.indices.map { digest[$0] }
  }

  /// The leaf's DNS names in lower case, and its IP addresses. The common name counts only if there
  /// are no alternative names (RFC 6125 6.4.4).
  var names: (dns: [String], addresses: [IPAddress]) {
    let extensionValue = unsafe X509_get_ext_d2i(leaf, NID_subject_alt_name, nil, nil)
    guard let alternatives = unsafe extensionValue.map({ OpaquePointer($0) }) else {
      return (commonName.map { [$0] } ?? [], [])
    }
    defer { unsafe GENERAL_NAMES_free(alternatives) }
    var dns: [String] = []
    var addresses: [IPAddress] = []
    for index in 0..<(unsafe martlet_sk_GENERAL_NAME_num(alternatives)) {
      let name = unsafe martlet_sk_GENERAL_NAME_value(alternatives, index)
      var kind: Int32 = 0
      guard let value = unsafe GENERAL_NAME_get0_value(name, &kind) else { continue }
      let bytes = unsafe Self.bytes(of: OpaquePointer(value))
      if kind == GEN_DNS, let text = Self.hostName(bytes) { dns.append(text) }
      if kind == GEN_IPADD, let address = Self.address(bytes) { addresses.append(address) }
    }
    return (dns, addresses)
  }

  /// Why a client that has only root certificates can't verify the leaf, as text; nil when no such
  /// problem is visible.
  var fault: String? {
    let count = unsafe martlet_sk_X509_num(stack)
    for index in 1..<max(1, count) {
      let signed = unsafe martlet_sk_X509_value(stack, index - 1)
      let signer = unsafe martlet_sk_X509_value(stack, index)
      if unsafe X509_check_issued(signer, signed) != X509_V_OK {
        return "certificate \(index + 1) in it hasn't signed the one before it; put each behind "
          + "the one that it signed, and the server's first"
      }
    }
    // Authorities whose certificates contain the location of the issuer use intermediate
    // certificates.
    if count == 1 && namesIssuerPlace {
      return "the intermediate certificate that signed it is missing behind it; many clients "
        + "won't find it themselves"
    }
    return nil
  }

  /// Whether the leaf contains the location of its issuer's certificate (RFC 5280 4.2.2.1).
  private var namesIssuerPlace: Bool {
    let index = unsafe X509_get_ext_by_NID(leaf, NID_info_access, -1)
    guard index >= 0, let value = unsafe X509_EXTENSION_get_data(X509_get_ext(leaf, index)) else {
      return false
    }
    let bytes = unsafe Self.bytes(of: OpaquePointer(value))
    // id-ad-caIssuers, with its tag and length.
    let name: [UInt8] = [0x06, 0x08, 0x2B, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x02]
    return bytes.indices.contains { bytes[$0...].starts(with: name) }
  }

  /// Whether the leaf names itself as its issuer.
  var isSelfSigned: Bool {
    unsafe X509_NAME_cmp(X509_get_subject_name(leaf), X509_get_issuer_name(leaf)) == 0
  }

  /// The leaf's period of validity in Unix seconds. The end may be before the start.
  var period: (notBefore: Int64, notAfter: Int64) {
    unsafe (
      Self.unixSeconds(X509_get0_notBefore(leaf)), Self.unixSeconds(X509_get0_notAfter(leaf))
    )
  }

  /// False when reading stopped before the end of the blocks.
  private static func readAll(from source: OpaquePointer, into stack: OpaquePointer) -> Bool {
    while let certificate = unsafe PEM_read_bio_X509(source, nil, nil, nil) {
      if unsafe martlet_sk_X509_push(stack, certificate) == 0 {
        unsafe X509_free(certificate)
        return false
      }
    }
    let code = ERR_peek_last_error()
    ERR_clear_error()
    return ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE
  }

  private var commonName: String? {
    let subject = unsafe X509_get_subject_name(leaf)
    let index = unsafe X509_NAME_get_index_by_NID(subject, NID_commonName, -1)
    guard index >= 0, let entry = unsafe X509_NAME_get_entry(subject, index),
      let value = unsafe X509_NAME_ENTRY_get_data(entry)
    else { return nil }
    return unsafe Self.hostName(Self.bytes(of: OpaquePointer(value)))
  }

  private static func bytes(of string: OpaquePointer) -> [UInt8] {
    let text = unsafe UnsafePointer<ASN1_STRING>(string)
    let start = unsafe ASN1_STRING_get0_data(text)
    return unsafe Array(UnsafeBufferPointer(start: start, count: Int(ASN1_STRING_length(text))))
  }

  /// Lower-case text, or nil when a byte is invalid in a host name, such as a NUL. With a NUL, a
  /// longer name was once accepted as a shorter one.
  private static func hostName(_ bytes: [UInt8]) -> String? {
    guard !bytes.isEmpty && bytes.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else { return nil }
    return String(decoding: bytes, as: UTF8.self).lowercased()
  }

  private static func address(_ bytes: [UInt8]) -> IPAddress? {
    func number(_ range: Range<Int>) -> UInt64 {
      bytes[range].reduce(0) { $0 << 8 | UInt64($1) }
    }
    switch bytes.count {
    case 4: return IPAddress(v4: UInt32(truncatingIfNeeded: number(0..<4)))
    case 16: return IPAddress(high: number(0..<8), low: number(8..<16))
    default: return nil
    }
  }

  private static func unixSeconds(_ time: UnsafePointer<ASN1_TIME>?) -> Int64 {
    guard let epoch = unsafe ASN1_TIME_set(nil, 0) else { return 0 }
    defer { unsafe ASN1_TIME_free(epoch) }
    var days: Int32 = 0
    var seconds: Int32 = 0
    guard unsafe ASN1_TIME_diff(&days, &seconds, epoch, time) == 1 else { return 0 }
    return Int64(days) * 86_400 + Int64(seconds)
  }
}
