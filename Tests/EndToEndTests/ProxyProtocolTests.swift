// The PROXY protocol with real peers: HAProxy, nginx and curl in front of Martlet, and HAProxy and
// nginx behind it. Clients connect from other addresses of loopback, so that the address of a proxy
// can't be taken for theirs.

import Foundation
import Testing

@Suite(.serialized) struct ProxyProtocolTests {
  private static let client = "127.0.0.5"
  private static let behindProxies = #""proxy-protocol": { "from": ["127.0.0.1"] }"#

  private func curl(_ url: String, from address: String = client, _ arguments: String...) throws
    -> String
  {
    let result = try run(
      ["curl", "-sS", "--max-time", "20", "--interface", address] + arguments + [url])
    return result.output + result.errors
  }

  // MARK: In front of Martlet

  private static let senders = [
    "haproxy send-proxy", "haproxy send-proxy-v2",
    "haproxy send-proxy-v2 proxy-v2-options ssl,unique-id,crc32c",
    "nginx",
  ]

  /// A proxy that passes connections on to this port, with headers.
  private func sender(_ name: String, to port: Int) throws -> PeerProxy {
    if name == "nginx" {
      return try .nginx(
        """
        stream { server {
          listen 127.0.0.1:PORT; proxy_pass 127.0.0.1:\(port); proxy_protocol on;
        } }
        """)
    }
    return try .haproxy(
      """
      listen in
        mode tcp
        bind 127.0.0.1:PORT
        unique-id-format %[uuid()]
        server martlet 127.0.0.1:\(port) \(name.dropFirst("haproxy ".count))
      """)
  }

  @Test(arguments: senders)
  func `a proxy in front names the client`(_ name: String) throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(
      backends: [stub], pool: #""health": "off""#, listener: Self.behindProxies)
    let proxy = try sender(name, to: martlet.port)
    #expect(try curl("http://127.0.0.1:\(proxy.port)/") == "stub")
    let line = try #require(try martlet.accessLines(atLeast: 1).first)
    #expect(line["client"] as? String == Self.client)
    #expect(line["proxy"] as? String == "127.0.0.1")
    #expect(line["client_port"] as? Int ?? 0 > 0)
    let request = try #require(stub.lastRequest)
    #expect(request["X-Forwarded-For"] == Self.client)
    #expect(request["Forwarded"]?.contains("for=\(Self.client);") == true)
    #expect(try martlet.metric("martlet_proxy_headers_total") > 0)
    #expect(try martlet.terminate() == 0)
  }

  /// The header is before TLS, and the connection is encrypted and HTTP/2 behind it.
  @Test(arguments: [senders[1], senders[3]])
  func `TLS begins behind the header`(_ name: String) throws {
    let certificates = try Certificates()
    let stub = try StubBackend()
    let martlet = try MartletProcess(
      backends: [stub], pool: #""health": "off""#,
      listener: Self.behindProxies + #", "tls": { "certificates": [\#(certificates.entry())] }"#)
    let proxy = try sender(name, to: martlet.port)
    let answer = try curl(
      "https://localhost:\(proxy.port)/", "--cacert", certificates.authority, "--ipv4", "--http2",
      "-w", " %{http_version}")
    #expect(answer == "stub 2")
    let line = try #require(try martlet.accessLines(atLeast: 1).first)
    #expect(line["client"] as? String == Self.client && line["tls"] as? String == "TLSv1.3")
  }

  @Test(arguments: ["--http1.1", "--http2-prior-knowledge"])
  func `curl sends a header itself`(_ version: String) throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(
      backends: [stub], pool: #""health": "off""#,
      listener: #""protocols": ["h2", "http/1.1"], "proxy-protocol": { "from": ["127.0.0.0/8"] }"#)
    let url = "http://127.0.0.1:\(martlet.port)/"
    #expect(try curl(url, "--haproxy-protocol", version) == "stub")
    let line = try #require(try martlet.accessLines(atLeast: 1).first)
    #expect(line["client"] as? String == Self.client && line["proxy"] as? String == Self.client)
  }

  @Test func `the address behind a header decides about trusted proxies and limits`() throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(
      backends: [stub], pool: #""health": "off""#, listener: Self.behindProxies,
      rest: #""trusted-proxies": ["192.0.2.0/24"], "limits": { "connections-per-address": 1 }"#)
    let field = "X-Forwarded-For: 203.0.113.9\r\n"
    let trusted = try martlet.wire()
    try trusted.send("PROXY TCP4 192.0.2.7 198.51.100.1 1 2\r\n")
    #expect(try trusted.get("/", field).text == "stub")
    #expect(stub.lastRequest?["X-Forwarded-For"] == "203.0.113.9, 192.0.2.7")
    let other = try martlet.wire()
    try other.send("PROXY TCP4 203.0.113.7 198.51.100.1 1 2\r\n")
    #expect(try other.get("/", field).text == "stub")
    #expect(stub.lastRequest?["X-Forwarded-For"] == "203.0.113.7")
    let second = try martlet.wire()
    try? second.send("PROXY TCP4 203.0.113.7 198.51.100.1 3 2\r\nGET / HTTP/1.1\r\n\r\n")
    #expect((try? second.takeRest())?.isEmpty ?? true)
    let series = #"martlet_downstream_connections_refused_total{limit="connections-per-address"}"#
    #expect(try martlet.metric(series) == 1)
    let lines = try martlet.accessLines(atLeast: 2)
    #expect(lines.map { $0["client"] as? String } == ["203.0.113.9", "203.0.113.7"])
  }

  @Test func `a connection without its header is closed, counted and logged by name`() throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(
      backends: [stub], pool: #""health": "off""#, listener: Self.behindProxies)
    let wire = try martlet.wire()
    try? wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    #expect((try? wire.takeRest())?.isEmpty ?? true)
    eventually("the log names it") {
      martlet.log.contains(#/valid PROXY header .*reason=no-header/#)
    }
    let series = "martlet_proxy_header_failures_total"
    #expect(try martlet.metric(series + #"{reason="no-header"}"#) == 1)
    // From an address that is not in the list, with a header.
    let url = "http://127.0.0.1:\(martlet.port)/"
    #expect(try curl(url, from: "127.0.0.9", "--haproxy-protocol").contains("curl: ("))
    #expect(try martlet.metric(series + #"{reason="not-from-proxy"}"#) == 1)
    #expect(stub.requests.isEmpty)
    #expect(try martlet.terminate() == 0)
  }

  @Test func `a reload turns the header on and off for new connections`() throws {
    let stub = try StubBackend()
    func configuration(_ port: Int, _ listener: String) -> String {
      """
      { "listeners": [{ "listen": "127.0.0.1:\(port)"\(listener) }],
        "pools": [{ "backends": [\(stub.json)], "health": "off" }],
        "log": { "target": "access.log" } }
      """
    }
    let port = try freePort()
    let martlet = try MartletProcess(configuration(port, ", " + Self.behindProxies))
    let header = "PROXY TCP4 192.0.2.1 198.51.100.1 1 2\r\n"
    let waiting = try martlet.wire()
    try waiting.send(String(header.prefix(9)))
    try eventually("it is accepted") {
      try martlet.metric("martlet_downstream_connections_active") == 1
    }
    try martlet.reload(configuration(port, ""))
    #expect(try martlet.get().text == "stub")
    try waiting.send(String(header.dropFirst(9)))
    #expect(try waiting.get().text == "stub")
    try martlet.reload(configuration(port, ", " + Self.behindProxies))
    #expect(throws: HarnessError.self) { try martlet.get() }
    let lines = try martlet.accessLines(atLeast: 2)
    #expect(lines.map { $0["client"] as? String } == ["127.0.0.1", "192.0.2.1"])
  }

  @Test func `a connection that waits for its header outlives an upgrade`() throws {
    let stub = try StubBackend()
    let installed = try Installed()
    let martlet = try installed.start(
      installed.configuration(
        backends: [stub], pool: #""health": "off""#, listener: Self.behindProxies),
      keeping: [stub])
    let header = "PROXY TCP4 192.0.2.1 198.51.100.1 1 2\r\n"
    let waiting = try martlet.wire()
    try waiting.send(String(header.prefix(20)))
    try eventually("it is accepted") {
      try martlet.metric("martlet_downstream_connections_active") == 1
    }
    let result = try installed.upgrade()
    #expect(result.status == 0, "\(result.errors)")
    try waiting.send(String(header.dropFirst(20)))
    #expect(try waiting.get().text == "stub")
    let fresh = try martlet.wire()
    try fresh.send(header)
    #expect(try fresh.get().text == "stub")
  }

  // MARK: Behind Martlet

  private static let versions = [
    #""v1""#, #""v2""#,
    #"{ "version": "v2", "tlvs": ["alpn", "authority", "unique-id", "tls", "crc32c"] }"#,
  ]

  private static let receivers = ["haproxy", "nginx"]

  /// Responds with the addresses that the header has, and the number of the request on its
  /// connection.
  private func receiver(_ name: String) throws -> PeerProxy {
    if name == "nginx" {
      return try .nginx(
        """
        http { TEMPORARY server {
          listen 127.0.0.1:PORT proxy_protocol;
          location / {
            return 200 "$proxy_protocol_addr $proxy_protocol_port \
        $proxy_protocol_server_addr $proxy_protocol_server_port $connection_requests\\n";
          }
        } }
        """)
    }
    return try .haproxy(
      """
      frontend in
        bind 127.0.0.1:PORT accept-proxy
        http-request return status 200 content-type text/plain lf-string \
      "%[src] %[src_port] %[dst] %[dst_port] 1 <%[fc_pp_authority]> <%[fc_pp_unique_id,length]>\\n"
      """)
  }

  @Test(arguments: versions, receivers)
  func `a backend gets the client's address`(_ version: String, _ name: String) throws {
    let backend = try receiver(name)
    // Only a health check that the backend understands lets requests through.
    let martlet = try MartletProcess(
      backends: [backend],
      pool: """
        "proxy-protocol": \(version),
        "health": { "check": "http", "initially": "down", "rise": 1, "interval": "200ms" }
        """)
    try eventually("the check passes") { try martlet.get().status == 200 }
    let answer = try curl("http://127.0.0.1:\(martlet.port)/", "-w", "%{local_port}")
    let words = answer.split(whereSeparator: \.isWhitespace).map(String.init)
    #expect(words.prefix(1) == [Self.client], "\(answer)")
    #expect(words.count > 4 && words[1] == words.last, "\(answer)")
    #expect(words.dropFirst(2).prefix(2) == ["127.0.0.1", "\(martlet.port)"], "\(answer)")
    if name == "haproxy" && version.contains("unique-id") {
      #expect(words.dropFirst(6).first == "<32>", "\(answer)")
    }
    #expect(!martlet.log.contains("backend down"), "\(martlet.log)")
    #expect(try martlet.terminate() == 0)
  }

  @Test func `the TLVs say what the client has agreed on`() throws {
    let certificates = try Certificates()
    let backend = try receiver("haproxy")
    let martlet = try MartletProcess(
      backends: [backend], pool: #""health": "off", "proxy-protocol": \#(Self.versions[2])"#,
      listener: #""tls": { "certificates": [\#(certificates.entry())] }"#)
    let answer = try curl(
      "https://localhost:\(martlet.port)/", "--cacert", certificates.authority, "--ipv4")
    #expect(answer.contains("\(Self.client) ") && answer.contains("<localhost>"), "\(answer)")
  }

  // MARK: TCP listeners

  @Test(arguments: [senders[0], senders[2], senders[3]], [true, false])
  func `a TCP listener takes the client's address from the header`(
    _ name: String, hasRoutes: Bool
  ) throws {
    let stub = try StubBackend()
    let certificates = try Certificates()
    let routes = #""routes": [{ "sni": "localhost", "pool": "app" }]"#
    let backend = try Backend(with: certificates)
    let address = hasRoutes ? backend.address : "127.0.0.1:\(stub.port)"
    let martlet = try MartletProcess(
      """
      { "listeners": [{ "listen": "127.0.0.1:0", "protocol": "tcp", \(Self.behindProxies),
          \(hasRoutes ? routes : #""pool": "app""#), "max-connections-per-client": 9 }],
        "pools": [{ "name": "app", "backends": ["\(address)"],
          "health": "off", "strategy": "ip-hash" }],
        "log": { "target": "access.log" } }
      """, keeping: [stub])
    let proxy = try sender(name, to: martlet.port)
    let url = "http\(hasRoutes ? "s" : "")://localhost:\(proxy.port)/"
    let answer = try curl(url, "--ipv4", "--cacert", certificates.authority)
    #expect(answer.hasPrefix(hasRoutes ? "secure" : "stub"), "\(answer) \(martlet.log)")
    func ownLine() throws -> [String: Any]? {
      try martlet.accessLines(atLeast: 1).first { $0["client"] as? String == Self.client }
    }
    // The wait for the port of the proxy is a connection too.
    try eventually("it is logged") { try ownLine() != nil }
    let line = try #require(try ownLine())
    #expect(line["kind"] as? String == "tcp")
    #expect(line["proxy"] as? String == "127.0.0.1" && line["failure"] == nil, "\(line)")
    #expect(try martlet.terminate() == 0)
  }

  /// A server of nginx whose certificate the client sees.
  private struct Backend {
    let proxy: PeerProxy
    var address: String { "127.0.0.1:\(proxy.port)" }
    init(with certificates: Certificates) throws {
      proxy = try .nginx(
        """
        http { TEMPORARY server {
          listen 127.0.0.1:PORT ssl;
          ssl_certificate \(certificates.folder.path("server.crt"));
          ssl_certificate_key \(certificates.folder.path("server.key"));
          location / { return 200 secure; }
        } }
        """)
    }
  }

  @Test(arguments: versions, receivers)
  func `a backend of a TCP listener gets the client's address`(
    _ version: String, _ name: String
  ) throws {
    let backend = try receiver(name)
    let martlet = try MartletProcess(
      """
      { "listeners": [{ "listen": "127.0.0.1:0", "protocol": "tcp", "pool": "app" }],
        "pools": [{ "name": "app", "backends": ["127.0.0.1:\(backend.port)"],
          "proxy-protocol": \(version) }] }
      """)
    let answer = try curl("http://127.0.0.1:\(martlet.port)/", "-w", "%{local_port}")
    let words = answer.split(whereSeparator: \.isWhitespace).map(String.init)
    #expect(words.prefix(1) == [Self.client], "\(answer) \(martlet.log)")
    #expect(words.count > 4 && words[1] == words.last, "\(answer)")
    #expect(words.dropFirst(2).prefix(2) == ["127.0.0.1", "\(martlet.port)"], "\(answer)")
    #expect(try martlet.terminate() == 0)
  }

  /// Both clients are on one worker, which would share its connections.
  @Test func `a connection to a backend belongs to one client's connection`() throws {
    let backend = try receiver("nginx")
    let martlet = try MartletProcess(
      backends: [backend], pool: #""health": "off", "proxy-protocol": "v2""#,
      flags: ["--workers", "1"])
    let clients = [try martlet.wire(), try martlet.wire()]
    var ports: [String] = []
    for round in 1...3 {
      for (index, client) in clients.enumerated() {
        let words = try client.get().text.split(whereSeparator: \.isWhitespace).map(String.init)
        #expect(words.last == "\(round)", "request \(round): \(words)")
        if round == 1 { ports.append(words[1]) }
        #expect(words[1] == ports[index])
      }
    }
    #expect(Set(ports).count == 2)
    #expect(try martlet.metric("martlet_upstream_connections_opened_total") == 2)
    #expect(try martlet.metric("martlet_upstream_connections_reused_total") == 4)
    // They end with their clients.
    clients.forEach { $0.end() }
    try eventually("both are closed") {
      try martlet.metric("martlet_upstream_connections_closed_total") == 2
    }
    #expect(try martlet.terminate() == 0)
  }

  /// The streams of one client's connection are at work at the same time, each on one of its own.
  @Test func `the streams of HTTP 2 have connections of their own, all of one client`() throws {
    let certificates = try Certificates()
    let backend = try receiver("nginx")
    let martlet = try MartletProcess(
      backends: [backend], pool: #""health": "off", "proxy-protocol": "v2""#,
      listener: #""tls": { "certificates": [\#(certificates.entry())] }"#)
    let url = "https://localhost:\(martlet.port)/"
    let answer = try curl(
      url, "--cacert", certificates.authority, "--ipv4", "--http2", "--parallel",
      "--parallel-max", "20", url + "?[1-40]")
    let lines = answer.split(separator: "\n").filter { $0.contains(Self.client) }
    #expect(lines.count == 41, "\(answer)")
    #expect(Set(lines.map { $0.split(separator: " ")[1] }).count == 1, "\(answer)")
    #expect(try martlet.terminate() == 0)
  }

  @Test func `a header of one proxy goes on to the next`() throws {
    let backend = try receiver("nginx")
    let martlet = try MartletProcess(
      backends: [backend], pool: #""health": "off", "proxy-protocol": "v1""#,
      listener: Self.behindProxies)
    let wire = try martlet.wire()
    try wire.send("PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n")
    #expect(try wire.get().text == "2001:db8::7 4711 2001:db8::1 443 1\n")
  }

  @Test func `the header is before TLS to the backend`() throws {
    let certificates = try Certificates()
    let pair = ["ssl_certificate", "ssl_certificate_key"]
    let backend = try PeerProxy.nginx(
      """
      http { TEMPORARY server {
        listen 127.0.0.1:PORT ssl proxy_protocol;
        \(pair[0]) \(certificates.folder.path("server.crt"));
        \(pair[1]) \(certificates.folder.path("server.key"));
        location / { return 200 "$proxy_protocol_addr $ssl_protocol\\n"; }
      } }
      """)
    let martlet = try MartletProcess(
      backends: [backend],
      pool: """
        "proxy-protocol": "v2", "tls": { "ca": "\(certificates.authority)" },
        "health": { "check": "http", "initially": "down", "rise": 1, "interval": "200ms" }
        """)
    try eventually("the check passes") { try martlet.get().status == 200 }
    let answer = try curl("http://127.0.0.1:\(martlet.port)/")
    #expect(answer.hasPrefix("\(Self.client) TLSv1."), "\(answer)")
  }

  /// What is idle without a header must not be used with one, and the other way round.
  @Test func `a reload of the pool's header closes idle connections`() throws {
    let plain = try freePort()
    let backend = try PeerProxy.nginx(
      """
      http { TEMPORARY
        server { listen 127.0.0.1:PORT proxy_protocol; return 200 "$proxy_protocol_addr\\n"; }
      }
      """)
    func configuration(_ pool: String) -> String {
      """
      { "listeners": [{ "listen": "127.0.0.1:\(plain)" }],
        "pools": [{ "backends": [\(backend.json)], "health": "off"\(pool) }] }
      """
    }
    let martlet = try MartletProcess(
      configuration(#", "proxy-protocol": "v2""#), ["--workers", "1"])
    let client = try martlet.wire()
    #expect(try client.get().text == "127.0.0.1\n")
    try martlet.reload(configuration(#", "proxy-protocol": "v1""#))
    #expect(try client.get().text == "127.0.0.1\n")
    #expect(try martlet.metric("martlet_upstream_connections_opened_total") == 2)
    // Without a header this backend closes the connection.
    try martlet.reload(configuration(""))
    #expect(try client.get().status == 502)
  }

  // MARK: What the commands show

  @Test func `check, status and explain show the headers`() throws {
    let martlet = try MartletProcess(
      backends: ["127.0.0.1:1"],
      pool: #""health": "off", "proxy-protocol": { "version": "v2", "tlvs": ["crc32c"] }"#,
      listener: Self.behindProxies)
    func output(_ arguments: String...) throws -> String {
      try run([Installation.binary] + arguments, in: martlet.folder.path).output
    }
    let check = try output("check", "config.json")
    #expect(check.contains("PROXY protocol, from 127.0.0.1 only"), "\(check)")
    #expect(check.contains("PROXY protocol v2 with crc32c"), "\(check)")
    #expect(try output("status", "--socket", "admin.sock").contains("PROXY v2"))
    let explain = try output(
      "explain", "--socket", "admin.sock", "GET", "http://127.0.0.1:\(martlet.port)/")
    #expect(explain.contains("only from 127.0.0.1"), "\(explain)")
    #expect(explain.contains("v2 with crc32c"), "\(explain)")
  }
}
