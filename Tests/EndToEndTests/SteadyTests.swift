// The load generator of the benchmark, `steady`: its results for a server that stalls, fails or
// closes. On a slower machine the results are only farther from the bounds.

import Foundation
import Synchronization
import Testing

@Suite struct SteadyTests {
  /// Its output.
  private struct Report: Decodable {
    struct Latency: Decodable {
      let p50, p90, p99, thousandth, max: Double?
      enum CodingKeys: String, CodingKey { case p50, p90, p99, max, thousandth = "p99.9" }
    }
    let requests, errors, rate, late: Int
    let achieved: Double
    let microseconds: Latency
  }

  private static func load(
    _ server: StubBackend, rate: Int, seconds: Int, connections: Int
  ) throws -> Report {
    let result = try run([
      Installation.steady, "--port", "\(server.port)", "--path", "/asked?for=it", "--rate",
      "\(rate)", "--seconds", "\(seconds)", "--connections", "\(connections)",
    ])
    #expect(result.status == 0, "\(result.errors)")
    #expect(server.requests.allSatisfy { $0.line == "GET /asked?for=it HTTP/1.1" })
    return try JSONDecoder().decode(Report.self, from: Data(result.output.utf8))
  }

  @Test func `a stall shows in the latency of every request that was due during it`() throws {
    let stalled = 0.3
    let state = Mutex((count: 0, end: 0.0))
    let server = try StubBackend { request, wire in
      let end = state.withLock { state in
        state.count += 1
        // In the middle: the warm-up has 250 requests.
        if state.count == 750 { state.end = seconds() + stalled }
        return state.end
      }
      while seconds() < end { usleep(1000) }
      try wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
      return true
    }
    let report = try Self.load(server, rate: 500, seconds: 2, connections: 4)
    #expect(server.connectionCount == 4)
    #expect(report.requests == 1000)
    #expect(report.errors == 0)
    #expect(report.rate == 500)
    // 150 become due during the stall, one every 2 ms, and only 4 of them find a free connection. A
    // generator that waits for responses would only see those 4.
    #expect(report.late >= 100)
    let latency = report.microseconds
    #expect(try #require(latency.max) >= 300_000)
    #expect(try #require(latency.thousandth) >= 250_000)
    #expect(try #require(latency.p99) >= 200_000)
    #expect(try #require(latency.p90) >= 50_000)
    #expect(try #require(latency.p50) < (try #require(latency.max)))
    // The delayed responses came later, and none was lost.
    #expect(report.achieved > 100 && report.achieved <= 500)
  }

  @Test func `an answer in chunks, in pieces and after an interim one counts as complete`() throws {
    let server = try StubBackend { request, wire in
      try wire.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-")
      try wire.send("Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
      try wire.send("0\r\nA: b\r\n\r\n")
      return true
    }
    let report = try Self.load(server, rate: 100, seconds: 1, connections: 2)
    #expect(report.requests == 100)
    #expect(report.errors == 0)
    #expect(report.microseconds.p50 != nil)
    #expect(server.connectionCount == 2)
  }

  @Test(arguments: [
    // No response, half a response, no HTTP, another status, and an announced close.
    ("", false), ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok", false), ("hello\r\n\r\n", true),
    ("HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\nno", true),
    ("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", false),
    ("HTTP/1.0 200 OK\r\n\r\nok", false),
  ])
  func `everything but a complete 200 is an error`(answer: String, goesOn: Bool) throws {
    let server = try StubBackend { request, wire in
      if !answer.isEmpty { try wire.send(answer) }
      return goesOn
    }
    let report = try Self.load(server, rate: 200, seconds: 1, connections: 3)
    #expect(report.requests == 200)
    #expect(report.errors == 200)
    #expect(report.achieved == 0)
    #expect(report.microseconds.max == nil)
  }

  @Test func `a connection that ends between two requests is an error and is reopened`() throws {
    let server = try StubBackend { request, wire in
      try wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
      return false
    }
    let report = try Self.load(server, rate: 200, seconds: 1, connections: 3)
    #expect(report.requests == 200)
    // The server closes after each response: between two requests, or during the next one.
    #expect(report.errors >= 90)
    #expect(report.microseconds.max != nil)
    #expect(server.connectionCount > 100)
  }

  @Test(arguments: [
    (["--rate", "5"], "--port"), (["--port", "0"], "--port"), (["--port", "x"], "--port"),
    (["--port", "1", "--rate", "200001"], "--rate"),
    (["--port", "1", "--seconds", "0"], "--seconds"),
    (["--port", "1", "--connections", "4001"], "--connections"),
    (["--port", "1", "--path", "small"], "--path"),
    (["--port", "1", "--path", "/a\r\nb"], "--path"), (["--port", "1", "--sped", "1"], "--sped"),
  ])
  func `a wrong command line is refused by name`(arguments: [String], name: String) throws {
    let result = try run([Installation.steady] + arguments)
    #expect(result.status == 64)
    #expect(result.errors.contains(name), "\(result.errors)")
    #expect(result.output.isEmpty)
  }

  @Test func `a server that doesn't listen is reported, and ends the run`() throws {
    let port = try freePort()
    let result = try run([Installation.steady, "--port", "\(port)"])
    #expect(result.status == 1)
    #expect(
      result.errors.contains("can't connect to 127.0.0.1:\(port): Connection refused"),
      "\(result.errors)")
  }
}
