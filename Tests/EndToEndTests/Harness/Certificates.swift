// Certificates for one test: those of scripts/make-certs, and others signed by its authority.

import Foundation

struct Certificates {
  let folder: TemporaryFolder
  var authority: String { folder.path("ca.crt") }

  init() throws {
    folder = TemporaryFolder()
    let result = try run([Installation.scripts + "/make-certs", folder.path])
    guard result.status == 0 else { throw HarnessError(result.errors) }
  }

  /// The certificate as JSON for the configuration.
  func entry(_ name: String = "server") -> String {
    #"{ "chain": "\#(folder.path(name)).crt", "key": "\#(folder.path(name)).key" }"#
  }

  /// Makes a self-signed certificate for `names`, which are DNS names.
  func make(_ name: String, names: [String], days: Int = 30) throws {
    try openssl(
      "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
      "-keyout", folder.path("\(name).key"), "-out", folder.path("\(name).crt"),
      "-subj", "/CN=\(names[0])", "-days", "\(days)",
      "-addext", "subjectAltName=" + names.map { "DNS:\($0)" }.joined(separator: ","))
    chmod(folder.path("\(name).key"), 0o600)
  }

  /// Makes an expired certificate for localhost.
  func makeExpired(_ name: String) throws {
    try openssl(
      "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
      "-keyout", folder.path("\(name).key"), "-out", folder.path("\(name).csr"),
      "-subj", "/CN=localhost")
    chmod(folder.path("\(name).key"), 0o600)
    try folder.write("", to: "index.txt")
    try folder.write("01\n", to: "serial")
    try folder.write(
      """
      [ca]
      default_ca = short
      [short]
      dir = \(folder.path)
      new_certs_dir = \(folder.path)
      database = \(folder.path)/index.txt
      serial = \(folder.path)/serial
      default_md = sha256
      policy = any
      [any]
      commonName = supplied
      """, to: "ca.cnf")
    try openssl(
      "ca", "-batch", "-config", folder.path("ca.cnf"), "-selfsign", "-notext",
      "-keyfile", folder.path("\(name).key"), "-in", folder.path("\(name).csr"),
      "-out", folder.path("\(name).crt"), "-startdate", "20200101000000Z",
      "-enddate", "20200201000000Z")
  }

  @discardableResult
  func openssl(_ arguments: String...) throws -> String {
    let result = try run(["openssl"] + arguments)
    guard result.status == 0 else {
      throw HarnessError("openssl \(arguments.joined(separator: " ")): \(result.errors)")
    }
    return result.output
  }
}
