// Connections to backends from the clients' addresses (transparent mode). All is on loopback, where
// every address of 127.0.0.0/8 is local, so replies come back without routes;
// Chaos/transparent.py has real networks. The kernel allows it to root; tests that are run by
// others check that it is refused.

import Foundation
import Testing

@Suite(.serialized) struct SourceAddressTests {
  private let isRoot = geteuid() == 0

  /// An nginx that answers with the address of its peer and the number of the connection.
  private func backend() throws -> PeerProxy {
    try .nginx(
      """
      http { TEMPORARY server {
        listen 127.0.0.1:PORT; return 200 "$remote_addr $connection";
      } }
      """)
  }

  private func configuration(_ backend: PeerProxy, _ pool: String = "", _ listener: String = "")
    -> String
  {
    """
    { "workers": 1, "listeners": [{ "listen": "127.0.0.1:0"\(listener) }],
      "pools": [{ "name": "app", "backends": [\(backend.json)], "health": "off"\(pool) }],
      "log": { "target": "access.log" } }
    """
  }

  /// The answers to two requests on one connection of a client.
  private func ask(_ martlet: MartletProcess, from address: String) throws -> [[Substring]] {
    let url = "http://127.0.0.1:\(martlet.port)/"
    let result = try run(
      ["curl", "-sS", "--max-time", "20", "--interface", address, "-w", "\n", url, url])
    return result.output.split(separator: "\n").map { $0.split(separator: " ") }
  }

  @Test func `backends see the client's address, and share no connection of two clients`() throws {
    guard isRoot else { return try refused() }
    let backend = try backend()
    let martlet = try MartletProcess(
      configuration(backend, #", "source-address": "client""#), keeping: [backend])
    let answers = try (5...7).map { try ask(martlet, from: "127.0.0.\($0)") }
    for (client, answers) in zip(5..., answers) {
      #expect(answers.map(\.first) == ["127.0.0.\(client)", "127.0.0.\(client)"])
      // The second request finds the connection of the first.
      #expect(Set(answers.map(\.last)).count == 1, "\(answers)")
    }
    #expect(Set(answers.map { $0.first?.last }).count == 3, "\(answers)")
    // From here on as usual: all requests may use one connection.
    try martlet.reload(configuration(backend))
    let own = try (5...7).flatMap { try ask(martlet, from: "127.0.0.\($0)") }
    #expect(Set(own).count == 1 && own.first?.first == "127.0.0.1", "\(own)")
    try martlet.reload(configuration(backend, #", "source-address": "client""#))
    #expect(try ask(martlet, from: "127.0.0.9").map(\.first) == ["127.0.0.9", "127.0.0.9"])
    #expect(try martlet.terminate() == 0)
  }

  @Test(arguments: [#", "protocol": "tcp""#, #", "protocol": "tcp", "proxy-protocol": "from""#])
  func `a TCP connection goes on from the client's address`(_ listener: String) throws {
    guard isRoot else { return try refused() }
    let backend = try backend()
    let hasHeader = listener.contains("from")
    let martlet = try MartletProcess(
      configuration(
        backend, #", "source-address": "client""#,
        listener.replacing(#""from""#, with: #"{ "from": ["127.0.0.1"] }"#)), keeping: [backend])
    // With a header, the address in it counts.
    let wire = try martlet.wire()
    if hasHeader { try wire.send("PROXY TCP4 127.0.0.8 127.0.0.1 1234 80\r\n") }
    let client = hasHeader ? "127.0.0.8" : "127.0.0.1"
    #expect(try wire.get("/").text.hasPrefix("\(client) "))
    if hasHeader { return }
    #expect(try ask(martlet, from: "127.0.0.6").map(\.first) == ["127.0.0.6", "127.0.0.6"])
  }

  @Test func `datagrams go on from the client's address`() throws {
    guard isRoot else { return try refused() }
    let backend = try DatagramSocket()
    let martlet = try MartletProcess(
      """
      { "listeners": [{ "listen": "127.0.0.1:0", "protocol": "udp" }],
        "pools": [{ "backends": ["127.0.0.1:\(backend.port)"], "source-address": "client" }] }
      """)
    for host in ["127.0.0.5", "127.0.0.6"] {
      let client = try DatagramSocket(host: host)
      client.send("request", to: martlet.port)
      let request = try #require(backend.receive())
      #expect(request.host == host)
      backend.send("reply", to: request.port, host: request.host)
      #expect(client.receiveText() == "reply")
    }
  }

  /// Without the capability, it is refused before anything is served.
  @Test func refused() throws {
    let backend = try backend()
    let folder = TemporaryFolder()
    try folder.write(
      configuration(backend, #", "source-address": "client""#), to: "config.json")
    let less = isRoot ? ["setpriv", "--bounding-set", "-net_raw,-net_admin"] : []
    let user = isRoot ? "root" : NSUserName()
    let missing =
      "\"client\" needs the capability CAP_NET_RAW or CAP_NET_ADMIN, which the user \(user)"
      + " does not have here: Operation not permitted (EPERM)"
    let check = try ChildProcess(
      less + [Installation.binary, "check", "--as-run", "config.json"], in: folder.path)
    #expect(try check.waitForExit() == 1)
    #expect(
      check.errorText.contains("error: pools[0].source-address: \(missing)"), "\(check.errorText)")
    let process = try ChildProcess(
      less + [Installation.binary, "run", "--config", "config.json"], in: folder.path)
    #expect(try process.waitForExit() == 70)
    #expect(
      process.errorText.contains("source-address of the pool app: \(missing)"),
      "\(process.errorText)")
  }

  @Test func `a configured user keeps the capability, if a pool needs it at the start`() throws {
    guard isRoot else { return try refused() }
    let backend = try backend()
    let installed = try Installed()
    installed.remove()
    try run(["cp", Installation.binary, installed.binary])
    let entry = try #require(getpwnam("nobody")).pointee
    chmod(installed.binary, 0o755)
    chown(installed.folder.path, entry.pw_uid, entry.pw_gid)
    func configuration(_ pool: String) -> String {
      self.configuration(backend, pool).dropLast()
        + #", "process": { "user": "nobody", "pid-file": "pid" } }"#
    }
    let martlet = try installed.start(
      configuration(#", "source-address": "client""#), keeping: [backend])
    #expect(try ask(martlet, from: "127.0.0.5").map(\.first) == ["127.0.0.5", "127.0.0.5"])
    #expect(try installed.upgrade().status == 0, "\(martlet.log)")
    #expect(try ask(martlet, from: "127.0.0.6").map(\.first) == ["127.0.0.6", "127.0.0.6"])
    let status = try String(
      contentsOfFile: "/proc/\(installed.servingProcess)/status", encoding: .utf8)
    // CAP_NET_BIND_SERVICE is number 10, CAP_NET_RAW 13.
    #expect(status.contains("CapPrm:\t0000000000002400"), "\(status)")
  }
}
