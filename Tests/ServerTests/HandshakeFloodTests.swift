// A flood of TLS handshakes and one established connection: the order in which they are served.
//
// The worker runs on an I/O of arrays, so the test can see which sockets were read in an iteration.

import Foundation
import HTTP1
import Primitives
import Proxy
import Reactor
import TLS
import Testing

@testable import Server

/// What a `FloodIO` must report and what it has recorded; shared with the test.
private final class Flood {
  var waiting: [Int32: [Int32]] = [:]
  var incoming: [Int32: [UInt8]] = [:]
  var events: [ReadinessEvent] = []
  var tokens: [Int32: UInt64] = [:]
  /// The sockets that were read in this iteration, and those that were written.
  var reads: [Int32] = []
  var sends: [Int32] = []
  var closed: Set<Int32> = []
  /// Whether the last wait was only a poll, because work was left.
  var polled = false

  /// Reports each of these sockets as readable.
  func report(_ sockets: [Int32]) {
    events = sockets.compactMap { socket in
      tokens[socket].map { ReadinessEvent(token: $0, readiness: .readable) }
    }
    reads = []
    sends = []
  }
}

private struct FloodIO: QuietIO {
  let flood: Flood
  let now = Instant.origin + .seconds(1)

  mutating func wait(until deadline: Instant?) -> Int {
    flood.polled = deadline == .origin
    return flood.events.count
  }
  func event(_ index: Int) -> ReadinessEvent { flood.events[index] }
  mutating func watch(listener: Socket, token: UInt64) { flood.tokens[listener.descriptor] = token }
  mutating func accept(from listener: Socket) -> AcceptResult {
    guard let next = flood.waiting[listener.descriptor]?.popLast() else { return .wouldBlock }
    return .accepted(Socket(descriptor: next), peer: .ip(.loopbackV4, port: 1))
  }
  mutating func register(_ socket: Socket, token: UInt64) {
    flood.tokens[socket.descriptor] = token
  }
  mutating func receive(
    from socket: Socket, into output: inout OutputSpan<UInt8>
  ) -> ReceiveResult {
    flood.reads.append(socket.descriptor)
    guard let bytes = flood.incoming.removeValue(forKey: socket.descriptor) else {
      return .wouldBlock
    }
    for byte in bytes { output.append(byte) }
    return .received(bytes.count)
  }
  mutating func send(to socket: Socket, _ first: Span<UInt8>, _ second: Span<UInt8>) -> SendResult {
    flood.sends.append(socket.descriptor)
    return .sent(first.count + second.count)
  }
  mutating func close(_ socket: Socket, reset: Bool) { flood.closed.insert(socket.descriptor) }
}

@Suite struct HandshakeFloodTests {
  private static let plainListener = Socket(descriptor: 3)
  private static let tlsListener = Socket(descriptor: 4)

  private func worker(_ flood: Flood) throws -> Worker<FloodIO> {
    let certs = (#filePath as NSString).deletingLastPathComponent + "/../../certs"
    let certificate = try Certificate(
      chainPath: certs + "/server.crt", keyPath: certs + "/server.key")
    let context = try TLSContext(
      certificates: [certificate], policy: TLSPolicy(), ticketKeys: try TicketKeys(),
      listenerName: "tls")
    let answer = LocalAnswer(status: 200, body: Array("hello".utf8))
    let route = RouteSettings(.respond(answer, draining: answer))
    func listener(_ contexts: [TLSContext]) -> ListenerSettings {
      ListenerSettings(
        name: [], contexts: contexts,
        rules: RouteRules(table: RouteTable([RouteMatch()]), routes: [route]))
    }
    let snapshot = Snapshot(
      settings: Settings(), listeners: [listener([]), listener([context])], pools: [])
    return try loneWorker(
      on: FloodIO(flood: flood), snapshot, listeners: [Self.plainListener, Self.tlsListener])
  }

  @Test func aTurnTakesSomeHandshakesAndAllEstablishedConnections() throws {
    let flood = Flood()
    var worker = try worker(flood)
    let established: Int32 = 1000
    let shaking = Array(2000..<2050 as Range<Int32>)
    flood.waiting = [3: [established], 4: shaking]
    flood.report([3, 4])
    worker.turn()
    #expect(flood.tokens[established] != nil && shaking.allSatisfy { flood.tokens[$0] != nil })

    // The handshakes are first in the list of ready sockets.
    for socket in shaking { flood.incoming[socket] = [22, 3, 1, 0, 200, 1] }
    flood.incoming[established] = Array("GET / HTTP/1.1\r\nHost: a\r\n\r\n".utf8)
    flood.report(shaking + [established])
    worker.turn()
    let share = HandshakeQueue.stepsPerTurn
    #expect(Set(flood.reads.filter { $0 >= 2000 }).count == share)
    // The request was read before the first handshake, and answered in the same iteration.
    #expect(flood.reads.first == established)
    #expect(flood.sends == [established])

    // The others follow without another report, some in each iteration.
    var turns = 1
    var seen = Set(flood.reads)
    flood.report([])
    while seen.count < shaking.count + 1 && turns < 10 {
      worker.turn()
      #expect(flood.polled)
      #expect(Set(flood.reads).subtracting(seen).count <= share)
      seen.formUnion(flood.reads)
      flood.reads = []
      turns += 1
    }
    #expect(turns == (shaking.count + share - 1) / share)
    worker.turn()
    #expect(!flood.polled)
  }

  @Test func beyondTheLimitTheOldestHandshakeGoes() throws {
    let flood = Flood()
    var worker = try worker(flood)
    worker.settings.handshakeMax = 10
    flood.waiting = [4: Array((2000..<2013 as Range<Int32>).reversed())]
    flood.report([4])
    worker.turn()
    #expect(flood.closed == [2000, 2001, 2002])
    let count = worker.handshakes.count
    #expect(count == 10)
  }

  @Test func underOverloadThereAreFewerAndTheyHaveLessTime() throws {
    let flood = Flood()
    var worker = try worker(flood)
    worker.settings.handshakeMax = 20
    worker.settings.handshakeTimeout = .seconds(100)
    flood.waiting = [4: Array((2000..<2020 as Range<Int32>).reversed())]
    flood.report([4])
    worker.turn()
    let now = worker.now
    var found = deadlines(of: &worker)
    #expect(found == [now + .seconds(100)] && flood.closed.isEmpty)

    worker.handle(.overload(.endingConnections))
    found = deadlines(of: &worker)
    #expect(found == [now + .seconds(3)])
    // Each new handshake replaces two, down to a quarter.
    flood.waiting = [4: Array((3000..<3020 as Range<Int32>).reversed())]
    flood.report([4])
    worker.turn()
    let count = worker.handshakes.count
    #expect(count == 5 && flood.closed.count == 35)
    found = deadlines(of: &worker)
    #expect(found == [now + .seconds(3)])
  }

  private func deadlines(of worker: inout Worker<FloodIO>) -> [Instant] {
    var found: [Instant] = []
    for slot in 0..<worker.connections.slotCount {
      guard let handle = worker.connections.handle(at: slot) else { continue }
      let deadline = worker.connections[handle].deadline.instant
      if !found.contains(deadline) { found.append(deadline) }
    }
    return found
  }
}
