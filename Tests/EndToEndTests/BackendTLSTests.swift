// TLS to backends: what is verified, how failures are named, and what is kept and renewed.

import COpenSSL
import Foundation
import Testing

@Suite struct BackendTLSTests {
  private let certificates: Certificates

  init() throws {
    certificates = try Certificates()
  }

  private var trusting: String { #""ca": "\#(certificates.authority)""# }

  /// Of the authority, for 127.0.0.1, or for Martlet as a client.
  private func sign(_ name: String, days: Int = 30) throws {
    func path(_ file: String) -> String { certificates.folder.path(file) }
    try certificates.openssl(
      "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
      "-keyout", path("\(name).key"), "-out", path("\(name).csr"), "-subj", "/CN=\(name)")
    chmod(path("\(name).key"), 0o600)
    try certificates.folder.write("subjectAltName=IP:127.0.0.1\n", to: "\(name).ext")
    try certificates.openssl(
      "x509", "-req", "-in", path("\(name).csr"), "-CA", certificates.authority,
      "-CAkey", path("ca.key"), "-set_serial", "\(name.utf8.count)",
      "-extfile", path("\(name).ext"), "-out", path("\(name).crt"), "-days", "\(days)")
  }

  /// Martlet in front of these backends, without health checks.
  private func start(
    _ backends: [any ConfiguredBackend], _ tls: String, pool: String = #""health": "off""#,
    rest: String = ""
  ) throws -> MartletProcess {
    try MartletProcess(
      backends: backends, pool: "\(pool), \"tls\": { \(tls) }", rest: rest,
      flags: ["--workers", "1"])
  }

  /// The results of the attempts of the last request.
  private func results(_ martlet: MartletProcess) throws -> Set<String> {
    let line = try #require(try martlet.accessLines(atLeast: 1).last)
    let attempts = line["attempts"] as? [[String: Any]] ?? []
    return Set(attempts.compactMap { $0["result"] as? String })
  }

  // MARK: Verification

  @Test func `a verified backend serves, and gets the configured name`() throws {
    let backend = try TLSNginx(certificates)
    let byAddress = try start([backend], trusting)
    // An address is verified, but not sent (RFC 6066 3).
    #expect(try byAddress.get().text.contains("name= client"))
    let byName = try start([backend], trusting + #", "server-name": "localhost""#)
    // Whatever the client's Host is.
    let answer = try byName.answer("GET / HTTP/1.1\r\nHost: other.test\r\n\r\n")
    #expect(answer.status == 200 && answer.text.contains("name=localhost client"))
    #expect(try byName.terminate() == 0)
  }

  struct Fault: Sendable {
    var certificate = "server"
    var tls = "TRUSTING"
    let word: String
  }

  @Test(arguments: [
    Fault(tls: "", word: "tls-untrusted"),
    Fault(tls: #"TRUSTING, "server-name": "other.test""#, word: "tls-wrong-name"),
    Fault(certificate: "expired", word: "tls-expired"),
    Fault(certificate: "self", word: "tls-self-signed"),
    Fault(tls: "TRUSTING, \"pins\": [\"\(String(repeating: "A", count: 43))=\"]", word: "tls-pin"),
  ])
  func `an invalid certificate is refused by name`(_ fault: Fault) throws {
    switch fault.certificate {
    case "expired": try sign("expired", days: -1)
    case "self": try certificates.make("self", names: ["localhost"])
    default: break
    }
    let martlet = try start(
      [try TLSNginx(certificates, fault.certificate)],
      fault.tls.replacing("TRUSTING", with: trusting),
      rest: #""admin": { "listen": "127.0.0.1:0" }"#)
    #expect(try martlet.get().status == 502)
    #expect(try martlet.accessLines(atLeast: 1).last?["failure"] as? String == fault.word)
    #expect(try results(martlet) == [fault.word])
    let metrics = try Wire(port: martlet.adminPort()).get("/metrics").text
    #expect(metrics.contains("martlet_failures_total{cause=\"\(fault.word)\"} 1\n"))
    #expect(!metrics.contains("martlet_upstream_handshakes_total{result=\"failed\"} 0\n"))
  }

  @Test func `without verification any certificate is accepted, with a warning`() throws {
    try certificates.make("self", names: ["other.test"])
    let martlet = try start([try TLSNginx(certificates, "self")], #""verify": "off""#)
    #expect(try martlet.get().status == 200)
    #expect(martlet.log.contains("are not verified"))
    let status = try run([
      Installation.binary, "status", "--socket", martlet.folder.path("admin.sock"),
    ])
    #expect(status.output.contains("TLS, NOT VERIFIED"))
    let check = try run([Installation.binary, "check", martlet.folder.path("config.json")])
    #expect(check.status == 0 && (check.output + check.errors).contains("are not verified"))
  }

  @Test func `one of the pinned keys is enough, in addition to a valid certificate`() throws {
    let pin = try run([
      "sh", "-c",
      "openssl x509 -in '\(certificates.folder.path("server.crt"))' -pubkey -noout"
        + " | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64",
    ]).output.trimmingCharacters(in: .newlines)
    let other = String(repeating: "A", count: 43) + "="
    let backend = try TLSNginx(certificates)
    let pins = "\"pins\": [\"\(other)\", \"\(pin)\"]"
    #expect(try start([backend], "\(trusting), \(pins)").get().status == 200)
    #expect(try start([backend], pins).get().status == 502)
  }

  @Test func `the system's authorities are trusted by default`() throws {
    let folder = TemporaryFolder()
    let backend = try TLSNginx(certificates)
    let martlet = try MartletProcess(
      MartletProcess.configuration(backends: [backend]), in: folder,
      environment: ["SSL_CERT_FILE": certificates.authority], keeping: [backend.nginx])
    #expect(try martlet.get().status == 200)
  }

  // MARK: Other failures

  @Test func `a backend that speaks plain HTTP is named`() throws {
    let martlet = try start([try Nginx("plain")], trusting)
    #expect(try martlet.get().status == 502)
    #expect(try results(martlet) == ["tls-not-spoken"])
  }

  @Test func `a backend that is silent in the handshake is given up after the connect timeout`()
    throws
  {
    let martlet = try start(
      [try StubBackend()], trusting,
      pool: #""health": "off", "timeouts": { "connect": "200ms" }"#)
    #expect(try martlet.get().status == 504)
    #expect(try results(martlet) == ["tls-timeout"])
  }

  @Test func `a backend that closes in the handshake is named`() throws {
    let listening = try Listening()
    Thread.detachNewThread { while let wire = listening.accept() { wire.end() } }
    defer { listening.end() }
    let martlet = try start(["127.0.0.1:\(listening.port)"], trusting)
    #expect(try martlet.get().status == 502)
    #expect(try results(martlet) == ["tls-failed"])
  }

  @Test func `a failed handshake is retried on another backend, for any method`() throws {
    try sign("expired", days: -1)
    let (bad, good) = (try TLSNginx(certificates, "expired"), try TLSNginx(certificates))
    let martlet = try start([bad, good], trusting)
    for _ in 0..<2 {
      let answer = try martlet.answer(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
      #expect(answer.status == 200)
    }
    let results = try martlet.accessLines(atLeast: 2).map { line in
      (line["attempts"] as? [[String: Any]] ?? []).compactMap { $0["result"] as? String }
    }
    #expect(results.contains(["tls-expired", "ok"]))
    #expect(results.allSatisfy { $0.last == "ok" })
  }

  // MARK: Client certificates

  @Test func `a certificate is presented to backends that ask for one`() throws {
    try sign("martlet")
    let backend = try TLSNginx(
      certificates, "server",
      "ssl_verify_client on; ssl_client_certificate \(certificates.authority);")
    let certificate = #", "certificate": "# + certificates.entry("martlet")
    let with = try start([backend], trusting + certificate)
    #expect(try with.get().text.contains("client=SUCCESS"))
    // nginx answers in HTTP.
    #expect(try start([backend], trusting).get().status == 400)
  }

  @Test func `a backend that refuses us by an alert is named, with its number`() throws {
    let port = try freePort()
    let server = try ChildProcess([
      "openssl", "s_server", "-accept", "127.0.0.1:\(port)", "-Verify", "1",
      "-verify_return_error", "-CAfile", certificates.authority, "-www",
      "-cert", certificates.folder.path("server.crt"),
      "-key", certificates.folder.path("server.key"),
    ])
    #expect(poll { server.outputText.contains("ACCEPT") })
    let martlet = try start(["127.0.0.1:\(port)"], trusting)
    #expect(try martlet.get().status == 502)
    #expect(try results(martlet) == ["tls-alert"])
    #expect(server.isRunning)
  }

  // MARK: Health checks

  @Test(arguments: ["tcp", "http"])
  func `health checks speak the same TLS`(_ check: String) throws {
    let health =
      #""health": { "check": "\#(check)", "interval": "100ms", "fast-interval": "100ms", "#
      + #""rise": 1, "fall": 1, "initially": "down" }"#
    let martlet = try start([try TLSNginx(certificates)], trusting, pool: health)
    eventually("it is up") { (try? martlet.get().status) == 200 }
    try sign("expired", days: -1)
    let expired = try start(
      [try TLSNginx(certificates, "expired")], trusting,
      pool: health.replacing("\"down\"", with: "\"up\""))
    eventually("it is down") { expired.log.contains("backend down") }
    #expect(expired.log.contains("reason=tls-expired"), "\(expired.log)")
    // Without checks of TLS it would be up.
    let plain = try start(
      [try Nginx("plain")], trusting, pool: health.replacing("\"down\"", with: "\"up\""))
    eventually("it is down") { plain.log.contains("reason=tls-not-spoken") }
  }

  // MARK: Sessions and connections

  private func parts(_ text: String) -> [String: String] {
    Dictionary(
      text.split(whereSeparator: \.isWhitespace).compactMap { part in
        let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        return pair.count == 2 ? (String(pair[0]), String(pair[1])) : nil
      }, uniquingKeysWith: { $1 })
  }

  @Test(arguments: ["TLSv1.2", "TLSv1.3"])
  func `sessions are resumed on new connections`(_ version: String) throws {
    let backend = try TLSNginx(
      certificates, "server", "ssl_protocols \(version); keepalive_requests 1;")
    let martlet = try start(
      [backend], trusting, rest: #""admin": { "listen": "127.0.0.1:0" }"#)
    var reused: [String?] = []
    for _ in 0..<4 {
      let parts = parts(try martlet.get().text)
      #expect(parts["protocol"] == version)
      reused.append(parts["reused"])
    }
    #expect(reused == [".", "r", "r", "r"])
    let metrics = try Wire(port: martlet.adminPort()).get("/metrics").text
    #expect(metrics.contains("martlet_upstream_handshakes_total{result=\"full\"} 1\n"))
    #expect(metrics.contains("martlet_upstream_handshakes_total{result=\"resumed\"} 3\n"))
  }

  @Test func `connections are reused, until a reload changes the pool's TLS`() throws {
    let backend = try TLSNginx(certificates)
    let keepAlive = #""health": "off", "keep-alive": { "idle": "60s" }"#
    func configuration(_ tls: String) -> String {
      MartletProcess.configuration(
        backends: [backend], pool: "\(keepAlive), \"tls\": { \(tls) }")
    }
    let martlet = try MartletProcess(
      configuration(trusting), ["--workers", "1"], keeping: [backend.nginx])
    let first = parts(try martlet.get().text)
    let second = parts(try martlet.get().text)
    #expect(second["connection"] == first["connection"] && second["requests"] == "2")
    try martlet.reload(configuration(trusting) + " ")
    let third = parts(try martlet.get().text)
    #expect(third["connection"] == first["connection"])
    // A session under the former settings isn't resumed either.
    try martlet.reload(configuration(trusting + #", "server-name": "localhost""#))
    let fourth = parts(try martlet.get().text)
    #expect(fourth["connection"] != first["connection"] && fourth["reused"] == ".")
  }

  @Test func `a renewed file of authorities is used without a reload command`() throws {
    let backend = try TLSNginx(certificates)
    let strangers = try Certificates()
    let folder = TemporaryFolder()
    try folder.write(strangers.folder.read("ca.crt"), to: "trusted.crt")
    let martlet = try start([backend], #""ca": "\#(folder.path("trusted.crt"))""#)
    #expect(try martlet.get().status == 502)
    #expect(try results(martlet) == ["tls-untrusted"])
    try folder.write(certificates.folder.read("ca.crt"), to: "trusted.crt")
    try eventually("it is trusted") { try martlet.get().status == 200 }
    // An invalid one changes nothing.
    try folder.write("nonsense", to: "trusted.crt")
    eventually("it is refused") { martlet.log.contains("the new configuration is refused") }
    #expect(try martlet.get().status == 200)
  }

  @Test func `a renewed client certificate is presented`() throws {
    try sign("martlet", days: -1)
    let backend = try TLSNginx(
      certificates, "server",
      "ssl_verify_client on; ssl_client_certificate \(certificates.authority);")
    let martlet = try start(
      [backend], trusting + #", "certificate": "# + certificates.entry("martlet"))
    #expect(try martlet.get().status == 400)
    try sign("martlet")
    try eventually("it is accepted") { try martlet.get().text.contains("client=SUCCESS") }
  }

  /// Longer than the pauses of a busy machine.
  private static let patient = #""health": "off", "keep-alive": { "idle": "60s" }"#

  @Test(arguments: [true, false])
  func `late tickets and new keys don't close an idle connection`(_ updatesKeys: Bool) throws {
    let stub = try TLSStub(certificates) { _, session in
      session.sendResponse()
      if updatesKeys { session.updateKeys() } else { session.sendTicket() }
      return true
    }
    defer { stub.end() }
    let martlet = try start([stub], trusting, pool: Self.patient)
    for _ in 0..<10 { #expect(try martlet.get().text == "ok") }
    #expect(stub.connectionCount == 1)
  }

  @Test func `new keys in the segment of the response don't close the connection`() throws {
    // The stub's socket sends both at once.
    let stub = try TLSStub(certificates) { _, session in
      session.together {
        session.sendResponse()
        session.updateKeys()
      }
      return true
    }
    defer { stub.end() }
    let martlet = try start([stub], trusting, pool: Self.patient)
    for _ in 0..<10 { #expect(try martlet.get().text == "ok") }
    #expect(stub.connectionCount == 1)
  }

  @Test func `an idle connection that the backend closes is not used again`() throws {
    let stub = try TLSStub(certificates) { _, session in
      session.sendResponse()
      session.close()
      return true
    }
    defer { stub.end() }
    let martlet = try start([stub], trusting)
    for count in 1...3 {
      #expect(
        try martlet.answer("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").text == "ok")
      // A request on its way when the backend closes could not be saved.
      eventually("the backend has closed") { stub.answeredCount == count }
    }
    #expect(stub.connectionCount == 3)
    #expect(try martlet.accessLines(atLeast: 3).allSatisfy { $0["failure"] == nil })
  }

  @Test(arguments: [true, false])
  func `a body that ends with the connection is complete only after close_notify`(
    _ closes: Bool
  ) throws {
    let stub = try TLSStub(certificates) { _, session in
      session.send("HTTP/1.1 200 OK\r\n\r\nsome")
      if closes { session.close() }
      return false
    }
    defer { stub.end() }
    let martlet = try start([stub], trusting)
    _ = try? martlet.get()
    let failure = try martlet.accessLines(atLeast: 1).last?["failure"] as? String
    #expect(failure == (closes ? nil : "truncated-response"))
  }

  @Test func `another protocol is relayed over TLS, and its end is passed on`() throws {
    let stub = try TLSStub(certificates) { _, session in
      session.send(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
      var byte: UInt8 = 0
      var count = 0
      while SSL_read_ex(session.ssl, &byte, 1, &count) == 1 {
        session.send(String(decoding: [byte], as: UTF8.self))
      }
      // The end of the client arrives as close_notify, not as a truncation.
      session.send(SSL_get_error(session.ssl, 0) == SSL_ERROR_ZERO_RETURN ? "!" : "?")
      session.close()
      return false
    }
    defer { stub.end() }
    let martlet = try start([stub], trusting)
    let wire = try martlet.wire()
    try wire.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
    #expect(try wire.takeHead().status == 101)
    try wire.send("ping")
    #expect(try wire.take(4) == Array("ping".utf8))
    wire.finishSending()
    #expect(try wire.takeRest() == Array("!".utf8))
  }

  @Test func `a large upload and a large response pass intact`() throws {
    let folder = TemporaryFolder()
    let backend = try TLSNginx(
      certificates, "server", "location /files/ { root root; dav_methods PUT; }")
    let martlet = try start([backend], trusting)
    try run([
      "sh", "-c", "head -c 20000000 /dev/urandom > '\(folder.path("up"))'",
    ])
    let url = "http://127.0.0.1:\(martlet.port)/files/big"
    let sent = try run(["curl", "-sSf", "-T", folder.path("up"), url])
    #expect(sent.status == 0, "\(sent.errors)")
    let received = try run(["curl", "-sSf", "-o", folder.path("down"), url])
    #expect(received.status == 0, "\(received.errors)")
    #expect(try run(["cmp", folder.path("up"), folder.path("down")]).status == 0)
  }
}
