// Loading certificates and keys: valid files, and every reason for a refusal.

import Foundation
import Primitives
import Testing

@testable import TLS

@Suite("Certificate") struct CertificateTests {
  let authority = TestAuthority.shared

  private func failure(_ chain: String, _ key: String) -> CertificateFailure? {
    #expect(throws: CertificateFailure.self) { try Certificate(chainPath: chain, keyPath: key) }
  }

  @Test("It has names in lower case, addresses, key type and period")
  func facts() throws {
    let certificate = try authority.certificate(
      .p256, names: "DNS:Facts.Test,DNS:*.facts.test,IP:127.0.0.1,IP:::1")
    #expect(certificate.dnsNames == ["facts.test", "*.facts.test"])
    #expect(certificate.addresses == [.loopbackV4, IPAddress(high: 0, low: 1)])
    #expect(certificate.keyTypeName == "ECDSA P-256")
    #expect(certificate.notAfter - certificate.notBefore == 30 * 86_400)
    #expect(abs(certificate.notBefore - Int64(Date().timeIntervalSince1970)) < 3_600)
    #expect(try authority.certificate(.rsa2048).keyTypeName == "RSA 2048")
    #expect(try authority.certificate(.p384).keyTypeName == "ECDSA P-384")
    #expect(try authority.certificate(.ed25519).keyTypeName == "Ed25519")
  }

  @Test("The common name counts only without alternative names")
  func commonName() throws {
    let plain = authority.files(.p256, names: nil, commonName: "Common.Test")
    let certificate = try Certificate(chainPath: plain.chain, keyPath: plain.key)
    #expect(certificate.dnsNames == ["common.test"])
    let address = authority.files(.p256, names: "IP:127.0.0.1", commonName: "common.test")
    let other = try Certificate(chainPath: address.chain, keyPath: address.key)
    #expect(other.dnsNames == [])
  }

  @Test("An expired certificate loads, and says so")
  func validity() throws {
    let files = authority.files(.p256, names: "DNS:old.test", days: -1)
    let expired = try Certificate(chainPath: files.chain, keyPath: files.key)
    #expect(expired.validity(at: Int64(Date().timeIntervalSince1970)) == .expired)
    let certificate = try authority.certificate()
    #expect(certificate.validity(at: certificate.notBefore - 1) == .notYetValid)
    #expect(certificate.validity(at: certificate.notBefore) == .valid)
    #expect(certificate.validity(at: certificate.notAfter) == .valid)
    #expect(certificate.validity(at: certificate.notAfter + 1) == .expired)
  }

  @Test("A key that everyone may read is noticed")
  func worldReadable() throws {
    let files = authority.files(.p256, names: "DNS:a.test")
    #expect(try !authority.certificate().isKeyWorldReadable)
    let open = authority.file("open.key", authority.contents(files.key))
    chmod(open, 0o644)
    #expect(try Certificate(chainPath: files.chain, keyPath: open).isKeyWorldReadable)
  }

  @Test("Chain and key may be in one file")
  func oneFile() throws {
    let files = authority.files(.p256, names: "DNS:a.test")
    let both = authority.file(
      "both.pem", authority.contents(files.key) + authority.contents(files.chain))
    #expect(try Certificate(chainPath: both, keyPath: both).dnsNames == ["a.test"])
  }

  @Test("Files that are missing or can't be read are named")
  func unreadable() {
    let files = authority.files(.p256, names: "DNS:a.test")
    let nowhere = authority.path("nowhere.pem")
    #expect(failure(nowhere, files.key) == .missingFile(path: nowhere))
    #expect(failure(files.chain, nowhere) == .missingFile(path: nowhere))
    #expect(
      failure(authority.folder, files.key)
        == .unreadableFile(path: authority.folder, reason: "Is a directory"))
    let below = files.chain + "/x"
    #expect(
      failure(below, files.key) == .unreadableFile(path: below, reason: "Not a directory"))
  }

  @Test("A file without permission is reported with that reason")
  func forbidden() {
    // Tests the error directly, since the user who runs the tests may have all permissions.
    #expect(
      PEMFile.failure(path: "/x", code: EACCES)
        == .unreadableFile(path: "/x", reason: "Permission denied"))
  }

  @Test("No PEM, no certificate, no key and damaged content are different errors")
  func contents() {
    let files = authority.files(.p256, names: "DNS:a.test")
    let empty = authority.file("empty.pem", "")
    let text = authority.file("text.pem", "hello\n")
    let chainText = authority.contents(files.chain)
    let damaged = authority.file(
      "damaged.pem", chainText.replacingOccurrences(of: "MII", with: "AAA"))
    let trailing = authority.file("trailing.pem", chainText + chainText.dropLast(60))
    let damagedKey = authority.file(
      "damaged.key", authority.contents(files.key).replacingOccurrences(of: "MIG", with: "AAA"))
    #expect(failure(empty, files.key) == .emptyChain(path: empty))
    #expect(failure(text, files.key) == .notPEM(path: text))
    #expect(failure(files.key, files.key) == .emptyChain(path: files.key))
    #expect(failure(damaged, files.key) == .malformed(path: damaged))
    #expect(failure(trailing, files.key) == .malformed(path: trailing))
    #expect(failure(files.chain, empty) == .missingKey(path: empty))
    #expect(failure(files.chain, text) == .notPEM(path: text))
    #expect(failure(files.chain, files.chain) == .missingKey(path: files.chain))
    #expect(failure(files.chain, damagedKey) == .malformed(path: damagedKey))
  }

  @Test("An encrypted key is refused without a prompt", arguments: ["pkcs8", "traditional"])
  func encrypted(form: String) {
    let files = authority.files(.rsa2048, names: "DNS:a.test")
    let locked = authority.path("encrypted-\(form).key")
    let shape = form == "pkcs8" ? ["pkcs8", "-topk8"] : ["rsa", "-traditional", "-aes128"]
    TestAuthority.openssl(shape + ["-in", files.key, "-out", locked, "-passout", "pass:secret"])
    #expect(failure(files.chain, locked) == .encryptedKey(path: locked))
  }

  @Test("A key of another certificate is refused, of the same kind or not")
  func mismatch() {
    let files = authority.files(.p256, names: "DNS:a.test")
    for other in [
      authority.files(.p256, names: "DNS:b.test"), authority.files(.rsa2048, names: "DNS:a.test"),
    ] {
      #expect(
        failure(files.chain, other.key)
          == .keyMismatch(chainPath: files.chain, keyPath: other.key))
    }
  }

  @Test("Keys that are weak or of a foreign type are refused")
  func keyTypes() {
    let weak = authority.files(.rsa1024, names: "DNS:a.test")
    #expect(
      failure(weak.chain, weak.key)
        == .weakKey(path: weak.key, type: "RSA 1024", minimum: "RSA 2048"))
    let curve = authority.files(.p521, names: "DNS:a.test")
    #expect(
      failure(curve.chain, curve.key)
        == .unsupportedKeyType(path: curve.key, type: "ECDSA secp521r1"))
    let edwards = authority.files(.ed448, names: "DNS:a.test")
    #expect(
      failure(edwards.chain, edwards.key)
        == .unsupportedKeyType(path: edwards.key, type: "ED448"))
  }

  @Test("A certificate with a SHA-1 signature is refused with OpenSSL's reason")
  func weakSignature() throws {
    let files = authority.files(.p256, names: "DNS:a.test", digest: "sha1")
    guard case .refused(let path, let reason)? = failure(files.chain, files.key) else {
      Issue.record("not refused")
      return
    }
    #expect(path == files.chain)
    #expect(reason.contains("md too weak"))
  }

  @Test("Every failure names its file in one sentence")
  func descriptions() {
    let failures: [CertificateFailure] = [
      .missingFile(path: "/x"), .unreadableFile(path: "/x", reason: "r"), .notPEM(path: "/x"),
      .malformed(path: "/x"), .emptyChain(path: "/x"), .missingKey(path: "/x"),
      .encryptedKey(path: "/x"), .keyMismatch(chainPath: "/c", keyPath: "/x"),
      .unsupportedKeyType(path: "/x", type: "t"), .weakKey(path: "/x", type: "t", minimum: "m"),
      .refused(path: "/x", reason: "r"),
    ]
    for failure in failures {
      #expect("\(failure)".contains("/x") && !"\(failure)".contains("\n"))
    }
  }
}
