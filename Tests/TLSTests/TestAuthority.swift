// Real certificate files for the tests, made by the `openssl` command in a separate directory,
// which is removed when the process ends. Every file is made at most once.

import Foundation
import Synchronization
import Testing

@testable import TLS

/// A small certificate authority: one root, certificates on demand.
final class TestAuthority: Sendable {
  static let shared = TestAuthority()

  let folder: String
  private let made = Mutex<Set<String>>([])

  private init() {
    folder = NSTemporaryDirectory() + "martlet-tls-\(UUID().uuidString)"
    try? FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    atexit { try? FileManager.default.removeItem(atPath: TestAuthority.shared.folder) }
    Self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
      "-keyout", path("ca.key"), "-out", path("ca.crt"), "-subj", "/CN=Test Authority",
      "-days", "30")
  }

  func path(_ name: String) -> String { folder + "/" + name }

  enum Key: String {
    case rsa2048, rsa1024, p256, p384, p521, ed25519, ed448

    var arguments: [String] {
      switch self {
      case .rsa2048: ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]
      case .rsa1024: ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"]
      case .p256: ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
      case .p384: ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"]
      case .p521: ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"]
      case .ed25519: ["-algorithm", "ED25519"]
      case .ed448: ["-algorithm", "ED448"]
      }
    }
  }

  /// Files of a certificate signed by the root: chain file (leaf only) and key file. `names` is
  /// OpenSSL's subjectAltName text, or nil for none; `days` may be negative.
  func files(
    _ key: Key, names: String?, commonName: String = "test", days: Int = 30,
    digest: String = "sha256"
  ) -> (chain: String, key: String) {
    let label = "\(key.rawValue)-\(names ?? "none")-\(commonName)-\(days)-\(digest)"
      .replacingOccurrences(of: "/", with: "_").replacingOccurrences(of: "*", with: "_")
    let chain = path(label + ".crt")
    let keyFile = path(label + ".key")
    made.withLock { made in
      if made.contains(label) { return }
      made.insert(label)
      let request = path(label + ".csr")
      let extensions = path(label + ".ext")
      let text = names.map { "subjectAltName=\($0)\n" } ?? "basicConstraints=CA:FALSE\n"
      try? text.write(toFile: extensions, atomically: true, encoding: .utf8)
      Self.openssl(["genpkey"] + key.arguments + ["-out", keyFile])
      chmod(keyFile, 0o600)
      Self.openssl("req", "-new", "-key", keyFile, "-out", request, "-subj", "/CN=\(commonName)")
      Self.openssl("x509", "-req", "-in", request, "-CA", path("ca.crt"), "-CAkey", path("ca.key"),
        "-CAcreateserial", "-extfile", extensions, "-out", chain, "-days", "\(days)", "-\(digest)")
    }
    return (chain, keyFile)
  }

  func certificate(_ key: Key = .p256, names: String? = "DNS:a.test") throws -> Certificate {
    let files = files(key, names: names)
    return try Certificate(chainPath: files.chain, keyPath: files.key)
  }

  /// Writes `contents` to a file with this name and returns its path.
  func file(_ name: String, _ contents: String) -> String {
    _ = FileManager.default.createFile(atPath: path(name), contents: Data(contents.utf8))
    return path(name)
  }

  func contents(_ path: String) -> String {
    (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
  }

  static func openssl(_ arguments: String...) { openssl(arguments) }

  static func openssl(_ arguments: [String]) {
    let (status, output) = run(["openssl"] + arguments)
    #expect(status == 0, "openssl \(arguments.joined(separator: " ")): \(output)")
  }

  static func run(_ command: [String]) -> (status: Int32, output: String) {
    let process = Process()
    let pipe = Pipe()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = command
    process.standardOutput = pipe
    process.standardError = pipe
    guard (try? process.run()) != nil else { return (-1, "can't run \(command)") }
    let output = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return (process.terminationStatus, String(decoding: output, as: UTF8.self))
  }
}
