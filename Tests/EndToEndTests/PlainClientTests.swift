// Clients and backends that are simpler than HTTP/1.1 wants them: those that write all before they
// read, that name no host, that end their side behind a request, and servers that read no chunks.

import Foundation
import Testing

@Suite(.serialized) struct PlainClientTests {
  // MARK: All is written before anything is read

  /// Sends `size` bytes by Python's own client, which reads when it has written all.
  private func upload(_ size: Int, to martlet: MartletProcess) throws -> String {
    let script = """
      import http.client
      connection = http.client.HTTPConnection("127.0.0.1", \(martlet.port))
      connection.request("POST", "/", body=b"x" * \(size))
      answer = connection.getresponse()
      print(answer.status, len(answer.read()) > 0)
      """
    let result = try run(["python3", "-c", script])
    return result.output + result.errors
  }

  @Test func `a client that sends far more than it may reads the 413`() throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(
      backends: [stub], rest: #""limits": { "body-size": "1MiB" }"#)
    #expect(try upload(48 << 20, to: martlet) == "413 True\n")
  }

  @Test func `a client whose upload the backend refuses early reads the 401`() throws {
    let stub = try StubBackend { _, wire in
      try wire.send(
        "HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")
      return false
    }
    let martlet = try MartletProcess(backends: [stub])
    #expect(try upload(48 << 20, to: martlet) == "401 True\n")
  }

  // MARK: No host

  @Test func `HTTP 1.0 without Host gets the pool's address for it, which nginx takes`() throws {
    let nginx = try Nginx("a")
    let stub = try StubBackend()
    let martlet = try MartletProcess(backends: [nginx])
    #expect(try martlet.answer("GET / HTTP/1.0\r\n\r\n").status == 200)
    let other = try MartletProcess(backends: [stub])
    #expect(try other.answer("GET / HTTP/1.0\r\n\r\n").status == 200)
    let request = try #require(stub.lastRequest)
    #expect(request["Host"] == stub.address)
    // It isn't what the client asked for.
    #expect(request["X-Forwarded-Host"] == nil && request["Forwarded"]?.contains("host=") == false)
    #expect(try other.answer("GET / HTTP/1.0\r\nHost: mine\r\n\r\n").status == 200)
    #expect(stub.lastRequest?["Host"] == "mine")
  }
}
