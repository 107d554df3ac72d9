// After which messages the connection can be reused.

import HTTP
import HTTP1
import Testing

struct PersistenceTests {
  @Test(arguments: [
    ("1.1", "", true), ("1.1", "Connection: close\r\n", false),
    ("1.1", "Connection: x, CLOSE\r\n", false), ("1.1", "Connection: keep-alive\r\n", true),
    ("1.1", "Connection: keep-alive\r\nConnection: close\r\n", false),
    ("1.1", "Connection: closed\r\n", true), ("1.0", "", false),
    ("1.0", "Connection: Keep-Alive\r\n", true),
    ("1.0", "Connection: keep-alive, close\r\n", false),
    ("1.0", "Proxy-Connection: keep-alive\r\n", false),
  ])
  func followsVersionAndConnection(version: String, lines: String, expected: Bool) throws {
    let request = try withRequest("GET / HTTP/\(version)\r\nHost: a\r\n\(lines)\r\n") {
      $0.persists
    }
    let response = try withResponse("HTTP/\(version) 200 OK\r\n\(lines)\r\n") {
      $0.persists(framing: .length(1))
    }
    #expect(request == expected)
    #expect(response == expected)
  }

  @Test func aBodyUntilCloseEndsTheConnection() throws {
    let persists = try withResponse("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\n") {
      $0.persists(framing: .untilClose)
    }
    #expect(!persists)
  }

  @Test(arguments: [
    ("", true), ("Content-Length: 0\r\n", true), ("Content-Length: 5\r\n", false),
    ("Content-Length: x\r\n", false), ("Transfer-Encoding: chunked\r\n", false),
  ])
  func aBodyAnnouncedWhereNoneMayBeIsNotTrusted(lines: String, expected: Bool) throws {
    let persists = try withResponse("HTTP/1.1 204 No Content\r\n\(lines)\r\n") {
      $0.persists(framing: .none)
    }
    #expect(persists == expected)
  }
}
