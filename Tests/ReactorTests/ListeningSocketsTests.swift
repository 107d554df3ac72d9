// Groups of listening sockets: shared by workers, and refused to a second instance.

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
    // A hash selects the socket of a connection; all 64 miss one socket with probability 2^-63.
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

  @Test func theKernelProbesIdleConnectionsAsConfigured() throws {
    func options(_ socket: Socket) -> [Int32] {
      [(SOL_SOCKET, SO_KEEPALIVE)].map { option(socket, $0, $1) }
        + [TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT].map {
          option(socket, Int32(IPPROTO_TCP), $0)
        }
    }
    var io = try EpollIO(wakeUp: WakeUp())
    let group = try ListeningSockets.open(on: loopback, count: 1)
    defer { closeAll(group) }
    group.setKeepAlive(TCPKeepAlive(idle: .milliseconds(1001), interval: .seconds(7), count: 3))
    io.watch(listener: group.sockets[0], token: 1)
    guard case .started(let client) = io.connect(to: group.address, token: 100) else { return }
    let limit = SystemClock.monotonic() + .seconds(5)
    _ = io.wait(until: limit)
    guard case .accepted(let server, _) = io.accept(from: group.sockets[0]) else {
      Issue.record("nothing to accept")
      return
    }
    // Inherited, and rounded up.
    #expect(options(server) == [1, 2, 7, 3])
    #expect(options(client)[0] == 0)
    io.keepAlive(client, TCPKeepAlive(idle: .seconds(60), interval: .seconds(15), count: 4))
    #expect(options(client) == [1, 60, 15, 4])
    group.setKeepAlive(nil)
    #expect(options(group.sockets[0])[0] == 0)
    io.close(client, reset: false)
    io.close(server, reset: false)
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

  @Test func whatIsOnlyBoundTakesNoConnections() throws {
    let group = try ListeningSockets.bind(on: loopback, count: 2)
    defer { closeAll(group) }
    for socket in group.sockets { #expect(option(socket, SOL_SOCKET, SO_ACCEPTCONN) == 0) }
    try group.listen(backlog: 8)
    for socket in group.sockets { #expect(option(socket, SOL_SOCKET, SO_ACCEPTCONN) == 1) }
  }

  @Test(arguments: [
    (IPAddress.loopbackV4, IPAddress.anyV4, IPAddress(v4: 0x7F00_0002)),
    (IPAddress(high: 0, low: 1), IPAddress.anyV6, nil),
  ] as [(IPAddress, IPAddress, IPAddress?)])
  func theOwnSocketsSharePortsThatForeignOnesDoNot(
    one: IPAddress, all: IPAddress, other: IPAddress?
  ) throws {
    let own = try ListeningSockets.open(on: .ip(one, port: 0), count: 2)
    defer { closeAll(own) }
    guard case .ip(_, let port) = own.address else { return }
    #expect(throws: SystemError.addressInUse) {
      try ListeningSockets.bind(on: .ip(all, port: port), count: 1)
    }
    closeAll(try ListeningSockets.bind(on: .ip(all, port: port), count: 2, beside: [own]))
    // Another process has opened this one and would share it.
    let place = SocketAddress.ip(other ?? one, port: port)
    let foreign = try ListeningSockets.bind(on: place, count: 1, beside: [own])
    defer { closeAll(foreign) }
    // It only listens from here on.
    try foreign.listen(backlog: 8)
    #expect(throws: SystemError.addressInUse) {
      try ListeningSockets.bind(on: .ip(all, port: port), count: 1, beside: [own])
    }
    closeAll(try ListeningSockets.bind(on: .ip(all, port: port), count: 1, beside: [own, foreign]))
  }

  @Test func theSamePortCanBeListenedOnAgainWhileOldConnectionsLinger() throws {
    var net: Loopback? = try Loopback()
    let (client, server) = try #require(try net?.pair())
    // The side that closes first stays in TIME_WAIT, with the listener's port.
    net?.io.close(server, reset: false)
    #expect(net?.next(2).contains(.peerFinished) == true)
    net?.io.close(client, reset: false)
    let address = try #require(net?.address)
    net = nil
    let again = try ListeningSockets.open(on: address, count: 1)
    #expect(again.address == address)
    closeAll(again)
  }

  @Test func aClientThatReadsNothingCostsTheKernelLittle() throws {
    let net = try Loopback()
    let (client, server) = try net.pair()
    let block = [UInt8](repeating: 1, count: 64 * 1024)
    var taken = 0
    sending: while taken < 64 << 20 {
      switch net.io.send(to: server, block.span, Span()) {
      case .sent(let count): taken += count
      case .wouldBlock: break sending
      case .failed(let error): throw error
      }
    }
    // The client's window, and the limited buffer after it; megabytes without a limit.
    #expect(taken > 64 * 1024 && taken < 1 << 20)
    // Much of it doesn't fit at the client, and is known to be unacknowledged.
    let waiting = net.io.unacknowledgedByteCount(of: server)
    #expect(waiting > 32 * 1024 && waiting <= taken)
    net.io.close(client, reset: true)
    net.io.close(server, reset: true)
  }

  @Test func anAddressOfAnotherMachineFailsAndLeavesNothingOpen() throws {
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

  // MARK: Inherited

  @Test func socketsThatWereGivenAreFoundAgainByTheirAddress() throws {
    let one = try ListeningSockets.open(on: loopback, count: 2)
    let other = try ListeningSockets.open(on: loopback, count: 1)
    defer {
      closeAll(one)
      closeAll(other)
    }
    let given = [one.sockets[0], other.sockets[0], one.sockets[1]].map(\.descriptor)
    for descriptor in given { _ = fcntl(descriptor, F_SETFD, 0) }
    let adopted = try ListeningSockets.adopt(given)
    #expect(adopted.map(\.address) == [one.address, other.address])
    #expect(adopted.map(\.sockets) == [one.sockets, other.sockets])
    for descriptor in given {
      #expect(fcntl(descriptor, F_GETFD) == FD_CLOEXEC)
      #expect(fcntl(descriptor, F_GETFL) & O_NONBLOCK != 0)
    }
  }

  @Test func whatIsNoListeningSocketIsRefused() throws {
    let connection = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    let file = open("/dev/null", O_RDONLY)
    defer {
      close(connection)
      close(file)
    }
    #expect(throws: SystemError(code: EINVAL)) { try ListeningSockets.adopt([connection]) }
    #expect(throws: SystemError(code: ENOTSOCK)) { try ListeningSockets.adopt([file]) }
    #expect(throws: SystemError(code: EBADF)) { try ListeningSockets.adopt([1_000_000]) }
  }

  @Test func aGroupGetsFurtherMembersAndIsNeverMadeSmaller() throws {
    let group = try ListeningSockets.open(on: loopback, count: 1)
    let larger = try group.extended(to: 3)
    defer { closeAll(larger) }
    #expect(larger.address == group.address)
    #expect(larger.sockets.first == group.sockets.first)
    #expect(Set(larger.sockets).count == 3)
    // Each has a separate queue, which is a separate inode in the kernel.
    #expect(Set(larger.sockets.map(inode)).count == 3)
    #expect(try larger.extended(to: 2).sockets == larger.sockets)
    #expect(larger.share(ofWorker: 0, of: 2) == [larger.sockets[0], larger.sockets[2]])
    #expect(larger.share(ofWorker: 1, of: 2) == [larger.sockets[1]])
    #expect(larger.share(ofWorker: 3, of: 4) == [])
  }

  @Test func aSocketWithoutAGroupIsShared() throws {
    let single = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    #expect(listen(single, 8) == 0)
    let group = try #require(try ListeningSockets.adopt([single]).first)
    let shared = try group.extended(to: 2)
    defer { closeAll(shared) }
    #expect(Set(shared.sockets).count == 2)
    #expect(Set(shared.sockets.map(inode)).count == 1)
  }

  private func inode(_ socket: Socket) -> UInt {
    var status = stat()
    #expect(fstat(socket.descriptor, &status) == 0)
    return UInt(status.st_ino)
  }
}
