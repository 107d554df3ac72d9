// Backends with HTTP/2: nginx, with and without TLS, under load, while they end their
// connections, and when they refuse.

import Foundation
import HTTP2
import Testing

@Suite(.serialized) struct HTTP2BackendTests {
  private let certificates: Certificates
  private let folder = TemporaryFolder()

  init() throws { certificates = try Certificates() }

  /// nginx with HTTP/2 on one port without TLS, and on one with it.
  private func nginx(_ directives: String = "") throws -> (plain: Int, tls: Int, ChildProcess) {
    let (plain, tls) = (try freePort(), try freePort())
    try folder.write(
      """
      daemon off;
      master_process off;
      pid nginx.pid;
      error_log stderr;
      events { worker_connections 1024; }
      http {
        access_log off;
        client_max_body_size 0;
        client_body_temp_path body;
        \(directives)
        server {
          listen 127.0.0.1:\(plain) http2;
          listen 127.0.0.1:\(tls) ssl http2;
          ssl_certificate \(certificates.folder.path("server.crt"));
          ssl_certificate_key \(certificates.folder.path("server.key"));
          root .;
          location /h2 {
            if ($server_protocol != "HTTP/2.0") { return 503; }
            return 204;
          }
          location / { return 200 "$server_protocol $host $http_x_a\\n"; }
          location /trailed { add_trailer x-sum 42 always; return 200 "body"; }
          location /files/ { dav_methods PUT; create_full_put_path on; }
        }
      }
      """, to: "nginx.conf")
    let child = try ChildProcess(
      ["nginx", "-e", "stderr", "-p", "\(folder.path)/", "-c", "nginx.conf"], in: folder.path)
    _ = poll { (try? Wire(port: plain)) != nil }
    return (plain, tls, child)
  }

  private func start(_ address: String, _ pool: String) throws -> MartletProcess {
    try MartletProcess(
      backends: [address], pool: pool, listener: #""protocols": ["h2", "http/1.1"]"#)
  }

  private func trusting(_ spoken: String) -> String {
    #""protocol": "\#(spoken)", "tls": { "ca": "\#(certificates.authority)" }"#
  }

  @Test(arguments: ["h2c", "h2", "auto"])
  func `clients with either version reach a backend with HTTP 2`(_ kind: String) throws {
    let server = try nginx()
    defer { server.2.signal(SIGTERM) }
    let martlet =
      kind == "h2c"
      ? try start("127.0.0.1:\(server.plain)", #""protocol": "h2""#)
      : try start("https://localhost:\(server.tls)", trusting(kind))
    #expect(try martlet.get("/", "X-A: b\r\n").text.hasSuffix(" b\n"))
    #expect(try HTTP2Peer(martlet).get("/", [("x-a", "b")]).text == "HTTP/2.0 localhost b\n")
    let lines = try martlet.accessLines(atLeast: 2)
    #expect(lines.allSatisfy { $0["status"] as? Int == 200 })
    let attempts = lines.flatMap { $0["attempts"] as? [[String: Any]] ?? [] }
    #expect(attempts.allSatisfy { $0["protocol"] as? String == "h2" })
    func command(_ arguments: String...) throws -> String {
      try run([Installation.binary] + arguments, in: martlet.folder.path).output
    }
    let socket = martlet.folder.path("admin.sock")
    let pool = kind == "auto" ? "auto" : "h2"
    let status = try command("status", "--socket", socket)
    #expect(status.contains("pool default  round-robin  \(pool)"))
    let explained = try command("explain", "GET", "http://a/", "--socket", socket)
    #expect(explained.contains(#/127\.0\.0\.1:\d+ +h2 /#))
    #expect(try command("check", "config.json").contains("default  round-robin  \(pool)\n"))
    #expect(martlet.log.contains("protocol=\(pool) "))
  }

  @Test func `bodies larger than every window go up and down`() throws {
    let server = try nginx()
    defer { server.2.signal(SIGTERM) }
    try FileManager.default.createDirectory(
      atPath: folder.path("files"), withIntermediateDirectories: true)
    let martlet = try start("127.0.0.1:\(server.plain)", #""protocol": "h2""#)
    let peer = try HTTP2Peer(martlet)
    let body = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
    let stream = try peer.open("PUT", "/files/a", body: .known(UInt64(body.count)))
    try peer.send(body, on: stream, ends: true)
    #expect(try peer.answer(stream).status == 201)
    #expect(try peer.get("/files/a").body == body)
    let wire = try martlet.wire()
    try wire.send(
      "PUT /files/b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        + "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n")
    #expect(try wire.takeResponse().status == 201)
    #expect(try martlet.get("/files/b").text == "hello world")
  }

  @Test func `trailers may follow a body whose length was stated`() throws {
    let server = try nginx()
    defer { server.2.signal(SIGTERM) }
    let martlet = try start("127.0.0.1:\(server.plain)", #""protocol": "h2""#)
    let peer = try HTTP2Peer(martlet)
    let answer = try peer.get("/trailed", [("te", "trailers")])
    #expect(answer.text == "body" && answer["content-length"] == "4")
    #expect(answer.trailers.first?.name == "x-sum" && answer.trailers.first?.value == "42")
    // In HTTP/1.1 they can't be sent after such a body.
    let wire = try martlet.wire()
    try wire.send("GET /trailed HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
    #expect(try wire.takeResponse().text == "body")
    #expect(try wire.takeResponse().status == 200)
  }

  /// The first body is collected before a backend is selected, the last one is not kept.
  @Test(arguments: [5, 50_000, 300_000])
  func `trailers of a request may follow a body whose length was stated`(_ count: Int) throws {
    let stub = try HTTP2Stub { _ in .respond(body: Array("ok".utf8)) }
    let martlet = try start(stub.address, #""protocol": "h2""#)
    let peer = try HTTP2Peer(martlet)
    let body = [UInt8](repeating: 0x61, count: count)
    for isLate in [false, true] {
      let stream = try peer.open("PUT", "/", body: .known(UInt64(count)))
      try peer.send(body, on: stream)
      // The backend has the whole body by then, or not.
      if isLate { #expect(try peer.get().text == "ok") }
      try peer.send(trailers: [("x-sum", "42")], on: stream)
      #expect(try peer.answer(stream).text == "ok")
      // Without trailers, the end may come alone, too.
      let plain = try peer.open("PUT", "/", body: .known(UInt64(count)))
      try peer.send(body, on: plain)
      if isLate { #expect(try peer.get().text == "ok") }
      try peer.send([], on: plain, ends: true)
      #expect(try peer.answer(plain).text == "ok")
    }
    let puts = stub.requests.filter { $0.method == "PUT" }
    #expect(puts.map { $0.trailers["x-sum"] } == ["42", nil, "42", nil])
    #expect(puts.allSatisfy { $0.body == body && $0.fields["content-length"] == "\(count)" })
  }

  @Test func `trailers of a response may be as large as its head`() throws {
    let details = String(repeating: "x", count: 60_000)
    let stub = try HTTP2Stub { _ in
      .respond(body: Array("body".utf8), trailers: [("details", details)])
    }
    let martlet = try start(stub.address, #""protocol": "h2""#)
    var limits = HTTP2Limits()
    limits.fieldListByteCount = 128 * 1024
    limits.trailerByteCount = 128 * 1024
    let peer = try HTTP2Peer(martlet, limits)
    let answer = try peer.get()
    #expect(answer.text == "body" && answer.trailers.first?.value == details)
    let chunked = try martlet.answer(
      "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\n\r\n")
    #expect(chunked.text == "body" && chunked.trailers.first?.value == details)
  }

  @Test func `requests that a GOAWAY sends back are sent again, and none fails`() throws {
    let server = try nginx("keepalive_requests 50;")
    defer { server.2.signal(SIGTERM) }
    let martlet = try start("127.0.0.1:\(server.plain)", #""protocol": "h2""#)
    let result = try run([
      "h2load", "-n", "4000", "-c", "4", "-m", "16", "http://127.0.0.1:\(martlet.port)/",
    ])
    #expect(result.output.contains("4000 succeeded, 0 failed"), "\(result.output)")
    #expect(!martlet.log.contains("ejected"))
  }

  @Test func `a request that may not be repeated is sent again too if it was not begun`() throws {
    let server = try nginx("keepalive_requests 20;")
    defer { server.2.signal(SIGTERM) }
    let martlet = try start("127.0.0.1:\(server.plain)", #""protocol": "h2""#)
    try folder.write("x", to: "one")
    let result = try run([
      "h2load", "-n", "2000", "-c", "4", "-m", "16", "-d", folder.path("one"),
      "http://127.0.0.1:\(martlet.port)/",
    ])
    #expect(result.output.contains("2000 succeeded, 0 failed"), "\(result.output)")
  }

  @Test func `requests share a connection to the backend`() throws {
    let server = try nginx()
    defer { server.2.signal(SIGTERM) }
    let martlet = try start("127.0.0.1:\(server.plain)", #""protocol": "h2""#)
    let result = try run([
      "h2load", "-n", "500", "-c", "1", "-m", "32", "http://127.0.0.1:\(martlet.port)/",
    ])
    #expect(result.output.contains("500 succeeded, 0 failed"), "\(result.output)")
    // The client has one connection, and so one worker.
    let table = connectionTable()
    let established = ":" + String(format: "%04X", server.plain) + " 01"
    let count = table.split(separator: "\n").dropFirst().count { line in
      let columns = line.split(separator: " ")
      return columns.count > 3 && (columns[2] + " " + columns[3]).hasSuffix(established)
    }
    #expect(count == 1)
  }

  @Test func `a backend that speaks only HTTP 1 is refused with h2, and served with auto`() throws {
    let port = try freePort()
    let folder = TemporaryFolder()
    try folder.write(
      """
      daemon off; master_process off; pid nginx.pid; error_log stderr;
      events { worker_connections 64; }
      http {
        access_log off;
        server {
          listen 127.0.0.1:\(port) ssl;
          ssl_certificate \(certificates.folder.path("server.crt"));
          ssl_certificate_key \(certificates.folder.path("server.key"));
          location /h2 {
            if ($server_protocol != "HTTP/2.0") { return 503; }
            return 204;
          }
          location / { return 200 "$server_protocol\\n"; }
        }
      }
      """, to: "nginx.conf")
    let child = try ChildProcess(
      ["nginx", "-e", "stderr", "-p", "\(folder.path)/", "-c", "nginx.conf"], in: folder.path)
    defer { child.signal(SIGTERM) }
    _ = poll { (try? Wire(port: port)) != nil }
    let address = "https://localhost:\(port)"
    #expect(try start(address, trusting("auto")).get().text == "HTTP/1.1\n")
    let martlet = try start(address, trusting("h2"))
    #expect(try martlet.get().status == 502)
    let line = try #require(try martlet.accessLines(atLeast: 1).first)
    let attempts = try #require(line["attempts"] as? [[String: Any]])
    #expect(!attempts.isEmpty && attempts.allSatisfy { $0["result"] as? String == "no-http2" })
    #expect(line["failure"] as? String == "no-http2")
  }

  @Test func `the response timeout counts on a shared connection too`() throws {
    let server = try nginx()
    defer { server.2.signal(SIGTERM) }
    let martlet = try start(
      "127.0.0.1:\(server.plain)",
      #""protocol": "h2", "timeouts": { "response": "300ms", "connect": "20s" }, "health": "off""#)
    let peer = try HTTP2Peer(martlet)
    #expect(try peer.get().status == 200)
    server.2.signal(SIGSTOP)
    defer { server.2.signal(SIGCONT) }
    let begin = seconds()
    #expect(try peer.get().status == 504)
    #expect(seconds() - begin < 10)
  }

  @Test(arguments: ["h2c", "h2", "auto"])
  func `checks with requests speak what the pool speaks`(_ kind: String) throws {
    let server = try nginx()
    defer { server.2.signal(SIGTERM) }
    let health = #", "health": { "check": "http", "path": "/h2", "interval": "100ms", "rise": 1 }"#
    let martlet =
      kind == "h2c"
      ? try start("127.0.0.1:\(server.plain)", #""protocol": "h2""# + health)
      : try start("https://localhost:\(server.tls)", trusting(kind) + health)
    #expect(try martlet.get().status == 200)
    try eventually("checks pass") {
      let line = try martlet.metrics().split(separator: "\n").first {
        $0.hasPrefix("martlet_backend_health_checks_total") && $0.contains(#"result="ok""#)
      }
      return (line?.split(separator: " ").last.flatMap { Int($0) } ?? 0) >= 3
    }
    #expect(!martlet.log.contains("checks-failed"))
  }

  @Test func `a backend that isn't there gets a 502 for all that waited for it`() throws {
    let port = try freePort()
    let martlet = try start("127.0.0.1:\(port)", #""protocol": "h2", "ejection": "off""#)
    let peer = try HTTP2Peer(martlet)
    let streams = try (0..<10).map { _ in try peer.open() }
    for stream in streams { #expect(try peer.answer(stream).status == 502) }
  }
}
