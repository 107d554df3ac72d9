// The simulated network itself: it must behave like the kernel, or the simulation proves nothing.

import Glibc
import Primitives
import Reactor
import Testing

/// An actor without a script, controlled by the test.
private final class Puppet: SimulatedActor {}

private final class PuppetService: SimulatedService {
  let puppet: Puppet
  var end: SimulatedEndpoint?
  var outcome: DialOutcome?

  init(_ puppet: Puppet) { self.puppet = puppet }

  override func dialled(by endpoint: SimulatedEndpoint) -> DialOutcome {
    end = endpoint
    return outcome ?? .accepted(puppet)
  }
}

/// A network with one accepted client connection, registered under token 7.
private struct Fixture {
  static let address = SocketAddress.ip(.loopbackV4, port: 80)
  static let backend = SocketAddress.ip(.loopbackV4, port: 81)

  let network: SimulatedNetwork
  let listener: Socket
  let puppet: Puppet

  init(_ conditions: NetworkConditions = .smooth) {
    network = SimulatedNetwork(seed: 1, conditions: conditions)
    listener = network.listen(on: Self.address)
    puppet = Puppet(network: network)
  }

  func connection() -> (Socket, SimulatedEndpoint)? {
    let client = network.dial(0, by: puppet, from: Self.address)
    while client.phase == .connecting { _ = network.wait(until: network.now + .seconds(1)) }
    guard case .accepted(let socket, _) = network.accept(from: listener) else { return nil }
    network.register(socket, token: 7)
    _ = reports()
    return (socket, client)
  }

  /// Collects reports until there are none for a second: tokens with everything reported about
  /// them.
  func reports() -> [UInt64: Readiness] {
    var reports: [UInt64: Readiness] = [:]
    while true {
      let count = network.wait(until: network.now + .seconds(1))
      if count == 0 { return reports }
      for index in 0..<count {
        let event = network.event(index)
        reports[event.token, default: []].formUnion(event.readiness)
      }
    }
  }

  func receive(_ socket: Socket, room: Int = 1024) -> (result: ReceiveResult, text: String) {
    var buffer = ByteBuffer(capacity: room)
    let result = buffer.fill { network.receive(from: socket, into: &$0) }
    return (result, String(decoding: buffer))
  }

  func send(_ socket: Socket, _ text: String) -> SendResult {
    let bytes = Array(text.utf8)
    return network.send(to: socket, bytes.span, [UInt8]().span)
  }

  func write(_ text: String, from end: SimulatedEndpoint) -> Int {
    let bytes = Array(text.utf8)
    return network.write(bytes.span, from: end)
  }

  func read(_ end: SimulatedEndpoint) -> (read: SimulatedNetwork.ActorRead, text: String) {
    var buffer = ByteBuffer()
    let read = network.read(end, into: &buffer, limit: 1024)
    return (read, String(decoding: buffer))
  }
}

struct SimulatedNetworkTests {
  @Test func aCleanEndArrivesAfterTheBytes() throws {
    let fixture = Fixture()
    let (socket, client) = try #require(fixture.connection())
    #expect(fixture.write("hello", from: client) == 5)
    fixture.network.hangUp(client, reset: false)
    #expect(fixture.receive(socket).result == .wouldBlock)
    #expect(fixture.reports() == [7: [.readable, .peerFinished]])
    #expect(fixture.receive(socket, room: 3).text == "hel")
    #expect(fixture.receive(socket).text == "lo")
    #expect(fixture.receive(socket).result == .finished)
    #expect(fixture.receive(socket).result == .finished)
    fixture.network.close(socket, reset: false)
    #expect(fixture.network.openSocketCount == 0)
    #expect(fixture.network.faults == [])
  }

  @Test func aResetMayDestroyBytesAndIsReportedOnce() throws {
    var seen: Set<String> = []
    let fixture = Fixture()
    for _ in 0..<40 {
      let (socket, client) = try #require(fixture.connection())
      _ = fixture.write("hello", from: client)
      fixture.network.hangUp(client, reset: true)
      let reports = fixture.reports()[7] ?? []
      #expect(reports.isSuperset(of: [.failed, .readable, .peerFinished]))
      let (result, text) = fixture.receive(socket)
      seen.insert(text)
      if text != "" { #expect(fixture.receive(socket).result == .failed(.init(code: ECONNRESET))) }
      if text == "" { #expect(result == .failed(.init(code: ECONNRESET))) }
      // As on Linux, after its report an error looks like a clean end.
      #expect(fixture.receive(socket).result == .finished)
      #expect(fixture.send(socket, "x") == .failed(.init(code: EPIPE)))
      fixture.network.close(socket, reset: false)
    }
    #expect(seen == ["", "hello"])
  }

  @Test func closingWithUnreadBytesIsAReset() throws {
    let fixture = Fixture()
    let (socket, client) = try #require(fixture.connection())
    _ = fixture.write("hello", from: client)
    _ = fixture.reports()
    fixture.network.close(socket, reset: false)
    _ = fixture.reports()
    #expect(client.isBroken)
  }

  @Test func bytesForAClosedSocketAreAnsweredByAReset() throws {
    let fixture = Fixture()
    let (socket, client) = try #require(fixture.connection())
    fixture.network.close(socket, reset: false)
    _ = fixture.reports()
    #expect(fixture.read(client).read == .finished)
    #expect(fixture.write("late", from: client) == 4)
    _ = fixture.reports()
    #expect(client.isBroken)
    #expect(fixture.network.faults == [])
  }

  @Test func halfAConnectionGoesOnAfterTheOtherHalfEnded() throws {
    let fixture = Fixture()
    let (socket, client) = try #require(fixture.connection())
    fixture.network.sendFinish(from: client)
    #expect(fixture.reports() == [7: [.readable, .peerFinished]])
    #expect(fixture.receive(socket).result == .finished)
    #expect(fixture.send(socket, "answer") == .sent(6))
    fixture.network.shutdownSending(socket)
    _ = fixture.reports()
    #expect(fixture.read(client).text == "answer")
    #expect(fixture.read(client).read == .finished)
    fixture.network.close(socket, reset: false)
    #expect(fixture.network.faults == [])
  }

  @Test func anEdgeIsReportedOnce() throws {
    let fixture = Fixture()
    let (socket, client) = try #require(fixture.connection())
    #expect(fixture.reports() == [:])
    _ = fixture.write("one", from: client)
    #expect(fixture.network.wait(until: nil) == 1)
    #expect(fixture.network.event(0).token == 7)
    #expect(fixture.network.event(0).readiness == .readable)
    // Unread bytes alone cause no report.
    #expect(fixture.reports() == [:])
    _ = fixture.write("two", from: client)
    #expect(fixture.reports() == [7: .readable])
    #expect(fixture.receive(socket).text == "onetwo")
    #expect(fixture.receive(socket).result == .wouldBlock)
  }

  @Test func nothingOvertakesOnTheWay() throws {
    var conditions = NetworkConditions.smooth
    conditions.latency = 5...9_000
    let fixture = Fixture(conditions)
    let (socket, client) = try #require(fixture.connection())
    let text = String((0..<200).map { Character(UnicodeScalar(UInt8(0x41 + $0 % 26))) })
    for character in text { _ = fixture.write(String(character), from: client) }
    fixture.network.sendFinish(from: client)
    var arrived = ""
    while true {
      _ = fixture.network.wait(until: fixture.network.now + .seconds(1))
      let (result, part) = fixture.receive(socket)
      arrived += part
      if result == .finished { break }
    }
    #expect(arrived == text)
  }

  @Test func aListenerIsReportedAsLongAsAConnectionIsQueued() throws {
    let fixture = Fixture()
    let client = fixture.network.dial(0, by: fixture.puppet, from: Fixture.address)
    while client.phase == .connecting { _ = fixture.network.wait(until: nil) }
    #expect(fixture.network.wait(until: fixture.network.now) == 0)
    fixture.network.watch(listener: fixture.listener, token: 1)
    for _ in 0..<3 {
      #expect(fixture.network.wait(until: fixture.network.now) == 1)
      #expect(fixture.network.event(0).token == 1)
    }
    fixture.network.unwatch(listener: fixture.listener)
    #expect(fixture.network.wait(until: fixture.network.now) == 0)
    fixture.network.watch(listener: fixture.listener, token: 2)
    #expect(fixture.network.wait(until: fixture.network.now) == 1)
    guard case .accepted = fixture.network.accept(from: fixture.listener) else {
      throw Failure()
    }
    guard case .wouldBlock = fixture.network.accept(from: fixture.listener) else {
      throw Failure()
    }
  }

  @Test func aFullSocketTakesAPartAndReportsRoomLater() throws {
    let fixture = Fixture()
    let (socket, client) = try #require(fixture.connection())
    let text = String(repeating: "x", count: 100_000)
    #expect(fixture.send(socket, text) == .sent(65_536))
    #expect(fixture.send(socket, text) == .wouldBlock)
    #expect(fixture.reports() == [:])
    #expect(fixture.read(client).read == .bytes(1024))
    // A little room causes no report.
    #expect(fixture.reports() == [:])
    for _ in 0..<30 { _ = fixture.read(client) }
    #expect(fixture.reports() == [7: .writable])
    #expect(fixture.reports() == [:])
  }

  @Test func partialCountsAreFollowedByAReport() throws {
    var conditions = NetworkConditions.smooth
    conditions.partialCounts = 255
    let fixture = Fixture(conditions)
    let (socket, client) = try #require(fixture.connection())
    var sent = 0
    for _ in 0..<10 {
      guard case .sent(let count) = fixture.send(socket, "0123456789") else { throw Failure() }
      sent += count
      if count < 10 { #expect(fixture.reports()[7]?.contains(.writable) == true) }
    }
    #expect(sent < 100)
    _ = fixture.write("0123456789", from: client)
    var text = ""
    while text.utf8.count < 10 {
      #expect(fixture.reports()[7]?.contains(.readable) == true)
      text += fixture.receive(socket).text
    }
    #expect(text == "0123456789")
  }

  @Test func timeMovesOnlyInAWaitAndInOrder() throws {
    let fixture = Fixture()
    let start = fixture.network.now
    #expect(fixture.network.wait(until: start + .seconds(5)) == 0)
    #expect(fixture.network.now == start + .seconds(5))
    #expect(fixture.network.wait(until: start) == 0)
    #expect(fixture.network.now == start + .seconds(5))
    var queue = EventQueue()
    var random = RandomGenerator(seed: 5)
    for _ in 0..<200 {
      let time = Instant(nanoseconds: random.next() % 50)
      queue.schedule(.act(0), at: time, tie: random.next())
    }
    var last = Instant.origin
    while let (time, _) = queue.next(at: .never) {
      #expect(time >= last)
      last = time
    }
    #expect(queue.count == 0)
  }

  @Test func connectsAreAcceptedRefusedOrUnanswered() throws {
    let fixture = Fixture()
    let network = fixture.network
    let service = PuppetService(fixture.puppet)
    network.services[Fixture.backend] = service
    func dial() throws -> Socket {
      guard case .started(let socket) = network.connect(to: Fixture.backend, token: 9) else {
        throw Failure()
      }
      #expect(fixture.send(socket, "early") == .wouldBlock)
      return socket
    }
    let accepted = try dial()
    #expect(fixture.reports() == [9: .writable])
    #expect(network.connectionResult(of: accepted) == nil)
    network.close(accepted, reset: false)

    service.outcome = .refused
    let refused = try dial()
    #expect(fixture.reports()[9]?.contains(.failed) == true)
    #expect(network.connectionResult(of: refused) == SystemError(code: ECONNREFUSED))
    network.close(refused, reset: false)

    service.outcome = .swallowed
    let swallowed = try dial()
    #expect(fixture.reports() == [:])
    network.close(swallowed, reset: false)
    #expect(network.openSocketCount == 0)
    #expect(network.faults == [])
  }

  @Test func anIdleConnectionIsQuietUntilSomethingArrives() throws {
    let fixture = Fixture()
    let (first, client) = try #require(fixture.connection())
    #expect(fixture.network.isQuiet(first))
    _ = fixture.write("x", from: client)
    #expect(fixture.network.isQuiet(first))
    _ = fixture.reports()
    #expect(!fixture.network.isQuiet(first))
    let (second, other) = try #require(fixture.connection())
    fixture.network.sendFinish(from: other)
    _ = fixture.reports()
    #expect(!fixture.network.isQuiet(second))
  }

  @Test func registeringAgainReportsWhatIsThereUnderTheNewToken() throws {
    let fixture = Fixture()
    let (socket, client) = try #require(fixture.connection())
    _ = fixture.write("x", from: client)
    #expect(fixture.reports() == [7: .readable])
    fixture.network.reregister(socket, token: 8)
    #expect(fixture.reports() == [8: [.readable, .writable]])
  }

  @Test func aClosedSocketIsKnownForEver() throws {
    let fixture = Fixture()
    let (socket, _) = try #require(fixture.connection())
    fixture.network.close(socket, reset: false)
    #expect(fixture.receive(socket).result == .failed(SystemError(code: EBADF)))
    fixture.network.close(socket, reset: false)
    #expect(fixture.network.faults.count == 2)
    #expect(fixture.network.openSocketCount == 0)
  }

  @Test func exhaustionLeavesTheConnectionWaiting() throws {
    var conditions = NetworkConditions.smooth
    conditions.exhaustion = 4096
    let fixture = Fixture(conditions)
    let client = fixture.network.dial(0, by: fixture.puppet, from: Fixture.address)
    while client.phase == .connecting { _ = fixture.network.wait(until: nil) }
    fixture.network.watch(listener: fixture.listener, token: 1)
    guard case .exhausted = fixture.network.accept(from: fixture.listener) else { throw Failure() }
    #expect(fixture.network.wait(until: fixture.network.now) == 1)
  }

  private struct Failure: Error {}
}
