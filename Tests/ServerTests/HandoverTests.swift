// The state for a new process is read as it was written. Parts that a reader doesn't understand are
// ignored or refused.

import Balancing
import Primitives
import Testing

@testable import Server

@Suite struct HandoverTests {
  private func full() -> Handover {
    var handover = Handover()
    handover.sockets = [("127.0.0.1:443", [5, 6]), ("[::]:0 web", [7])]
    handover.ticketRings = [
      TicketRings.State(
        listener: "127.0.0.1:443", keys: [[UInt8](0..<80), [UInt8](repeating: 255, count: 80)],
        rotatesAt: Instant(nanoseconds: 12)),
      TicketRings.State(
        listener: "b", keys: [[UInt8](repeating: 1, count: 80)], rotatesAt: .never),
    ]
    handover.cookieKey = [0, 1, 255]
    handover.backends = [
      BackendState(identity: BackendIdentity(pool: "a", address: "10.0.0.1:80")),
      BackendState(
        identity: BackendIdentity(pool: "b", address: "unix:/run/a b"), isDown: true,
        ejections: 3, ejectedUntil: Instant(nanoseconds: 5_000_000),
        changedAt: Instant(nanoseconds: 7), admin: .draining, weight: 256),
    ]
    return handover
  }

  @Test func `everything is read as it was written`() throws {
    let read = try #require(Handover(full().bytes))
    #expect(read.sockets.map(\.place) == ["127.0.0.1:443", "[::]:0 web"])
    #expect(read.sockets.map(\.descriptors) == [[5, 6], [7]])
    #expect(read.ticketRings == full().ticketRings)
    #expect(read.cookieKey == full().cookieKey)
    #expect(read.backends == full().backends)
  }

  @Test func `kinds and fields of a later version are ignored`() throws {
    let text = String(decoding: full().bytes, as: UTF8.self)
    let later = text.split(separator: "\n").map { $0.hasPrefix("backend") ? $0 + "\tx" : $0 }
      .joined(separator: "\n")
    #expect(Handover(Array((later + "\nplan\t9\n\n").utf8)) == full())
  }

  @Test(arguments: ["", "\n", "martlet-handover\t2\n", "martlet-handover\n", "sockets\ta\t1\n"])
  func `a handover of another version, or invalid bytes, are refused`(_ text: String) {
    #expect(Handover(Array(text.utf8)) == nil)
  }

  @Test func `the reader doesn't fail at any truncation`() {
    let bytes = full().bytes
    for end in bytes.indices { _ = Handover(Array(bytes[..<end])) }
  }

  @Test func `an address with a separator in it is left out, and nothing else`() throws {
    var handover = full()
    handover.backends[0].identity = BackendIdentity(pool: "a", address: "unix:/run/a\tb")
    let read = try #require(Handover(handover.bytes))
    #expect(read.backends == [full().backends[1]])
  }
}
