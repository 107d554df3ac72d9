// TLS to backends: connections and sessions that are kept, and what a reload does to them.

import Balancing
import Configuration
import Primitives
import Reactor
import TLS
import Testing

@testable import Server

@Suite struct UpstreamTLSTests {
  // MARK: Transport

  private static let folder = { (file: String) in
    file.split(separator: "/").dropLast(3).map { "/" + $0 }.joined() + "/certs/"
  }(#filePath)

  /// A transport that has begun a session with a server, over memory.
  private struct Bench: ~Copyable {
    var io = MemoryIO()
    var buffers = BufferPool()
    var transport: Transport
    var server: TLSSession
    /// How much of what was sent the server has got.
    var taken = 0

    init() throws {
      var policy = UpstreamContext.Policy()
      policy.trust = try TrustStore(path: UpstreamTLSTests.folder + "ca.crt")
      let certificate = try Certificate(
        chainPath: UpstreamTLSTests.folder + "server.crt",
        keyPath: UpstreamTLSTests.folder + "server.key")
      let server = try TLSSession(
        accepting: try TLSContext(
          certificates: [certificate], policy: TLSPolicy(), ticketKeys: try TicketKeys(),
          listenerName: "test"))
      let session = try TLSSession(
        connecting: try UpstreamContext(policy), to: "localhost", at: .ip(.loopbackV4, port: 443))
      self.server = server
      transport = Transport(Socket(descriptor: 3), dialling: session)
      transport.note(.writable)
      transport.open(&buffers)
    }

    mutating func receive() -> Transport.Arrival {
      transport.note(.readable)
      let arrival = transport.receive(&io, &buffers)
      transport.flush(&io, &buffers)
      return arrival
    }

    /// The server handles what it has got; returns its answer.
    mutating func serverShakesHands() throws -> [UInt8] {
      let bytes = Array(io.sent[taken...])
      taken = io.sent.count
      var input = bytes.span
      var failure: TLSFailure?
      let output = [UInt8](capacity: 64 * 1024) { output in
        do throws(TLSFailure) {
          _ = try server.handshake(input: &input, output: &output)
        } catch {
          failure = error
        }
      }
      if let failure { throw failure }
      return output
    }

    mutating func serverWrites(_ bytes: [UInt8]) throws -> [UInt8] {
      var failure: TLSFailure?
      let output = [UInt8](capacity: 64 * 1024) { output in
        do throws(TLSFailure) {
          _ = try server.write(bytes.span, output: &output)
        } catch {
          failure = error
        }
      }
      if let failure { throw failure }
      return output
    }

    mutating func serverCloses() -> [UInt8] {
      [UInt8](capacity: 64) { output in server.close(output: &output) }
    }

    /// Completes the handshake, and returns the tickets of the server.
    mutating func shakeHands() throws -> [UInt8] {
      transport.flush(&io, &buffers)
      io.incoming = [try serverShakesHands()]
      #expect(receive() == .nothing)
      let isEstablished = transport.isEstablished
      #expect(isEstablished)
      return try serverShakesHands()
    }

    var isReusable: Bool { transport.isReusable }
  }

  @Test func anIdleConnectionTakesTicketsAndStaysReusable() throws {
    var bench = try Bench()
    let tickets = try bench.shakeHands()
    #expect(!tickets.isEmpty)
    // In two pieces.
    bench.io.incoming = [Array(tickets.prefix(50)), Array(tickets.dropFirst(50))]
    for _ in 0..<2 { #expect(bench.receive() == .nothing) }
    let (isReusable, held) = (bench.isReusable, bench.transport.heldByteCount)
    #expect(isReusable && held == 0)
  }

  @Test func dataAfterTheLastResponseMakesAConnectionUnusable() throws {
    var bench = try Bench()
    let tickets = try bench.shakeHands()
    bench.io.incoming = [try tickets + bench.serverWrites([1, 2, 3])]
    #expect(bench.receive() == .bytes)
    let isReusable = bench.isReusable
    #expect(!isReusable)
  }

  @Test func closeNotifyBehindDataIsTheEnd() throws {
    var bench = try Bench()
    let tickets = try bench.shakeHands()
    bench.io.incoming = [try tickets + bench.serverWrites([1, 2, 3]) + bench.serverCloses()]
    #expect(bench.receive() == .bytes)
    bench.transport.inbound.removeAll()
    let (isReusable, isAuthentic) = (bench.isReusable, bench.transport.isEndAuthentic)
    #expect(!isReusable && isAuthentic)
    // Without the end of the TCP connection.
    #expect(bench.receive() == .finished)
  }

  @Test func anEndWithoutCloseNotifyIsNotAuthentic() throws {
    var bench = try Bench()
    _ = try bench.shakeHands()
    bench.io.ending = .finished
    #expect(bench.receive() == .finished)
    let isAuthentic = bench.transport.isEndAuthentic
    #expect(!isAuthentic)
  }

  @Test func aPlainConnectionEndsAuthentically() {
    let transport = Transport(connecting: Socket(descriptor: 3), nil)
    let (isAuthentic, isEncrypted) = (transport.isEndAuthentic, transport.isEncrypted)
    #expect(isAuthentic && !isEncrypted)
  }

  // MARK: Snapshots

  private let builder = SnapshotBuilder(workerCount: 2)

  private func snapshot(
    _ pool: String, files: UpstreamFiles = UpstreamFiles()
  ) throws -> Snapshot {
    let text = """
      { "listeners": [{ "listen": "127.0.0.1:0" }], "pools": [{ "name": "app", \(pool) }] }
      """
    let reading = Configuration.read(Array(text.utf8))
    let configuration = try #require(reading.configuration, "\(reading.diagnostics)")
    return try builder.build(
      configuration, certificates: [:], upstreams: ["app": files], names: NameTable())
  }

  private static let https = #""backends": ["https://127.0.0.1:1"]"#

  @Test func aReloadWithoutChangesKeepsTheContexts() throws {
    let first = try snapshot(Self.https)
    let second = try snapshot(Self.https + #", "retry": { "max-attempts": 2 }"#)
    #expect(first.pools[0].tls === second.pools[0].tls && first.pools[0].tls != nil)
    #expect(second.poolsWithOtherConnections(than: first).isEmpty)
  }

  @Test(arguments: [
    #""backends": ["127.0.0.1:1"]"#, https + #", "tls": { "verify": "off" }"#,
    https + #", "tls": { "server-name": "app" }"#,
    https + #", "tls": { "minimum-version": "1.3" }"#,
  ])
  func otherTLSIsNoticed(pool: String) throws {
    let former = try snapshot(Self.https)
    var generation = Generation(id: 0, snapshot: former)
    let fresh = try snapshot(pool)
    #expect(fresh.poolsWithOtherConnections(than: former) == ["app"])
    generation.noteNewest(fresh)
    #expect(generation.formerPools == [0])
    // The record is the same, so its health is known still.
    #expect(
      former.pools[0].pool.membership.members[0].record
        === fresh.pools[0].pool.membership.members[0].record)
  }

  @Test func otherFilesMakeOtherContexts() throws {
    let trust = try TrustStore(path: Self.folder + "ca.crt")
    let same = try TrustStore(path: Self.folder + "ca.crt")
    let other = try TrustStore(path: Self.folder + "server.crt")
    let settings = Self.https + #", "tls": { "ca": "/ca" }"#
    let first = try snapshot(settings, files: UpstreamFiles(trust: trust))
    let second = try snapshot(settings, files: UpstreamFiles(trust: same))
    #expect(first.pools[0].tls === second.pools[0].tls)
    let third = try snapshot(settings, files: UpstreamFiles(trust: other))
    #expect(first.pools[0].tls !== third.pools[0].tls)
  }

  @Test(arguments: [
    (#""backends": ["https://127.0.0.1:1"]"#, "127.0.0.1"),
    (#""backends": ["https://[::1]:1"]"#, "::1"),
    (#""backends": ["https://127.0.0.1:1"], "tls": { "server-name": "App.Internal" }"#,
      "app.internal"),
    (#""backends": ["https://127.0.0.1:1"], "tls": { "server-name": "::1" }"#, "::1"),
    (#""backends": ["unix:/a"], "tls": { "server-name": "app" }"#, "app"),
  ])
  func membersHaveTheNameThatIsVerified(pool: String, name: String) throws {
    #expect(try snapshot(pool).pools[0].pool.membership.members[0].serverName == name)
  }

  // MARK: Words

  @Test func aFailureOfTLSHasItsCause() {
    let causes: [(TLSFailure, FailureCause)] = [
      (.peerRefused(.untrusted), .tlsUntrusted), (.peerRefused(.expired), .tlsExpired),
      (.peerRefused(.wrongName), .tlsWrongName), (.peerRefused(.selfSigned), .tlsSelfSigned),
      (.peerRefused(.pin), .tlsPin), (.notTLS, .tlsNotSpoken), (.peerAlert(48), .tlsAlert(48)),
      (.peerClosed, .tlsFailed), (.other(code: 1), .tlsFailed),
    ]
    for (failure, cause) in causes {
      #expect(FailureCause(handshake: .failed(.tls(failure)), .http1) == cause)
    }
    #expect(FailureCause(handshake: .finished, .http1) == .tlsFailed)
    #expect(FailureCause(handshake: .nothing, .http1) == nil)
    // The alert that no offered protocol is spoken (RFC 7301).
    let refusal = Transport.Arrival.failed(.tls(.peerAlert(120)))
    #expect(FailureCause(handshake: refusal, .http2) == .noHTTP2)
    #expect(FailureCause(handshake: refusal, .auto) == .tlsAlert(120))
    #expect(FailureCause.grpcStatus(12).reason == "grpc-status 12 (unimplemented)")
    #expect(FailureCause.tlsAlert(48).reason == "tls-alert 48 (unknown ca)")
    #expect(FailureCause.tlsAlert(200).reason == "tls-alert 200")
  }
}
