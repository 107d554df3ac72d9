// Logins that a backend binds to its connection, as NTLM does: later requests on the connection
// count as the same user. So no other client may use it.

import Foundation
import Synchronization
import Testing

@Suite(.serialized) struct ConnectionLoginTests {
  /// A backend that knows its users by their connections. It asks other clients to log in by NTLM,
  /// which takes two requests on one connection, and responds with the user's name.
  private final class Site: Sendable {
    private struct Login {
      let wire: Wire
      var user: String?
    }

    private final class Logins: Sendable {
      let all = Mutex<[Login]>([])

      func user(of wire: Wire) -> String? {
        all.withLock { logins in logins.first { $0.wire === wire }?.user }
      }

      /// The first of the two messages.
      func begin(_ wire: Wire) { all.withLock { $0.append(Login(wire: wire)) } }

      /// The second message; it only counts on the connection of the first one.
      func end(_ wire: Wire, _ user: String) {
        all.withLock { logins in
          guard let index = logins.firstIndex(where: { $0.wire === wire }) else { return }
          logins[index].user = user
        }
      }
    }

    let stub: StubBackend
    private let logins: Logins

    init() throws {
      let logins = Logins()
      self.logins = logins
      stub = try StubBackend { request, wire in
        try wire.takeBody(of: &request, isResponse: false)
        // Closes during the request, as a server does that has just closed an idle connection.
        if request.target == "/die" { return false }
        var challenge =
          "WWW-Authenticate: Basic realm=\"x\", negotiate\r\nWWW-Authenticate: NTLM\r\n"
        if let message = Site.message(request["Authorization"]) {
          if message[8] == 1 {
            logins.begin(wire)
            challenge = "WWW-Authenticate: NTLM \(Site.challenge)\r\n"
          } else {
            logins.end(wire, Site.user(in: message))
          }
        }
        let user = logins.user(of: wire)
        let name = user ?? "nobody"
        try wire.send(
          "HTTP/1.1 \(user == nil ? "401 Unauthorized\r\n" + challenge : "200 OK\r\n")"
            + "Content-Length: \(name.utf8.count)\r\n\r\n\(name)")
        return request.target != "/last"
      }
    }

    /// Closes every connection with a login.
    func hangUp() { logins.all.withLock { for login in $0 { login.wire.end() } } }

    /// Sends this over every connection with a login.
    func say(_ text: String) throws {
      try logins.all.withLock { for login in $0 { try login.wire.send(text) } }
    }

    private static func message(_ credentials: String?) -> [UInt8]? {
      guard let credentials, credentials.hasPrefix("NTLM "),
        let message = Data(base64Encoded: String(credentials.dropFirst(5))), message.count > 11
      else { return nil }
      return Array(message)
    }

    private static func user(in message: [UInt8]) -> String {
      let count = Int(message[36])
      let start = Int(message[40])
      // ASCII in UTF-16.
      let name = message[start..<(start + count)].filter { $0 != 0 }
      return String(decoding: name, as: UTF8.self)
    }

    /// The response to the first message: Unicode, NTLM, and eight bytes to sign.
    private static let challenge = Data(
      Array("NTLMSSP\0".utf8) + [2, 0, 0, 0] + Array(repeating: 0, count: 4) + [48, 0, 0, 0]
        + [1, 2, 0, 0] + Array(1...8) + Array(repeating: 0, count: 16)
    ).base64EncodedString()
  }

  private static func credentials(_ type: UInt8, user: String = "") -> String {
    var message = Array("NTLMSSP\0".utf8) + [type, 0, 0, 0] + Array(repeating: 0, count: 52)
    message[36] = UInt8(user.utf8.count)
    message[40] = UInt8(message.count)
    message += Array(user.utf8)
    return "Authorization: NTLM \(Data(message).base64EncodedString())\r\n"
  }

  private func logIn(_ user: String, _ wire: Wire) throws {
    #expect(try wire.get("/", Self.credentials(1)).status == 401)
    #expect(try wire.get("/", Self.credentials(3, user: user)).text == user)
  }

  /// One worker, so that all clients would share its pooled connections.
  private func martlet(_ sites: [Site], rest: String = "") throws -> MartletProcess {
    try MartletProcess(
      backends: sites.map(\.stub), pool: #""health": "off""#, rest: rest, flags: ["--workers", "1"])
  }

  @Test func `no other client gets the connection on which a client has logged in`() throws {
    let sites = [try Site(), try Site()]
    let martlet = try martlet(sites)
    let alice = try martlet.wire()
    let bob = try martlet.wire()
    #expect(try bob.get().status == 401)
    try logIn("alice", alice)
    try logIn("bob", bob)
    for _ in 0..<6 {
      #expect(try martlet.get().text == "nobody")
      #expect(try alice.get().text == "alice")
      let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"
      #expect(try bob.exchange(post).text == "bob")
    }
    alice.end()
    for _ in 0..<6 { #expect(try martlet.get().text == "nobody") }
    #expect(try bob.get().text == "bob")
  }

  @Test func `curl logs in by NTLM and stays logged in; both connections end together`() throws {
    let site = try Site()
    let martlet = try martlet([site])
    let address = "http://127.0.0.1:\(martlet.port)/"
    let result = try run(["curl", "-s", "--ntlm", "-u", "carol:secret", address, address, address])
    #expect(result.output == "carolcarolcarol", "\(result.errors)")
    #expect(try martlet.get().text == "nobody")
    // If a connection is left at all, it is the other client's.
    eventually("the connection has ended") { !hasEstablishedConnection(toPort: site.stub.port) }
  }

  /// Its streams would use the connection at the same time, each for the response of another.
  @Test func `a client with HTTP 2 can't log in by connection`() throws {
    let site = try Site()
    let martlet = try MartletProcess(
      backends: [site.stub], pool: #""health": "off""#,
      listener: #""protocols": ["h2", "http/1.1"]"#, flags: ["--workers", "1"])
    let peer = try HTTP2Peer(martlet)
    for type: UInt8 in [1, 3] {
      let line = Self.credentials(type, user: "alice").dropFirst("Authorization: ".count)
      let fields = [("authorization", String(line.dropLast()))]
      #expect(try peer.get("/", fields).text == "nobody")
    }
    let streams = try (0..<3).map { _ in try peer.open() }
    for stream in streams { #expect(try peer.answer(stream).text == "nobody") }
  }

  @Test func `when the backend closes the connection, the client's ends too`() throws {
    let site = try Site()
    let martlet = try martlet([site])
    let alice = try martlet.wire()
    try logIn("alice", alice)
    site.hangUp()
    #expect(alice.endsQuietly())
    #expect(try martlet.get().text == "nobody")
  }

  @Test func `bytes that a backend sends without a request answer no logged-in client`() throws {
    let site = try Site()
    let martlet = try martlet([site])
    let alice = try martlet.wire()
    try logIn("alice", alice)
    // Both have arrived when Martlet reads again, the request before the unexpected response.
    martlet.signal(SIGSTOP)
    eventually("it stands still") {
      let status = try? String(
        contentsOfFile: "/proc/\(martlet.process.id)/status", encoding: .utf8)
      return status?.contains("State:\tT") == true
    }
    try alice.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    try site.say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray")
    martlet.signal(SIGCONT)
    let answer = try alice.takeResponse()
    #expect(answer.status == 502 && answer["Connection"] == "close")
    #expect(alice.endsQuietly())
    #expect(try martlet.get().text == "nobody")
  }

  @Test func `an answer that ends the backend's connection ends the client's`() throws {
    let site = try Site()
    let martlet = try martlet([site])
    let alice = try martlet.wire()
    try logIn("alice", alice)
    #expect(try alice.get("/last").text == "alice")
    #expect(alice.endsQuietly())
  }

  @Test func `a request on a logged-in connection is never retried on another one`() throws {
    let sites = [try Site(), try Site()]
    let martlet = try martlet(sites)
    let alice = try martlet.wire()
    try logIn("alice", alice)
    let answer = try alice.get("/die")
    #expect(answer.status == 502 && answer["Connection"] == "close")
    #expect(alice.endsQuietly())
    #expect(sites.flatMap { $0.stub.requests }.count { $0.target == "/die" } == 1)
  }

  @Test func `a logged-in client stays with its backend when that one is drained`() throws {
    let sites = [try Site(), try Site()]
    let martlet = try martlet(sites)
    let alice = try martlet.wire()
    try logIn("alice", alice)
    for site in sites {
      let drained = try MartletProcess.start(
        ["drain", "--force", "default/\(site.stub.address)"], in: martlet.folder)
      #expect(try drained.waitForExit() == 0, "\(drained.errorText)")
    }
    try eventually("strangers find nobody") { try martlet.get().status == 503 }
    #expect(try alice.get().text == "alice")
  }

  @Test func `a logged-in client whose backend is removed gets 503 and a close`() throws {
    let sites = [try Site(), try Site()]
    let martlet = try MartletProcess(
      MartletProcess.configuration(backends: [sites[0].stub]), ["--workers", "1"], keeping: sites)
    let alice = try martlet.wire()
    try logIn("alice", alice)
    try martlet.reload(MartletProcess.configuration(backends: [sites[1].stub]))
    try eventually("the new one is in force") {
      _ = try martlet.get("/new")
      return sites[1].stub.requests.contains { $0.target == "/new" }
    }
    let answer = try alice.get()
    #expect(answer.status == 503 && answer["Connection"] == "close")
    #expect(alice.endsQuietly())
  }

  @Test func `a client's connection has at most eight logins`() throws {
    let sites = try (0..<9).map { _ in try Site() }
    let pools = sites.indices.map {
      #"{ "name": "p\#($0)", "backends": [\#(sites[$0].stub.json)], "health": "off" }"#
    }
    let routes = sites.indices.map { #"{ "path": "/\#($0)", "forward": "p\#($0)" }"# }
    let martlet = try MartletProcess(
      """
      { "listeners": [{ "listen": "127.0.0.1:0" }], "pools": [\(pools.joined(separator: ", "))],
        "routes": [\(routes.joined(separator: ", "))], "log": { "target": "access.log" } }
      """, ["--workers", "1"], keeping: sites)
    let wire = try martlet.wire()
    for index in 0..<8 {
      #expect(try wire.get("/\(index)", Self.credentials(1)).status == 401)
      #expect(try wire.get("/\(index)", Self.credentials(3, user: "u\(index)")).text == "u\(index)")
    }
    for index in 0..<8 { #expect(try wire.get("/\(index)").text == "u\(index)") }
    #expect(try wire.get("/8", Self.credentials(1))["Connection"] == "close")
    #expect(wire.endsQuietly())
  }
}
