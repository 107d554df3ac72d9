// Reloads that change access to the admin interface and its address.

import Foundation
import Testing

@Suite struct AdminReloadTests {
  private let first = "the-first-token-there-is"
  private let second = "the-second-token-there-is"

  private func configuration(_ stub: StubBackend, _ admin: String) -> String {
    MartletProcess.configuration(backends: [stub], rest: #""admin": { \#(admin) }, "watch": false"#)
  }

  private func start(_ stub: StubBackend, _ admin: String) throws -> MartletProcess {
    let folder = TemporaryFolder()
    try folder.write(first + "\n", to: "one")
    try folder.write(second + "\n", to: "two")
    return try MartletProcess(configuration(stub, admin), in: folder, keeping: [stub])
  }

  private func request(_ token: String?) -> String {
    let key = token.map { "Authorization: Bearer \($0)\r\n" } ?? ""
    return "GET /v1/log-level HTTP/1.1\r\nHost: localhost\r\n\(key)\r\n"
  }

  private func status(_ port: Int, _ token: String?) throws -> Int {
    try Wire(port: port).exchange(request(token)).status
  }

  @Test func `a new token file counts at once, and the old token no longer`() throws {
    let stub = try StubBackend()
    let listen = #""listen": "127.0.0.1:0""#
    let martlet = try start(stub, listen + #", "token-file": "one""#)
    let port = try martlet.adminPort()
    let kept = try Wire(port: port)
    #expect(try kept.exchange(request(first)).status == 200)
    let stream = try Wire(port: port)
    try stream.send(
      "GET /v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer \(first)\r\n\r\n")
    _ = try stream.take(until: "data: ")

    try martlet.reload(configuration(stub, listen + #", "token-file": "two""#))
    #expect(try status(port, second) == 200)
    #expect(try status(port, first) == 401)
    // Connections opened with it are closed too.
    #expect((try? kept.exchange(request(first)).status) != 200)
    eventually("the stream ends") { (try? stream.receive()) != true }

    // The same file with other content.
    try martlet.folder.write("a-third-token-there-is\n", to: "two")
    try martlet.reload(configuration(stub, listen + #", "token-file": "two""#))
    #expect(try status(port, "a-third-token-there-is") == 200)
    #expect(try status(port, second) == 401)

    // A file without a valid token changes nothing.
    try martlet.folder.write("short\n", to: "three")
    try martlet.reload(configuration(stub, listen + #", "token-file": "three""#))
    #expect(martlet.log.contains("admin.token-file"))
    #expect(try status(port, "a-third-token-there-is") == 200)
  }

  @Test func `a watched token file is loaded when it changes`() throws {
    let stub = try StubBackend()
    let folder = TemporaryFolder()
    try folder.write(first + "\n", to: "token")
    let martlet = try MartletProcess(
      MartletProcess.configuration(
        backends: [stub], rest: #""admin": { "listen": "127.0.0.1:0", "token-file": "token" }"#),
      in: folder, keeping: [stub])
    let port = try martlet.adminPort()
    try folder.write(second + "\n", to: "token")
    try eventually("the new token counts") { try status(port, second) == 200 }
    #expect(try status(port, first) == 401)
  }

  @Test func `a reload command that replaces its own token still gets its answer`() throws {
    let stub = try StubBackend()
    let listen = #""listen": "127.0.0.1:0""#
    let martlet = try start(stub, listen + #", "token-file": "one""#)
    try martlet.folder.write(
      configuration(stub, listen + #", "token-file": "two""#), to: "config.json")
    let wire = try Wire(port: martlet.adminPort())
    try wire.send(
      "POST /v1/reload HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer \(first)\r\n"
        + "Content-Length: 0\r\n\r\n")
    let answer = try wire.takeResponse()
    #expect(answer.status == 200 && answer["Connection"] == "close")
    #expect(wire.endsQuietly())
  }

  @Test func `a new address is listened on, and the old one no longer`() throws {
    let stub = try StubBackend()
    let (one, two) = (try freePort(), try freePort())
    let martlet = try start(stub, #""listen": "127.0.0.1:\#(one)""#)
    #expect(try status(one, nil) == 200)
    try martlet.reload(configuration(stub, #""listen": "127.0.0.1:\#(two)""#))
    #expect(try status(two, nil) == 200)
    eventually("the old one is closed") { (try? Wire(port: one)) == nil }

    // An address that includes the old one, and back.
    let everywhere = #""listen": "*:\#(two)", "token-file": "one""#
    try martlet.reload(configuration(stub, everywhere))
    #expect(martlet.log.contains("admin interface listening url=http://0.0.0.0:\(two)/"))
    try eventually("it asks for the token") { try status(two, nil) == 401 }
    #expect(try status(two, first) == 200)
    try martlet.reload(configuration(stub, #""listen": "127.0.0.1:\#(two)""#))
    try eventually("it is open to this machine") { try status(two, nil) == 200 }

    // No address, and one again.
    try martlet.reload(configuration(stub, #""socket": "auto""#))
    eventually("it is closed") { (try? Wire(port: two)) == nil }
    try martlet.reload(configuration(stub, #""listen": "127.0.0.1:\#(one)""#))
    #expect(try status(one, nil) == 200)
  }

  @Test func `a configuration with an unavailable address is refused`() throws {
    let stub = try StubBackend()
    let (one, taken) = (try freePort(), try Listening())
    let martlet = try start(stub, #""listen": "127.0.0.1:\#(one)""#)
    try martlet.reload(configuration(stub, #""listen": "127.0.0.1:\#(taken.port)""#))
    #expect(martlet.log.contains("admin.listen: can't listen on 127.0.0.1:\(taken.port)"))
    #expect(martlet.log.contains("the new configuration is refused"))
    #expect(try status(one, nil) == 200)
    let other = #""socket": "none/of/these""#
    try martlet.reload(configuration(stub, #""listen": "127.0.0.1:0", \#(other)"#))
    #expect(martlet.log.contains("admin.socket: can't listen on"))
    #expect(try status(one, nil) == 200)
  }

  @Test func `a reload moves, removes and creates the admin socket`() throws {
    let stub = try StubBackend()
    let martlet = try start(stub, #""socket": "one.sock""#)
    let folder = martlet.folder
    func answers(_ name: String) throws -> Bool {
      try run([Installation.binary, "log-level", "--socket", folder.path(name)]).status == 0
    }
    #expect(try answers("one.sock"))
    try martlet.reload(configuration(stub, #""socket": "two.sock""#))
    #expect(try answers("two.sock"))
    #expect(!FileManager.default.fileExists(atPath: folder.path("one.sock")))
    try martlet.reload(configuration(stub, #""socket": "off""#))
    eventually("it is gone") { !FileManager.default.fileExists(atPath: folder.path("two.sock")) }
    try martlet.reload(configuration(stub, #""socket": "three.sock""#))
    #expect(try answers("three.sock"))
  }

  @Test func `a socket file that was removed is there again after a reload`() throws {
    let stub = try StubBackend()
    let martlet = try start(stub, #""socket": "one.sock""#)
    let path = martlet.folder.path("one.sock")
    let kept = try Wire(path: path)
    #expect(try kept.exchange(request(nil)).status == 200)
    try FileManager.default.removeItem(atPath: path)
    try martlet.reload(configuration(stub, #""socket": "one.sock""#))
    #expect(try Wire(path: path).exchange(request(nil)).status == 200)
    #expect(try kept.exchange(request(nil)).status == 200)
    #expect(try martlet.terminate() == 0)
    let left = try FileManager.default.contentsOfDirectory(atPath: martlet.folder.path)
    #expect(!left.contains { $0.hasPrefix("one.sock") })
  }

  @Test(arguments: ["off", "two.sock"])
  func `clients of a removed socket lose their connections`(_ next: String) throws {
    let stub = try StubBackend()
    let martlet = try start(stub, #""socket": "one.sock""#)
    let kept = try Wire(path: martlet.folder.path("one.sock"))
    #expect(try kept.exchange(request(nil)).status == 200)
    let stream = try Wire(path: martlet.folder.path("one.sock"))
    try stream.send("GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    _ = try stream.take(until: "data: ")
    // The client that requests it still gets the response.
    let asking = try Wire(path: martlet.folder.path("one.sock"))
    try martlet.folder.write(configuration(stub, #""socket": "\#(next)""#), to: "config.json")
    try asking.send("POST /v1/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
    #expect(try asking.takeResponse().status == 200)
    // At once, and not after the idle timeout.
    #expect((try? kept.exchange(request(nil)).status) != 200)
    eventually("the stream ends") { (try? stream.receive()) != true }
    #expect(asking.endsQuietly())
  }

  @Test func `a file that is no socket is not replaced`() throws {
    let stub = try StubBackend()
    let folder = TemporaryFolder()
    try folder.write("precious", to: "data")
    try folder.write(configuration(stub, #""socket": "data""#), to: "config.json")
    let process = try MartletProcess.start(["run"], in: folder)
    #expect(try process.waitForExit() == 70)
    #expect(process.errorText.contains("admin.socket: can't listen on"), "\(process.errorText)")
    #expect(folder.read("data") == "precious")
  }

  @Test func `certificates and authorities of the address are changed by a reload`() throws {
    let stub = try StubBackend()
    let certificates = try Certificates()
    let martlet = try start(stub, #""listen": "127.0.0.1:0""#)
    let port = try martlet.adminPort()
    #expect(try status(port, nil) == 200)
    func reload(_ rest: String) throws {
      try martlet.reload(configuration(stub, #""listen": "127.0.0.1:0"\#(rest)"#))
    }
    func curl() throws -> String {
      try run(
        [
          "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--cacert",
          certificates.authority, "https://localhost:\(port)/v1/log-level",
        ]
      ).output
    }
    let pair = #", "certificate": \#(certificates.entry())"#
    try reload(pair)
    try eventually("it speaks TLS") { try curl() == "200" }
    try reload(pair + #", "client-ca": "\#(certificates.authority)""#)
    try eventually("it wants a certificate") { try curl() == "000" }
    try reload("")
    eventually("it is plain again") { (try? status(port, nil)) == 200 }
  }

  @Test func `a reload names the keys that need a restart`() throws {
    let stub = try StubBackend()
    let martlet = try start(stub, #""socket": "auto""#)
    try martlet.folder.write(
      MartletProcess.configuration(
        backends: [stub], rest: #""workers": 7, "process": { "core-dumps": true }"#),
      to: "config.json")
    let result = try run(
      [Installation.binary, "reload", "--socket", martlet.folder.path("admin.sock")])
    #expect(result.status == 0, "\(result.errors)")
    for key in ["workers", "process.core-dumps"] {
      #expect(
        martlet.log.contains("the change of this key needs an upgrade or a restart key=\(key)"))
      #expect(
        result.output.contains("\(key) is not applied until an upgrade or a restart"),
        "\(result.output)")
    }
  }

  @Test func `a reload of a file with errors finds the socket in it, and prints them`() throws {
    let stub = try StubBackend()
    let martlet = try start(stub, #""socket": "own.sock""#)
    try martlet.folder.write(
      MartletProcess.configuration(
        backends: [stub], rest: #""admin": { "socket": "own.sock" }, "via": 1"#),
      to: "config.json")
    let result = try run([Installation.binary, "reload"], in: martlet.folder.path)
    #expect(result.status == 70)
    #expect(result.errors.contains("error: via: 1 is not a boolean"), "\(result.errors)")
  }
}
