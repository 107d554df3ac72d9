// TLS with real clients: curl and openssl s_client with the real binary.

import Foundation
import Testing

@Suite(.serialized) struct TLSTests {
  private let certificates: Certificates

  init() throws { certificates = try Certificates() }

  private func start(
    _ entries: [String]? = nil, tls: String = "", rest: String = "", backend: String = "hello"
  ) throws -> MartletProcess {
    let list = (entries ?? [certificates.entry()]).joined(separator: ", ")
    return try MartletProcess(
      backends: [try StubBackend(backend)],
      listener: #""tls": { "certificates": [\#(list)]\#(tls) }"#, rest: rest)
  }

  private func curl(_ martlet: MartletProcess, _ arguments: String...) throws -> CommandResult {
    try run(
      ["curl", "-sS", "--max-time", "20", "--cacert", certificates.authority] + arguments
        + ["https://localhost:\(martlet.port)/"])
  }

  /// The output of s_client for a connection that sends `input`.
  private func client(
    _ martlet: MartletProcess, _ arguments: [String] = [], input: String = ""
  ) throws -> String {
    let result = try run(
      ["openssl", "s_client", "-connect", "127.0.0.1:\(martlet.port)"] + arguments, input: input)
    return result.output + result.errors
  }

  @Test func `curl verifies the certificate and is answered by three in turn`() throws {
    let backends = try ["a", "b", "c"].map { try Nginx($0) }
    let martlet = try MartletProcess(
      backends: backends, listener: #""tls": { "certificates": [\#(certificates.entry())] }"#)
    var answers: [String] = []
    for _ in 0..<6 {
      let result = try curl(martlet, "-w", "%{http_code} %{ssl_verify_result}")
      #expect(result.output.hasSuffix("\n200 0"), "\(result)")
      answers.append(result.output)
    }
    #expect(Set(answers).count == 3)
    #expect(answers[0..<3] == answers[3..<6])
  }

  @Test func `the backend learns that the client came by TLS, and HSTS is sent if asked`() throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(
      backends: [stub],
      listener: #"""
        "tls": { "certificates": [\#(certificates.entry())] },
        "hsts": { "max-age": "365d", "include-subdomains": true }
        """#)
    let result = try curl(martlet, "-i")
    #expect(
      result.output.lowercased().contains(
        "strict-transport-security: max-age=31536000; includesubdomains\r\n"))
    #expect(stub.lastRequest?["X-Forwarded-Proto"] == "https")
    #expect(stub.lastRequest?["Forwarded"]?.hasSuffix("proto=https") == true)
  }

  @Test(arguments: [("1.2", "TLSv1.2"), ("1.3", "TLSv1.3")])
  func `TLS 1.2 and 1.3 are supported, and ALPN selects HTTP 2`(
    _ version: String, _ name: String
  ) throws {
    let martlet = try start()
    let said = try client(
      martlet, ["-tls\(version.replacingOccurrences(of: ".", with: "_"))", "-alpn", "h2,http/1.1"])
    #expect(said.contains("Protocol  : \(name)") || said.contains("New, \(name)"))
    #expect(said.contains("ALPN protocol: h2"))
    let result = try curl(martlet, "--tlsv\(version)", "--tls-max", version)
    #expect(result.output == "hello")
  }

  @Test(arguments: ["-tls1", "-tls1_1"])
  func `older versions are refused`(_ version: String) throws {
    let martlet = try start()
    let said = try client(martlet, [version, "-cipher", "ALL:@SECLEVEL=0"])
    #expect(said.contains("alert protocol version"), "\(said)")
    #expect(try curl(martlet).output == "hello")
  }

  @Test func `a minimum of 1.3 refuses 1.2`() throws {
    let martlet = try start(tls: #", "minimum-version": "1.3""#)
    #expect(try client(martlet, ["-tls1_2"]).contains("alert protocol version"))
    #expect(try curl(martlet).output == "hello")
  }

  @Test(arguments: ["-tls1_2", "-tls1_3"])
  func `a session is resumed by its ticket, also on another worker`(_ version: String) throws {
    let martlet = try start()
    let folder = TemporaryFolder()
    // The ticket of TLS 1.3 follows the handshake, so wait for a response.
    let saving = try Pipe(
      ["-connect", "127.0.0.1:\(martlet.port)", version, "-sess_out", folder.path("session")])
    try saving.exchange()
    for _ in 0..<6 {
      let said = try client(martlet, [version, "-sess_in", folder.path("session")])
      #expect(said.contains("Reused, "), "\(said)")
    }
  }

  @Test(arguments: ["-tls1_2", "-tls1_3"])
  func `each listener encrypts tickets with its own key files, which other machines may share`(
    _ version: String
  ) throws {
    let folder = TemporaryFolder()
    for name in ["one", "two"] {
      try certificates.openssl("rand", "-out", folder.path(name), "48")
    }
    func start(_ listeners: [(name: String, key: String)]) throws -> MartletProcess {
      let list = listeners.map {
        #"""
        { "name": "\#($0.name)", "listen": "127.0.0.1:0",
          "tls": { "certificates": [\#(certificates.entry())],
            "tickets": { "key-files": ["\#(folder.path($0.key))"] } } }
        """#
      }
      let stub = try StubBackend("hello")
      return try MartletProcess(
        #"""
        { "listeners": [\#(list.joined(separator: ", "))],
          "pools": [{ "backends": [\#(stub.json)] }], "log": { "target": "access.log" } }
        """#, keeping: [stub])
    }
    let both = try start([("a", "one"), ("b", "two")])
    for (index, name) in ["a", "b"].enumerated() {
      let saving = try Pipe(
        ["-connect", "127.0.0.1:\(both.ports[index])", version]
          + ["-sess_out", folder.path("session")])
      try saving.exchange()
      for key in ["one", "two"] {
        let said = try client(
          start([(name, key)]), [version, "-sess_in", folder.path("session")])
        #expect(said.contains("Reused, ") == ((name == "a") == (key == "one")), "\(name) \(key)")
      }
    }
  }

  @Test(arguments: ["-tls1_2", "-tls1_3"])
  func `tickets can be turned off`(_ version: String) throws {
    let martlet = try start(tls: #", "tickets": "off""#)
    let folder = TemporaryFolder()
    let saving = try Pipe(
      ["-connect", "127.0.0.1:\(martlet.port)", version, "-sess_out", folder.path("session")])
    try saving.exchange()
    #expect(!saving.said.contains("TLS session ticket:"))
    // With TLS 1.3 no session was saved, and the client reports that the file doesn't exist.
    let said = try client(martlet, [version, "-sess_in", folder.path("session")])
    #expect(!said.contains("Reused, "))
  }

  @Test func `the server name selects the certificate, exact names before wildcards`() throws {
    try certificates.make("wild", names: ["*.site.example"])
    try certificates.make("exact", names: ["www.site.example"])
    let martlet = try start([
      certificates.entry(), certificates.entry("wild"), certificates.entry("exact"),
    ])
    func subject(_ name: String?) throws -> String {
      let said = try client(martlet, name.map { ["-servername", $0] } ?? ["-noservername"])
      return said.split(separator: "\n").first { $0.hasPrefix("subject=") }.map(String.init) ?? said
    }
    #expect(try subject("www.site.example").contains("CN = www.site.example"))
    #expect(try subject("WWW.Site.Example").contains("CN = www.site.example"))
    #expect(try subject("other.site.example").contains("CN = *.site.example"))
    #expect(try subject("a.b.site.example").contains("CN = localhost"))
    #expect(try subject("site.example").contains("CN = localhost"))
    #expect(try subject("unknown.example").contains("CN = localhost"))
    #expect(try subject(nil).contains("CN = localhost"))
  }

  @Test func `renegotiation is refused`() throws {
    let martlet = try start()
    let session = try Pipe(["-connect", "127.0.0.1:\(martlet.port)", "-tls1_2"])
    try session.waitForHandshake()
    try session.write("R\n")
    eventually("the client is told no") {
      session.said.contains("no renegotiation") || !session.process.isRunning
    }
    #expect(session.said.contains("no renegotiation"), "\(session.said)")
    #expect(try curl(martlet).output == "hello")
  }

  /// RFC 8446 6.1: close_notify means that everything was sent. Without a length, nothing else
  /// does.
  @Test(arguments: [("1.1", "unexpected eof"), ("1.0", "errno=104")])
  func `an answer that is cut off ends without close_notify`(
    _ version: String, _ end: String
  ) throws {
    let dying = try StubBackend { _, wire in
      try wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n")
      return false
    }
    let martlet = try MartletProcess(
      backends: [dying], listener: #""tls": { "certificates": [\#(certificates.entry())] }"#)
    let session = try Pipe(["-connect", "127.0.0.1:\(martlet.port)"])
    try session.waitForHandshake()
    try session.write("GET / HTTP/\(version)\r\nHost: localhost\r\n\r\n")
    _ = try session.process.waitForExit()
    #expect(session.said.contains("200 OK") && session.said.contains(end), "\(session.said)")
  }

  @Test func `a client that offers only http/1.0 by ALPN is served`() throws {
    #expect(try curl(start(), "--http1.0").output == "hello")
  }

  @Test func `plain HTTP to the TLS port gets an answer that can be read`() throws {
    let martlet = try start()
    let wire = try martlet.wire()
    let answer = try wire.get()
    #expect(answer.status == 400)
    #expect(answer.text.contains("https://"))
    #expect(wire.endsQuietly())
    let line = try #require(try martlet.accessLines(atLeast: 1).first)
    #expect(line["status"] as? Int == 400)
    #expect(line["failure"] as? String == "malformed-head")
    #expect(line["reason"] as? String == "plaintext-http")
  }

  @Test func `invalid bytes end only their connection`() throws {
    let martlet = try start()
    var generator = SystemRandomNumberGenerator()
    for count in [1, 5, 100, 3000] {
      let wire = try martlet.wire()
      let first: [UInt8] = count == 100 ? [0x16, 3, 1, 0x40, 0] : []
      let noise = (0..<count).map { _ in UInt8.random(in: 128...255, using: &generator) }
      try? wire.send(first + noise)
      wire.finishSending()
      while (try? wire.receive()) == true {}
      #expect(!String(decoding: wire.buffer, as: UTF8.self).contains("HTTP"))
    }
    #expect(try curl(martlet).output == "hello")
  }

  @Test func `a handshake that doesn't complete in time ends the connection`() throws {
    let martlet = try start(rest: #""limits": { "handshake": "200ms" }"#)
    let quiet = try martlet.wire()
    let half = try martlet.wire()
    try half.send([0x16, 3, 1, 2, 0, 1])
    #expect(quiet.endsQuietly())
    #expect(half.endsQuietly())
  }

  @Test func `the access log contains version, cipher and resumption`() throws {
    let martlet = try start()
    _ = try curl(martlet, "--tls-max", "1.2")
    let line = try #require(try martlet.accessLines(atLeast: 1).first)
    #expect(line["tls"] as? String == "1.2" || line["tls"] as? String == "TLSv1.2")
    #expect((line["cipher"] as? String)?.contains("ECDHE") == true)
    #expect(line["resumed"] as? Bool == false)
  }

  // MARK: Certificates that can't be used

  @Test(arguments: [
    ("a missing key", "gone.key does not exist"),
    ("a missing chain", "gone.crt does not exist"),
    ("a key of another certificate", "doesn't belong to the first certificate in"),
    ("an encrypted key", "encrypted.key is protected by a pass phrase"),
    ("an empty chain", "empty.crt"),
    ("a chain without certificates", "holds no certificate"),
    ("a chain that isn't text", "is not in PEM form"),
  ])
  func `certificates that can't be served stop the start, with file name and reason`(
    _ what: String, _ reason: String
  ) throws {
    let folder = certificates.folder
    var chain = folder.path("server.crt")
    var key = folder.path("server.key")
    switch what {
    case "a missing key": key = folder.path("gone.key")
    case "a missing chain": chain = folder.path("gone.crt")
    case "a key of another certificate":
      try certificates.make("other", names: ["localhost"])
      key = folder.path("other.key")
    case "an encrypted key":
      try certificates.openssl(
        "pkey", "-in", key, "-aes256", "-passout", "pass:secret", "-out",
        folder.path("encrypted.key"))
      key = folder.path("encrypted.key")
    case "a chain that isn't text":
      try certificates.openssl(
        "x509", "-in", chain, "-outform", "der", "-out", folder.path("binary.crt"))
      chain = folder.path("binary.crt")
    case "an empty chain": chain = try folder.write("", to: "empty.crt")
    default:
      chain = folder.path("server.key")
    }
    let configuration = TemporaryFolder()
    let port = try freePort()
    try configuration.write(
      """
      { "listeners": [{ "listen": "127.0.0.1:\(port)",
          "tls": { "certificates": [{ "chain": "\(chain)", "key": "\(key)" }] } }],
        "pools": [{ "backends": ["127.0.0.1:1"] }] }
      """, to: "config.json")
    for (command, status) in [("run", Int32(70)), ("check", 1)] {
      let child = try MartletProcess.start([command], in: configuration)
      #expect(try child.waitForExit() == status)
      #expect(child.errorText.contains(reason), "\(child.errorText)")
      #expect(child.errorText.contains(folder.path), "\(child.errorText)")
    }
  }

  @Test func `an expired certificate is refused by check, and served with a warning`() throws {
    try certificates.makeExpired("expired")
    let martlet = try start([certificates.entry("expired")])
    let line = martlet.log.split(separator: "\n").first { $0.contains("certificate has expired") }
    #expect(line?.contains(" warning ") == true && line?.contains("expired.crt: ") == true)
    let result = try run(["curl", "-sk", "https://localhost:\(martlet.port)/"])
    #expect(result.output == "hello")
    let check = try MartletProcess.start(["check"], in: martlet.folder)
    #expect(try check.waitForExit() == 1)
    #expect(check.errorText.contains("expired.crt: the certificate has expired"))
  }

  @Test func `a chain that clients can't verify is served with a warning`() throws {
    let folder = certificates.folder
    // An authority, an intermediate one, and a certificate that contains the intermediate's
    // location.
    for (name, signer, more) in [
      ("top", nil, "basicConstraints=critical,CA:TRUE"),
      ("middle", "top", "basicConstraints=critical,CA:TRUE"),
      ("leaf", "middle", "authorityInfoAccess=caIssuers;URI:http://a.test/middle.crt"),
    ] {
      try certificates.openssl(
        "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-keyout", folder.path("\(name).key"), "-out", folder.path("\(name).csr"),
        "-subj", "/CN=\(name)")
      chmod(folder.path("\(name).key"), 0o600)
      try folder.write(more + "\n", to: "extensions")
      let issuer = signer.map {
        ["-CA", folder.path("\($0).crt"), "-CAkey", folder.path("\($0).key"), "-CAcreateserial"]
      }
      let result = try run(
        ["openssl", "x509", "-req", "-in", folder.path("\(name).csr"), "-days", "30"]
          + ["-extfile", folder.path("extensions"), "-out", folder.path("\(name).crt")]
          + (issuer ?? ["-signkey", folder.path("\(name).key")]))
      #expect(result.status == 0, "\(result.errors)")
    }
    func check(_ parts: [String]) throws -> String {
      try folder.write(parts.map { folder.read("\($0).crt") }.joined(), to: "chain.crt")
      let key = folder.path("leaf.key")
      try folder.write(
        """
        { "listeners": [{ "listen": "127.0.0.1:0", "tls": { "certificates": [
            { "chain": "chain.crt", "key": "\(key)" }] } }],
          "pools": [{ "backends": ["127.0.0.1:1"] }] }
        """, to: "config.json")
      let result = try run([Installation.binary, "check"], in: folder.path)
      #expect(result.status == 0, "\(result.errors)")
      return result.errors
    }
    #expect(try check(["leaf", "middle"]).isEmpty)
    #expect(try check(["leaf", "middle", "top"]).isEmpty)
    #expect(try check(["leaf"]).contains("chain.crt: the intermediate certificate that signed it"))
    #expect(try check(["leaf", "top", "middle"]).contains("chain.crt: certificate 2 in it hasn't"))
  }

  @Test func `a renewed certificate is served after a reload`() throws {
    try certificates.make("site", names: ["localhost"])
    let configuration = MartletProcess.configuration(
      backends: ["127.0.0.1:1"],
      listener: #""tls": { "certificates": [\#(certificates.entry("site"))] }"#,
      rest: #""watch": false"#)
    let martlet = try MartletProcess(configuration)
    let before = try martlet.servedSerial()
    try certificates.make("site", names: ["localhost"])
    #expect(try martlet.servedSerial() == before)
    try martlet.reload(configuration)
    let after = try martlet.servedSerial()
    #expect(after.hasPrefix("serial=") && after != before)
  }
}

/// An s_client whose standard input stays open for writing.
private final class Pipe {
  let process: ChildProcess
  private let folder = TemporaryFolder()
  private let input: Int32

  init(_ arguments: [String]) throws {
    let path = folder.path("input")
    guard mkfifo(path, 0o600) == 0 else { throw HarnessError("no fifo") }
    // For both directions, so that open doesn't wait for the other end.
    input = open(path, O_RDWR | O_CLOEXEC)
    process = try ChildProcess(["openssl", "s_client"] + arguments, input: path)
  }

  deinit {
    process.end()
    close(input)
  }

  var said: String { process.outputText + process.errorText }

  func write(_ text: String) throws {
    let bytes = Array(text.utf8)
    guard Foundation.write(input, bytes, bytes.count) == bytes.count else {
      throw HarnessError("can't write to s_client")
    }
  }

  func waitForHandshake() throws {
    eventually("the handshake ends") { said.contains("SSL handshake has read") }
  }

  /// One request on a connection that closes after it.
  func exchange() throws {
    try waitForHandshake()
    try write("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    _ = try process.waitForExit()
    guard said.contains("200 OK") else { throw HarnessError(said) }
  }
}
