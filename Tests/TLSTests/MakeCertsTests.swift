// scripts/make-certs: this target must be able to load its output.

import Foundation
import Primitives
import Testing

@testable import TLS

@Suite("scripts/make-certs") struct MakeCertsTests {
  private let folder = TestAuthority.shared.path("dev-\(UUID().uuidString)")

  private var script: String {
    URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().appendingPathComponent("scripts/make-certs").path
  }

  private func run() -> String {
    let (status, output) = TestAuthority.run([script, folder])
    #expect(status == 0, "\(output)")
    return output
  }

  private func contents(_ name: String) -> String {
    TestAuthority.shared.contents(folder + "/" + name)
  }

  @Test("It makes a certificate that a strictly verifying client accepts")
  func makes() throws {
    let output = run()
    #expect(output.contains("made") && !output.contains("kept"))
    let certificate = try Certificate(
      chainPath: folder + "/server.crt", keyPath: folder + "/server.key")
    #expect(certificate.dnsNames == ["localhost"])
    #expect(certificate.addresses == [.loopbackV4, IPAddress(high: 0, low: 1)])
    #expect(certificate.keyTypeName == "ECDSA P-256")
    #expect(!certificate.isKeyWorldReadable)
    #expect(certificate.validity(at: Int64(Date().timeIntervalSince1970)) == .valid)
    let pair = try SessionPair(
      makeContext([certificate]),
      ClientOffer(serverName: "localhost", trusts: folder + "/ca.crt"))
    try pair.shakeHands()
    let attributes = try FileManager.default.attributesOfItem(atPath: folder + "/server.key")
    #expect(attributes[.posixPermissions] as? Int == 0o600)
  }

  @Test("A second run keeps valid files, and leaves no other files")
  func keeps() throws {
    _ = run()
    let before = contents("server.crt") + contents("ca.crt")
    let output = run()
    #expect(output.contains("kept") && !output.contains("made"))
    #expect(contents("server.crt") + contents("ca.crt") == before)
    #expect(
      try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
        == ["ca.crt", "ca.key", "server.crt", "server.key"])
  }

  @Test("A key that doesn't match is replaced together with its certificate; the authority is kept")
  func mismatch() throws {
    _ = run()
    let authority = contents("ca.crt")
    TestAuthority.openssl(
      "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out",
      folder + "/server.key")
    #expect(run().contains("kept   \(folder)/ca.crt"))
    _ = try Certificate(chainPath: folder + "/server.crt", keyPath: folder + "/server.key")
    #expect(contents("ca.crt") == authority)
  }

  @Test("A certificate is kept while it lasts for more than a week", arguments: [8, 6])
  func expiry(days: Int) throws {
    _ = run()
    let (certificate, key) = (folder + "/server.crt", folder + "/server.key")
    let request = folder + "/server.csr"
    TestAuthority.openssl(
      "x509", "-x509toreq", "-in", certificate, "-signkey", key, "-copy_extensions", "copyall",
      "-out", request)
    TestAuthority.openssl(
      "x509", "-req", "-in", request, "-CA", folder + "/ca.crt", "-CAkey", folder + "/ca.key",
      "-set_serial", "7", "-days", "\(days)", "-copy_extensions", "copyall", "-out", certificate)
    let verb = days > 7 ? "kept" : "made"
    #expect(run().contains("\(verb)   \(certificate)"))
    let final = try Certificate(chainPath: certificate, keyPath: key)
    #expect((final.notAfter - final.notBefore > 300 * 86_400) == (days < 7))
  }

  @Test("A missing authority is replaced together with the server certificate")
  func lostAuthority() throws {
    _ = run()
    let before = contents("server.crt")
    try FileManager.default.removeItem(atPath: folder + "/ca.key")
    #expect(!run().contains("kept"))
    #expect(contents("server.crt") != before)
  }

  @Test("A wrong command line prints the usage and exits with status 2")
  func usage() {
    #expect(TestAuthority.run([script, "--help"]).status == 2)
    #expect(TestAuthority.run([script, "a", "b"]).status == 2)
  }
}
