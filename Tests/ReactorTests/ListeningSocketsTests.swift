// Groups of listening sockets: shared among workers, refused to a second instance.

import Glibc
import Primitives
import Reactor
import Testing

@Suite struct ListeningSocketsTests {
  private func closeAll(_ group: ListeningSockets) {
    for socket in group.sockets { close(socket.descriptor) }
  }

  @Test func allSocketsOfAGroupShareThePortThatTheKernelChose() throws {
    let group = try ListeningSockets.open(on: loopback, count: 3)
    defer { closeAll(group) }
    guard case .ip(.loopbackV4, let port) = group.address else {
      Issue.record("\(group.address)")
      return
    }
    #expect(port != 0)
    #expect(group.sockets.count == 3)
    for socket in group.sockets {
      var address = sockaddr_in()
      var length = socklen_t(MemoryLayout<sockaddr_in>.size)
      withUnsafeMutableBytes(of: &address) { bytes in
        let pointer = bytes.baseAddress!.assumingMemoryBound(to: sockaddr.self)
        #expect(getsockname(socket.descriptor, pointer, &length) == 0)
      }
      #expect(UInt16(bigEndian: address.sin_port) == port)
      #expect(option(socket, SOL_SOCKET, SO_ACCEPTCONN) == 1)
    }
  }

  @Test func everySocketOfAGroupGetsItsShareOfTheConnections() throws {
    var io = try EpollIO(wakeUp: WakeUp())
    let group = try ListeningSockets.open(on: loopback, count: 2)
    defer { closeAll(group) }
    for (index, socket) in group.sockets.enumerated() {
      io.watch(listener: socket, token: UInt64(index))
    }
    var accepted = [0, 0]
    var clients: [Socket] = []
    // Which socket a connection lands on is a hash; 64 of them miss one with 2^-63.
    for _ in 0..<64 {
      guard case .started(let client) = io.connect(to: group.address, token: 100) else { continue }
      clients.append(client)
    }
    let limit = SystemClock.monotonic() + .seconds(5)
    while accepted[0] + accepted[1] < clients.count, SystemClock.monotonic() < limit {
      for index in 0..<io.wait(until: limit) where io.event(index).token < 2 {
        let token = Int(io.event(index).token)
        while case .accepted(let server, _) = io.accept(from: group.sockets[token]) {
          accepted[token] += 1
          io.close(server, reset: true)
        }
      }
    }
    for client in clients { io.close(client, reset: false) }
    #expect(accepted[0] > 0 && accepted[1] > 0)
    #expect(accepted[0] + accepted[1] == 64)
  }

  @Test func aSecondGroupOnTheSameAddressFailsByName() throws {
    let group = try ListeningSockets.open(on: loopback, count: 2)
    #expect(throws: SystemError.addressInUse) {
      try ListeningSockets.open(on: group.address, count: 2)
    }
    closeAll(group)
    let again = try ListeningSockets.open(on: group.address, count: 1)
    #expect(again.address == group.address)
    closeAll(again)
  }

  @Test func theSamePortCanBeListenedOnAgainWhileOldConnectionsLinger() throws {
    var net: Loopback? = try Loopback()
    let (client, server) = try #require(try net?.pair())
    // The side that ends first stays in TIME_WAIT, with the listener's port.
    net?.io.close(server, reset: false)
    #expect(net?.next(2).contains(.peerFinished) == true)
    net?.io.close(client, reset: false)
    let address = try #require(net?.address)
    net = nil
    let again = try ListeningSockets.open(on: address, count: 1)
    #expect(again.address == address)
    closeAll(again)
  }

  @Test func anAddressOfAnotherMachineFailsByNameAndLeavesNothingOpen() throws {
    // RFC 5737: an address for documentation, which no machine has.
    let foreign = SocketAddress.ip(try #require(IPAddress("192.0.2.1")), port: 0)
    #expect(throws: SystemError.addressNotAvailable) {
      try ListeningSockets.open(on: foreign, count: 1)
    }
  }

  @Test func listeningOnIPv6AnyLeavesIPv4ToAnother() throws {
    let v6 = try ListeningSockets.open(on: .ip(.anyV6, port: 0), count: 1)
    defer { closeAll(v6) }
    guard case .ip(_, let port) = v6.address else { return }
    let v4 = try ListeningSockets.open(on: .ip(.anyV4, port: port), count: 1)
    defer { closeAll(v4) }
    #expect(v4.address == .ip(.anyV4, port: port))
  }
}
