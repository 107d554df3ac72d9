// Clients and backends that are simpler than HTTP/1.1 wants them: those that write all before they
// read, that name no host, that end their side behind a request, and servers that read no chunks.

import Foundation
import Testing

@Suite(.serialized) struct PlainClientTests {
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
