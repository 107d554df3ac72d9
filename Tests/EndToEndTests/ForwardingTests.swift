// Forwarding fields for backends, fields that are removed, and upgrades.

import Foundation
import Testing

@Suite(.serialized) struct ForwardingTests {
  @Test func `a backend gets the client, the host and the protocol`() throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(backends: [stub])
    _ = try martlet.answer("GET / HTTP/1.1\r\nHost: Example.com:8080\r\n\r\n")
    let request = try #require(stub.lastRequest)
    #expect(request["Host"] == "Example.com:8080")
    #expect(request["X-Forwarded-For"] == "127.0.0.1")
    #expect(request["X-Forwarded-Proto"] == "http")
    #expect(request["X-Forwarded-Host"] == "Example.com:8080")
    #expect(request["Forwarded"] == #"for=127.0.0.1;host="Example.com:8080";proto=http"#)
    #expect(request["Via"] == nil)
  }

  @Test func `a client's own forwarding fields are dropped, also with similar names`() throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(backends: [stub])
    _ = try martlet.get(
      "/",
      """
      X-Forwarded-For: 6.6.6.6\r
      X_Forwarded_For: 6.6.6.6\r
      x_forwarded-for: 6.6.6.6\r
      X-Forwarded-Proto: gopher\r
      X-Forwarded-Host: evil.example\r
      X-Forwarded-Port: 666\r
      X-Real-IP: 6.6.6.6\r
      Forwarded: for=6.6.6.6\r
      Proxy: http://6.6.6.6\r\n
      """)
    let request = try #require(stub.lastRequest)
    for field in request.fields {
      #expect(!field.value.contains("6.6.6.6"), "\(field)")
      #expect(!field.name.contains("_"), "\(field)")
    }
    #expect(request["X-Forwarded-For"] == "127.0.0.1")
    #expect(request["X-Forwarded-Proto"] == "http")
    #expect(request["X-Forwarded-Host"] == "localhost")
    #expect(request["X-Forwarded-Port"] == nil)
  }

  /// Forwarding fields: in a head, in a trailer, and as a program behind CGI may read them.
  static let claims = [
    "X-Forwarded-SSL", "X-Forwarded-Scheme", "X-Forwarded-Protocol", "X-Forwarded-User",
    "X-Forwarded-Prefix", "X_Forwarded_User", "Front-End-Https", "True-Client-IP", "X-Client-IP",
    "Client-IP", "Client_IP", "Forwarded-For", "Remote-User", "X-Remote-User", "X-Scheme",
  ]

  @Test func `forwarding fields of untrusted clients are removed, in heads and in trailers`()
    throws
  {
    let stub = try StubBackend()
    let martlet = try MartletProcess(backends: [stub])
    let fields = Self.claims.map { "\($0): evil\r\n" }.joined()
    _ = try martlet.answer(
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nX-Open: yes\r\n\(fields)\r\n"
        + "2\r\nab\r\n0\r\nX-Sum: 1\r\n\(fields)\r\n")
    let request = try #require(stub.lastRequest)
    #expect(request["X-Open"] == "yes" && request.trailers.map(\.name) == ["X-Sum"])
    #expect(!request.fields.contains { $0.value == "evil" }, "\(request.fields)")
  }

  @Test func `from a trusted proxy it passes, look-alikes and other clients' addresses do not`()
    throws
  {
    let stub = try StubBackend()
    let martlet = try MartletProcess(
      backends: [stub], rest: #""trusted-proxies": ["127.0.0.0/8"]"#)
    _ = try martlet.get(
      "/",
      "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-User: ann\r\nX_Forwarded_User: eve\r\n"
        + "Front-End-Https: on\r\nTrue-Client-IP: 203.0.113.9\r\nClient-IP: 6.6.6.6\r\n"
        + "Connection: X-Forwarded-User\r\n")
    let request = try #require(stub.lastRequest)
    #expect(request["X-Forwarded-User"] == "ann" && request["X_Forwarded_User"] == nil)
    #expect(request["Front-End-Https"] == "on" && request["True-Client-IP"] == "203.0.113.9")
    #expect(request["Client-IP"] == nil)
  }

  @Test func `a trusted proxy's fields are used, and the client behind it is logged`() throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(
      backends: [stub], rest: #""trusted-proxies": ["127.0.0.0/8", "10.0.0.0/8"]"#)
    _ = try martlet.get(
      "/",
      "X-Forwarded-For: 6.6.6.6, 203.0.113.9, 10.1.2.3\r\nX-Forwarded-Proto: https\r\n")
    let request = try #require(stub.lastRequest)
    #expect(request["X-Forwarded-For"] == "6.6.6.6, 203.0.113.9, 10.1.2.3, 127.0.0.1")
    #expect(request["X-Forwarded-Proto"] == "https")
    let line = try #require(try martlet.accessLines(atLeast: 1).first)
    // The last address that is no trusted proxy: clients can fake everything before it.
    #expect(line["client"] as? String == "203.0.113.9")
  }

  @Test func `hop-by-hop fields are removed in both directions`() throws {
    let stub = try StubBackend { _, wire in
      try wire.send(
        """
        HTTP/1.1 200 OK\r
        Content-Length: 2\r
        Connection: X-Secret\r
        X-Secret: backend\r
        Keep-Alive: timeout=5\r
        Proxy-Authenticate: Basic\r
        Upgrade: h2c\r
        X-Open: yes\r
        \r
        ok
        """)
      return true
    }
    let martlet = try MartletProcess(backends: [stub])
    let answer = try martlet.get(
      "/",
      """
      Connection: X-Mine, Host, Content-Length, X-Forwarded-For\r
      X-Mine: client\r
      Keep-Alive: 300\r
      Proxy-Connection: keep-alive\r
      Proxy-Authorization: Basic Zm9v\r
      TE: trailers\r
      X-Open: yes\r\n
      """)
    let request = try #require(stub.lastRequest)
    for name in ["X-Mine", "Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "Upgrade"] {
      #expect(request[name] == nil, "\(name)")
    }
    #expect(request["X-Open"] == "yes")
    #expect(request["Host"] == "localhost")
    #expect(request["X-Forwarded-For"] == "127.0.0.1")
    for name in ["X-Secret", "Keep-Alive", "Proxy-Authenticate", "Upgrade"] {
      #expect(answer[name] == nil, "\(name)")
    }
    #expect(answer["X-Open"] == "yes")
    #expect(answer["Via"] == "1.1 martlet")
  }

  @Test func `via can be turned off, and on for backends`() throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(backends: [stub], rest: #""via": false"#)
    let answer = try martlet.get()
    #expect(answer["Via"] == nil)
    #expect(stub.lastRequest?["Via"] == nil)
    let chained = try MartletProcess(backends: [stub], rest: #""via-to-backends": true"#)
    #expect(try chained.get()["Via"] == "1.1 martlet")
    #expect(stub.lastRequest?["Via"] == "1.1 martlet")
  }

  @Test func `nginx compresses as it does without Martlet`() throws {
    let nginx = try Nginx(
      String(repeating: "hello ", count: 500), directives: "gzip on; gzip_types *;")
    let martlet = try MartletProcess(backends: [nginx])
    let answer = try martlet.get("/", "Accept-Encoding: gzip\r\n")
    #expect(answer.status == 200 && answer["Content-Encoding"] == "gzip")
  }

  // MARK: Trusted proxies

  @Test func `if trusted proxies write Forwarded, X-Forwarded-For is ignored`() throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(
      backends: [stub],
      rest: #""trusted-proxies": ["127.0.0.0/8"], "forwarding-field": "forwarded""#)
    _ = try martlet.get(
      "/",
      "X-Forwarded-For: 6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nX-Forwarded-Proto: gopher\r\n"
        + "Forwarded: for=203.0.113.9;proto=https\r\n")
    let request = try #require(stub.lastRequest)
    #expect(request["X-Forwarded-For"] == "203.0.113.9, 127.0.0.1" && request["X-Real-IP"] == nil)
    #expect(request["X-Forwarded-Proto"] == "https")
    #expect(request["Forwarded"]?.hasPrefix("for=203.0.113.9;proto=https, for=127.0.0.1") == true)
    let line = try #require(try martlet.accessLines(atLeast: 1).first)
    #expect(line["client"] as? String == "203.0.113.9")
  }

  @Test(arguments: [
    ("x-forwarded-for", "X-Forwarded-Proto: https\r\n"),
    ("forwarded", "Forwarded: for=203.0.113.9;proto=https\r\n"),
  ])
  func `behind a trusted proxy with TLS there is no redirect loop`(
    _ field: String, _ said: String
  ) throws {
    let stub = try StubBackend("served")
    let martlet = try MartletProcess(
      backends: [stub], pool: #""stickiness": "home""#,
      listener: #""redirect-to-https": 443, "hsts": {}"#,
      rest: """
        "trusted-proxies": ["127.0.0.0/8"], "forwarding-field": "\(field)",
        "routes": [{ }, { "path": "/old", "redirect": { "path": "/new" } }]
        """)
    let served = try martlet.get("/", said)
    #expect(served.status == 200 && served.text == "served")
    #expect(served["Strict-Transport-Security"] != nil)
    #expect(served["Set-Cookie"]?.hasSuffix("; Secure") == true)
    #expect(stub.lastRequest?["X-Forwarded-Proto"] == "https")
    #expect(try martlet.get("/old", said)["Location"] == "https://localhost/new")
    for other in ["", said.replacing("https", with: "http")] {
      let sent = try martlet.get("/x", other)
      #expect(sent.status == 308 && sent["Location"] == "https://localhost/x")
      #expect(sent["Strict-Transport-Security"] == nil)
    }
  }

  @Test func `an untrusted client's claim of https is ignored`() throws {
    let martlet = try MartletProcess(
      backends: [try StubBackend()], listener: #""redirect-to-https": 443"#,
      rest: #""trusted-proxies": ["10.0.0.0/8"]"#)
    let answer = try martlet.get("/", "X-Forwarded-Proto: https\r\nForwarded: proto=https\r\n")
    #expect(answer.status == 308)
  }

  // MARK: Routes

  @Test func `a client can't bypass a route's field edits with similar names`() throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(
      backends: [stub],
      rest: """
        "routes": [{ "request": { "set": { "X-Auth-User": "me" }, "remove": ["X-Admin"] } }]
        """)
    _ = try martlet.get(
      "/",
      "X-Auth-User: you\r\nX_Auth_User: you\r\nx.auth.user: you\r\nX_Admin: you\r\n"
        + "X_Other: 1\r\n")
    let request = try #require(stub.lastRequest)
    #expect(!request.fields.contains { $0.value == "you" }, "\(request.fields)")
    #expect(request["X-Auth-User"] == "me" && request["X_Other"] == "1")
  }

  @Test func `a host with trailing dots gets the route of its name`() throws {
    let martlet = try MartletProcess(
      backends: [try StubBackend("open")],
      rest: """
        "routes": [{}, { "host": "intern.test", "respond": { "status": 403 } }]
        """)
    for host in ["intern.test", "intern.test.", "INTERN.test..", "intern.test...:80"] {
      #expect(try martlet.answer("GET / HTTP/1.1\r\nHost: \(host)\r\n\r\n").status == 403)
    }
    #expect(try martlet.answer("GET / HTTP/1.1\r\nHost: xintern.test..\r\n\r\n").text == "open")
  }

  // MARK: Max-Forwards

  @Test(arguments: ["TRACE", "OPTIONS"])
  func `Max-Forwards is decremented, and 0 is answered here`(_ method: String) throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(backends: [stub])
    func ask(_ forwards: Int) throws -> Message {
      try martlet.answer(
        "\(method) / HTTP/1.1\r\nHost: localhost\r\nMax-Forwards: \(forwards)\r\n\r\n")
    }
    let last = try ask(0)
    #expect(last.status == (method == "TRACE" ? 501 : 200) && stub.requests.isEmpty)
    #expect(try ask(3).text == "stub")
    #expect(stub.lastRequest?["Max-Forwards"] == "2")
  }

  // MARK: Trailers

  @Test func `trailers follow the rules for heads, in both directions`() throws {
    let trailers =
      "X-Forwarded-For: 6.6.6.6\r\nX-Auth-User: you\r\nX_Auth_User: you\r\nVia: 1.1 you\r\n"
      + "X-Request-ID: you\r\nServer-Timing: a\r\nSet-Cookie: you\r\nServer: you\r\n\r\n"
    let stub = try StubBackend { request, wire in
      try wire.takeBody(of: &request, isResponse: false)
      try wire.send(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n" + trailers)
      return true
    }
    let martlet = try MartletProcess(
      backends: [stub],
      rest: """
        "routes": [{ "request": { "set": { "X-Auth-User": "me" } },
          "response": { "remove": ["X-Auth-User"] } }]
        """)
    let answer = try martlet.answer(
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n"
        + trailers)
    #expect(answer.trailers.map(\.name) == ["Server-Timing"])
    let request = try #require(stub.lastRequest)
    #expect(request.text == "ab" && request.trailers.map(\.name) == ["Server-Timing"])
    #expect(request["X-Auth-User"] == "me")
  }

  @Test func `trailers that Connection names go no further, in both directions`() throws {
    let stub = try StubBackend { request, wire in
      try wire.takeBody(of: &request, isResponse: false)
      try wire.send(
        "HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nTransfer-Encoding: chunked\r\n\r\n"
          + "2\r\nok\r\n0\r\nX-Hop: 1\r\n\r\n")
      return true
    }
    let martlet = try MartletProcess(backends: [stub])
    let answer = try martlet.answer(
      "POST / HTTP/1.1\r\nHost: a\r\nConnection: X-Hop\r\nTransfer-Encoding: chunked\r\n\r\n"
        + "2\r\nab\r\n0\r\nX-Hop: 1\r\n\r\n")
    #expect(answer.text == "ok" && answer.trailers.isEmpty)
    let request = try #require(stub.lastRequest)
    #expect(request.text == "ab" && request.trailers.isEmpty)
  }

  // MARK: Dates

  @Test func `an answer without Date gets one, and one with Date keeps it`() throws {
    let stub = try StubBackend { request, wire in
      let date = request.target == "/dated" ? "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n" : ""
      try wire.send("HTTP/1.1 200 OK\r\n\(date)Content-Length: 2\r\n\r\nok")
      return true
    }
    let martlet = try MartletProcess(
      backends: [stub],
      rest: """
        "routes": [{}, { "path": "/bare", "response": { "remove": ["Date"] } }]
        """)
    let date = try #require(try martlet.get()["Date"])
    #expect(date.wholeMatch(of: /\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT/) != nil, "\(date)")
    #expect(try martlet.get("/dated")["Date"] == "Sun, 06 Nov 1994 08:49:37 GMT")
    #expect(try martlet.get("/bare")["Date"] == nil)
  }

  // MARK: Upgrades

  private static func upgrading(_ protocolName: String) throws -> StubBackend {
    try StubBackend { request, wire in
      guard request["Upgrade"] != nil else {
        try wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno")
        return true
      }
      try wire.send(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: \(protocolName)\r\n"
          + "Sec-WebSocket-Accept: x\r\n\r\nfirst")
      // From here on it echoes.
      while try wire.receive() || !wire.buffer.isEmpty {
        if wire.buffer.isEmpty { break }
        try wire.send(wire.take(wire.buffer.count))
      }
      return false
    }
  }

  private static let upgrade =
    "GET /socket HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\n"
    + "Upgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n"

  @Test func `a WebSocket is relayed both ways, and ends with either side`() throws {
    let stub = try Self.upgrading("websocket")
    let martlet = try MartletProcess(backends: [stub])
    let wire = try martlet.wire()
    try wire.send(Self.upgrade)
    let head = try wire.takeHead()
    #expect(head.status == 101)
    #expect(head["Upgrade"]?.lowercased() == "websocket")
    #expect(head["Connection"]?.lowercased() == "upgrade")
    #expect(head["Sec-WebSocket-Accept"] == "x")
    #expect(try wire.take(5) == Array("first".utf8))
    let block = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
    for _ in 0..<3 {
      try wire.send(Array(block[..<1000]))
      #expect(try wire.take(1000) == Array(block[..<1000]))
    }
    #expect(stub.lastRequestNow?["Upgrade"] == "websocket")
    #expect(stub.lastRequestNow?["Connection"]?.lowercased() == "upgrade")
    wire.finishSending()
    #expect(wire.endsQuietly())
    let line = try #require(try martlet.accessLines(atLeast: 1).first)
    #expect(line["status"] as? Int == 101)
    #expect(line["received"] as? Int == 3000)
    #expect(line["sent"] as? Int == 3005)
  }

  @Test func `a relay without data ends after its idle timeout`() throws {
    let stub = try Self.upgrading("websocket")
    let martlet = try MartletProcess(
      backends: [stub], pool: #""timeouts": { "relay-idle": "1s" }"#)
    let wire = try martlet.wire()
    try wire.send(Self.upgrade)
    #expect(try wire.takeHead().status == 101)
    #expect(try wire.take(5) == Array("first".utf8))
    // It throws if the connection doesn't end.
    #expect(try !wire.receive())
  }

  @Test func `a relay waits for a slow client, and delivers everything before it ends`() throws {
    let block = (0..<16_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
    let stub = try StubBackend { _, wire in
      try wire.send(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
      // More than all buffers in between hold, then everything that the client sent.
      try wire.send(block)
      let said = try wire.takeRest()
      try wire.send("\(said.count)")
      return false
    }
    let martlet = try MartletProcess(backends: [stub])
    let wire = try martlet.wire()
    try wire.send(Self.upgrade)
    #expect(try wire.takeHead().status == 101)
    #expect(try wire.take(block.count) == block)
    try wire.send(Array(block[..<3_000_000]))
    wire.finishSending()
    #expect(String(decoding: try wire.takeRest(), as: UTF8.self) == "3000000")
  }

  @Test func `bytes that a client sends right after its upgrade request aren't lost`() throws {
    let stub = try Self.upgrading("websocket")
    let martlet = try MartletProcess(backends: [stub])
    let wire = try martlet.wire()
    try wire.send(Self.upgrade + "early")
    #expect(try wire.takeHead().status == 101)
    #expect(try wire.take(10) == Array("firstearly".utf8))
  }

  @Test func `a protocol that isn't allowed is not passed on, h2c never`() throws {
    let stub = try Self.upgrading("h2c")
    let martlet = try MartletProcess(backends: [stub])
    let answer = try martlet.get(
      "/", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n")
    #expect(answer.status == 200)
    #expect(stub.lastRequest?["Upgrade"] == nil)
    #expect(stub.lastRequest?["HTTP2-Settings"] == nil)
  }

  @Test func `a configuration can't allow h2c`() throws {
    let folder = TemporaryFolder()
    try folder.write(
      #"{ "pools": [{ "backends": ["127.0.0.1:1"] }], "upgrades": ["h2c"] }"#, to: "config.json")
    let check = try MartletProcess.start(["check"], in: folder)
    #expect(try check.waitForExit() == 1)
    #expect(check.errorText.contains("h2c"))
  }

  @Test func `a 101 for another protocol than the requested one becomes 502`() throws {
    let stub = try Self.upgrading("something-else")
    let martlet = try MartletProcess(backends: [stub])
    let wire = try martlet.wire()
    try wire.send(Self.upgrade)
    #expect(try wire.takeHead().status == 502)
  }

  @Test func `a 101 without an upgrade request becomes 502`() throws {
    let stub = try StubBackend { _, wire in
      try wire.send(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
      return true
    }
    let martlet = try MartletProcess(backends: [stub])
    #expect(try martlet.get().status == 502)
  }
}
