// Common clients with their default behaviour.

import Foundation
import Testing

@Suite(.serialized) struct ClientTests {
  private let certificates: Certificates
  private let martlet: MartletProcess

  init() throws {
    certificates = try Certificates()
    martlet = try MartletProcess(
      backends: [try Nginx("hello")],
      listener: #""tls": { "certificates": [\#(certificates.entry())] }"#)
  }

  @Test func `wrk gets only good answers`() throws {
    let result = try run(
      ["wrk", "-t", "2", "-c", "20", "-d", "1s", "https://127.0.0.1:\(martlet.port)/"])
    #expect(result.status == 0)
    #expect(result.output.contains("requests in"))
    #expect(!result.output.contains("Non-2xx"), "\(result.output)")
    #expect(!result.output.contains("Socket errors"), "\(result.output)")
  }

  @Test func `h2load gets only good answers with HTTP 1.1`() throws {
    let result = try run(
      ["h2load", "--h1", "-n", "2000", "-c", "20", "https://127.0.0.1:\(martlet.port)/"])
    #expect(result.status == 0)
    #expect(
      result.output.contains("2000 succeeded, 0 failed, 0 errored, 0 timeout"), "\(result.output)")
    #expect(result.output.contains("2000 2xx"))
  }

  @Test func `Python's client keeps its connection and verifies the certificate`() throws {
    let script = """
      import http.client, ssl
      context = ssl.create_default_context(cafile="\(certificates.authority)")
      connection = http.client.HTTPSConnection("localhost", \(martlet.port), context=context)
      for method, body in [("GET", None), ("POST", b"x" * 100000), ("HEAD", None),
                           ("POST", iter([b"a", b"b"])), ("GET", None)]:
          connection.request(method, "/", body=body, encode_chunked=not isinstance(body, bytes)
              and body is not None,
              headers={} if body is None or isinstance(body, bytes)
              else {"Transfer-Encoding": "chunked"})
          answer = connection.getresponse()
          text = answer.read()
          assert answer.status == 200, (method, answer.status)
          assert text == (b"" if method == "HEAD" else b"hello\\n"), (method, text)
      print("good")
      """
    let result = try run(["python3", "-c", script])
    #expect(result.output == "good\n", "\(result.errors)")
  }

  @Test func `openssl s_client is answered`() throws {
    let result = try run(
      [
        "sh", "-c",
        "(printf 'GET / HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n'; sleep 1)"
          + " | openssl s_client -quiet -verify_return_error -CAfile \(certificates.authority)"
          + " -verify_hostname localhost -connect localhost:\(martlet.port) -4",
      ])
    #expect(result.output.hasPrefix("HTTP/1.1 200 OK\r\n"), "\(result.errors)")
    #expect(result.output.hasSuffix("hello\n"))
  }

  @Test func `gnutls-cli verifies the certificate and is answered`() throws {
    let result = try run(
      [
        "sh", "-c",
        "(printf 'GET / HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n'; sleep 1)"
          + " | gnutls-cli --logfile=/dev/null --x509cafile=\(certificates.authority)"
          + " --port=\(martlet.port) localhost",
      ])
    #expect(result.status == 0, "\(result.errors)")
    #expect(result.output.contains("HTTP/1.1 200 OK\r\n"), "\(result.output)\(result.errors)")
    #expect(result.output.contains("hello\n"))
  }

  @Test func `curl uploads with Expect and pipes with chunks`() throws {
    let result = try run(
      [
        "sh", "-c",
        """
        head -c 3000000 /dev/zero | curl -sS --max-time 20 --cacert \(certificates.authority) \
          -H 'Expect: 100-continue' -T - -X POST https://localhost:\(martlet.port)/
        """,
      ])
    #expect(result.output == "hello\n", "\(result.errors)")
  }
}
