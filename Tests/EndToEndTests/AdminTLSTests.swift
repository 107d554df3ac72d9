// The admin interface over TLS: which client certificates have access, with curl and with our own
// commands.

import Foundation
import Testing

@Suite struct AdminTLSTests {
  private let certificates: Certificates
  private let authority: String

  init() throws {
    certificates = try Certificates()
    authority = certificates.folder.path("operators.crt")
    for name in ["operators", "strangers"] {
      try certificates.openssl(
        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-keyout", certificates.folder.path("\(name).key"),
        "-out", certificates.folder.path("\(name).crt"), "-subj", "/CN=\(name)", "-days", "30",
        "-addext", "basicConstraints=critical,CA:TRUE")
    }
    try makeClient("ann", by: "operators")
    try makeClient("eve", by: "strangers")
    try makeClient("old", by: "operators", expired: true)
  }

  private func makeClient(_ name: String, by authority: String, expired: Bool = false) throws {
    func path(_ file: String) -> String { certificates.folder.path(file) }
    try certificates.openssl(
      "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
      "-keyout", path("\(name).key"), "-out", path("\(name).csr"), "-subj", "/CN=\(name)")
    chmod(path("\(name).key"), 0o600)
    try certificates.openssl(
      "x509", "-req", "-in", path("\(name).csr"), "-CA", path("\(authority).crt"),
      "-CAkey", path("\(authority).key"), "-set_serial", "7", "-out", path("\(name).crt"),
      // The end of validity is before its beginning, which is now.
      "-days", expired ? "-1" : "30")
  }

  private func start(_ stubs: [StubBackend], _ admin: String, token: String? = nil) throws
    -> MartletProcess
  {
    try MartletProcess(
      backends: stubs,
      rest: """
        "admin": { "listen": "127.0.0.1:0", "certificate": \(certificates.entry())\(admin) }
        """, token: token)
  }

  private var clientsMustShow: String { #", "client-ca": "\#(authority)""# }

  private func identity(_ name: String) -> [String] {
    ["--cert", certificates.folder.path("\(name).crt")]
      + ["--key", certificates.folder.path("\(name).key")]
  }

  /// The status that curl gets (000 for none), and its output.
  private func curl(_ martlet: MartletProcess, _ path: String, _ arguments: [String] = []) throws
    -> (status: String, errors: String)
  {
    let result = try run(
      ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", certificates.authority]
        + arguments + ["https://localhost:\(try martlet.adminPort())\(path)"])
    return (result.output, result.errors)
  }

  private func command(
    _ martlet: MartletProcess, _ arguments: [String], as name: String? = nil
  ) throws -> CommandResult {
    try run(
      [Installation.binary] + arguments
        + ["--admin", "https://localhost:\(try martlet.adminPort())"]
        + ["--ca", certificates.authority] + (name.map(identity) ?? []))
  }

  @Test func `a client with a certificate of the authority may read and change`() throws {
    let (one, two) = (try StubBackend("one"), try StubBackend("two"))
    let martlet = try start([one, two], clientsMustShow)
    #expect(martlet.log.contains("admin interface listening url=https://127.0.0.1:"))
    #expect(try curl(martlet, "/metrics", identity("ann")).status == "200")
    let status = try command(martlet, ["status"], as: "ann")
    #expect(status.status == 0 && status.output.contains(one.address), "\(status.errors)")
    let drained = try command(martlet, ["drain", "default/\(one.address)"], as: "ann")
    #expect(drained.status == 0, "\(drained.errors)")
    for _ in 0..<4 { #expect(try martlet.get().text == "two") }
  }

  @Test(arguments: [nil, "eve", "old"])
  func `other clients are refused, with the reason`(_ name: String?) throws {
    let martlet = try start([try StubBackend()], clientsMustShow)
    let seen = try curl(martlet, "/healthz", name.map(identity) ?? [])
    #expect(seen.status == "000", "\(seen)")
    let told = try command(martlet, ["status"], as: name)
    let reasons = ["eve": "unknown ca", "old": "certificate expired"]
    #expect(told.status == 70 && told.output.isEmpty)
    #expect(told.errors.contains(reasons[name ?? ""] ?? "certificate required"), "\(told.errors)")
    // The interface still works for clients with access.
    #expect(try curl(martlet, "/readyz", identity("ann")).status == "200")
  }

  @Test func `with a token file both are required`() throws {
    let martlet = try start(
      [try StubBackend()], clientsMustShow + #", "token-file": "token""#,
      token: "a-token-of-some-length")
    #expect(try curl(martlet, "/metrics", identity("ann")).status == "401")
    let token = ["-H", "Authorization: Bearer a-token-of-some-length"]
    #expect(try curl(martlet, "/metrics", token).status == "000")
    #expect(try curl(martlet, "/metrics", identity("ann") + token).status == "200")
    let shown = ["status", "--token-file", martlet.folder.path("token")]
    #expect(try command(martlet, shown, as: "ann").status == 0)
  }

  @Test func `without an authority it is encrypted and read-only`() throws {
    let stub = try StubBackend()
    let martlet = try start([stub], "")
    #expect(try curl(martlet, "/metrics").status == "200")
    let drained = try command(martlet, ["drain", "default/\(stub.address)"])
    #expect(drained.status == 70 && drained.errors.contains("only shows"), "\(drained.errors)")
    // A client that sends plain HTTP gets an explanation.
    let plain = try Wire(port: martlet.adminPort()).exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    #expect(plain.status == 400 && plain.text.contains("speaks https"))
    // A command trusts only the configured authorities.
    let distrusted = try run(
      [Installation.binary, "status", "--admin", "https://localhost:\(martlet.adminPort())"])
    #expect(distrusted.status == 70)
    #expect(distrusted.errors.contains("isn't trusted"), "\(distrusted.errors)")
  }

  /// A browser presents its certificate for every page.
  @Test func `a page of another site changes nothing through a browser with a certificate`() throws
  {
    let martlet = try start([try StubBackend()], clientsMustShow)
    let port = try martlet.adminPort()
    let reload = identity("ann") + ["-X", "POST"]
    let foreign = ["-H", "Origin: https://elsewhere.example"]
    #expect(try curl(martlet, "/v1/reload", reload + foreign).status == "403")
    let own = ["-H", "Origin: https://localhost:\(port)"]
    #expect(try curl(martlet, "/v1/reload", reload + own).status == "200")
  }

  @Test func `a reload loads a renewed certificate`() throws {
    let martlet = try start([try StubBackend()], "")
    let port = try martlet.adminPort()
    func served() throws -> String {
      try run(
        [
          "sh", "-c",
          "openssl s_client -connect 127.0.0.1:\(port) </dev/null 2>/dev/null"
            + " | openssl x509 -noout -serial",
        ]
      ).output
    }
    let before = try served()
    #expect(before.hasPrefix("serial="))
    let metrics = try run(["curl", "-sk", "https://127.0.0.1:\(port)/metrics"]).output
    #expect(
      metrics.contains(
        #"martlet_certificate_expiry_timestamp_seconds{listener="admin.listen",path=""#))
    try certificates.make("server", names: ["localhost"])
    try eventually("another one is served") {
      let now = try served()
      return now.hasPrefix("serial=") && now != before
    }
  }

  @Test func `an address for all networks needs a token or client certificates`() throws {
    let folder = TemporaryFolder()
    func check(_ admin: String) throws -> CommandResult {
      try folder.write(
        """
        { "listeners": [{ "listen": "127.0.0.1:0" }], "pools": [{ "backends": ["127.0.0.1:1"] }],
          "admin": { "listen": "*:9091"\(admin) } }
        """, to: "config.json")
      return try run([Installation.binary, "check"], in: folder.path)
    }
    let pair = #", "certificate": \#(certificates.entry())"#
    for (admin, reason) in [
      ("", "add token-file or client-ca"), (pair, "add token-file or client-ca"),
      (clientsMustShow, "client certificates require TLS"),
      (pair + #", "client-ca": "none.crt""#, "none.crt does not exist"),
    ] {
      let result = try check(admin)
      #expect(result.status == 1 && result.errors.contains(reason), "\(result.errors)")
    }
    #expect(try check(pair + clientsMustShow).status == 0)
  }
}
