// Datagrams of EpollIO on loopback: batches, joined datagrams, refusals, local addresses.

import Glibc
import Primitives
import Reactor
import Testing

@Suite struct DatagramTests {
  private static let token: UInt64 = 7

  private func listener(_ ip: IPAddress = .loopbackV4) throws -> ListeningSockets {
    try ListeningSockets.bind(on: .ip(ip, port: 0), count: 1, .udp)
  }

  private func connect(_ io: inout EpollIO, to address: SocketAddress) throws -> Socket {
    guard case .started(let socket) = io.connectDatagrams(to: address, token: Self.token) else {
      throw SystemError(code: EIO)
    }
    return socket
  }

  private func batch(_ datagrams: [[UInt8]], segmentByteCount: Int = 0) -> DatagramBatch {
    var batch = DatagramBatch()
    batch.allocate()
    for datagram in datagrams {
      batch.append(Span(), datagram.span, segmentByteCount: segmentByteCount)
    }
    return batch
  }

  private func send(
    _ io: inout EpollIO, _ socket: Socket, _ datagrams: [[UInt8]], segmentByteCount: Int = 0
  ) -> SendResult {
    let batch = batch(datagrams, segmentByteCount: segmentByteCount)
    return io.sendDatagrams(to: socket, batch, 0..<batch.count)
  }

  private func texts(_ batch: borrowing DatagramBatch) -> [[UInt8]] {
    var all: [[UInt8]] = []
    for index in 0..<batch.count {
      let size = batch.segmentByteCount(index)
      let bytes = batch.bytes(index)
      let whole = (0..<bytes.count).map { bytes[$0] }
      if whole.isEmpty { all.append([]) }
      for start in stride(from: 0, to: whole.count, by: size) {
        all.append(Array(whole[start..<min(start + size, whole.count)]))
      }
    }
    return all
  }

  /// Everything that comes, up to `count` datagrams.
  private func receive(_ io: inout EpollIO, _ socket: Socket, _ count: Int) -> [[UInt8]] {
    var all: [[UInt8]] = []
    let end = io.exactNow + .seconds(5)
    while all.count < count && io.exactNow < end {
      var batch = DatagramBatch()
      batch.allocate()
      if case .received = io.receiveDatagrams(from: socket, into: &batch) { all += texts(batch) }
    }
    return all
  }

  @Test func aBatchArrivesInOrderWithItsPeer() throws {
    var io = try EpollIO(wakeUp: WakeUp())
    let sockets = try listener()
    defer { sockets.close() }
    io.watch(listener: sockets.sockets[0], token: 3)
    let client = try connect(&io, to: sockets.address)
    let sent = (0..<20).map { [UInt8](repeating: UInt8($0), count: $0 * 100) }
    #expect(send(&io, client, sent) == .sent(20))
    #expect(io.wait(until: nil) == 1 && io.event(0).token == 3)
    var batch = DatagramBatch()
    batch.allocate()
    guard case .received = io.receiveDatagrams(from: sockets.sockets[0], into: &batch) else {
      Issue.record("nothing came")
      return
    }
    let (received, peer, local) = (texts(batch), batch.peer(0), batch.localAddress(0))
    #expect(received == sent && peer == io.localAddress(of: client) && local == nil)
    let areSame = batch.haveSamePeer(0, 1)
    #expect(areSame)
    // Back to where they came from.
    for index in 0..<batch.count { batch.address(index, to: try #require(peer), from: nil) }
    let result = io.sendDatagrams(to: sockets.sockets[0], batch, 0..<batch.count)
    #expect(result == .sent(20))
    #expect(receive(&io, client, 20) == sent)
    io.close(client, reset: false)
  }

  /// The kernel splits an entry of several datagrams, and joins them again, or does neither.
  @Test(arguments: [true, false])
  func datagramsOfOneLengthAreSplitAgain(joins: Bool) throws {
    var io = try EpollIO(wakeUp: WakeUp())
    let sockets = try listener()
    defer { sockets.close() }
    let client = try connect(&io, to: sockets.address)
    if !joins { setsockopt(sockets.sockets[0].descriptor, 17, 104, [Int32(0)], 4) }
    let sent = (0..<2500).map { UInt8(truncatingIfNeeded: $0) }
    let parts = [Array(sent[..<1000]), Array(sent[1000..<2000]), Array(sent[2000...])]
    #expect(send(&io, client, [sent], segmentByteCount: 1000) == .sent(1))
    #expect(receive(&io, sockets.sockets[0], 3) == parts)
    io.close(client, reset: false)
  }

  /// Larger than the path's MTU, and more of them than the kernel splits: each is sent by itself.
  @Test func whatTheKernelDoesNotSplitIsSentOneByOne() throws {
    var io = try EpollIO(wakeUp: WakeUp())
    let sockets = try listener()
    defer { sockets.close() }
    let client = try connect(&io, to: sockets.address)
    let sent = [UInt8](repeating: 1, count: 2000)
    #expect(send(&io, client, [sent], segmentByteCount: 1) == .sent(1))
    #expect(receive(&io, sockets.sockets[0], 100).count >= 100)
    io.close(client, reset: false)
  }

  @Test func aRefusalIsReportedOnceAndTheSocketCanBeUsed() throws {
    var io = try EpollIO(wakeUp: WakeUp())
    let sockets = try listener()
    let address = sockets.address
    sockets.close()
    let client = try connect(&io, to: address)
    #expect(send(&io, client, [[1]]) == .sent(1))
    #expect(io.wait(until: nil) == 1)
    #expect(io.event(0).token == Self.token && io.event(0).readiness.contains(.failed))
    var room = DatagramBatch()
    room.allocate()
    let first = io.receiveDatagrams(from: client, into: &room)
    let second = io.receiveDatagrams(from: client, into: &room)
    #expect(first == .failed(.connectionRefused) && second == .wouldBlock)
    // The next datagram is the one that is not sent.
    #expect(send(&io, client, [[1]]) == .sent(1))
    #expect(send(&io, client, [[2]]) == .failed(.connectionRefused))
    io.close(client, reset: false)
  }

  @Test func onAllAddressesTheLocalOneIsKnownAndChosen() throws {
    var io = try EpollIO(wakeUp: WakeUp())
    let sockets = try listener(.anyV4)
    defer { sockets.close() }
    let port = try #require(sockets.address.port)
    let host = IPAddress(v4: 0x7F00_0009)
    let client = try connect(&io, to: .ip(host, port: port))
    #expect(send(&io, client, [[1]]) == .sent(1))
    var batch = DatagramBatch()
    batch.allocate()
    while io.receiveDatagrams(from: sockets.sockets[0], into: &batch) == .wouldBlock {}
    let (peer, local) = (batch.peer(0), batch.localAddress(0))
    #expect(local == host)
    batch.address(0, to: try #require(peer), from: host)
    let result = io.sendDatagrams(to: sockets.sockets[0], batch, 0..<1)
    #expect(result == .sent(1))
    // The client's socket takes datagrams of this address only.
    #expect(receive(&io, client, 1) == [[1]])
    io.close(client, reset: false)
  }

  @Test func aPortThatIsTakenCannotBeBound() throws {
    let sockets = try listener()
    defer { sockets.close() }
    #expect(throws: SystemError.addressInUse) {
      _ = try ListeningSockets.bind(on: sockets.address, count: 1, .udp)
    }
    // Beside its own ones it can, while nobody else has the port.
    let more = try ListeningSockets.bind(on: sockets.address, count: 2, .udp, beside: [sockets])
    more.close()
  }

  @Test func tcpHasPortsOfItsOwn() throws {
    // Another process may have the same port for TCP by chance.
    let isPossible = (0..<20).contains { _ in
      guard let sockets = try? listener() else { return false }
      defer { sockets.close() }
      guard let tcp = try? ListeningSockets.open(on: sockets.address, count: 1) else {
        return false
      }
      tcp.close()
      return true
    }
    #expect(isPossible)
  }

  @Test func adoptedSocketsAreKnownAsUDP() throws {
    let sockets = try listener()
    let adopted = try ListeningSockets.adopt(sockets.sockets.map(\.descriptor))
    #expect(adopted.count == 1 && adopted[0].carrier == .udp)
    #expect(adopted[0].address == sockets.address)
    #expect(try adopted[0].extended(to: 4).sockets.count == 1, "the group stays as it is")
    sockets.close()
  }

  @Test func descriptorsTravelWithBytes() throws {
    let (left, right) = try Descriptor.pair()
    let sockets = try listener()
    let bytes = [UInt8](repeating: 5, count: 40_000)
    let reader = try Thread(name: "reader") {
      // The pair's buffer is smaller.
      var byteCount = 0
      var passed: [Int32] = []
      while let (part, descriptors) = try? right.receive(), !part.isEmpty {
        byteCount += part.count
        passed += descriptors
      }
      precondition(byteCount == 40_000 && passed.count == 1)
      let adopted = try? ListeningSockets.adopt(passed)
      precondition(adopted?.first?.address == sockets.address)
      close(passed[0])
    }
    try left.send(bytes, passing: sockets.sockets.map(\.descriptor))
    left.hangUp()
    reader.join()
    sockets.close()
  }
}
