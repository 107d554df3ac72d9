// EpollIO on the kernel, with real sockets on loopback.

import Glibc
import Primitives
import Reactor
import Testing

@Suite struct EpollIOTests {
  // MARK: Accepting

  @Test func anAcceptedConnectionNamesItsPeerAndIsReadyForUse() throws {
    let net = try Loopback()
    guard case .started(let client) = net.io.connect(to: net.address, token: 2) else {
      Issue.record("the dial didn't start")
      return
    }
    #expect(net.next(Loopback.listenerToken) == .readable)
    guard case .accepted(let server, let peer) = net.io.accept(from: net.listener) else {
      Issue.record("nothing was accepted")
      return
    }
    #expect(peer.ip == .loopbackV4)
    #expect(fcntl(server.descriptor, F_GETFL) & O_NONBLOCK != 0)
    #expect(fcntl(server.descriptor, F_GETFD) & FD_CLOEXEC != 0)
    #expect(option(server, Int32(IPPROTO_TCP), TCP_NODELAY) == 1)
    #expect(option(client, Int32(IPPROTO_TCP), TCP_NODELAY) == 1)
    guard case .wouldBlock = net.io.accept(from: net.listener) else {
      Issue.record("accepted one connection twice")
      return
    }
    net.io.close(client, reset: false)
    net.io.close(server, reset: false)
  }

  @Test func aListenerIsReportedAsLongAsAConnectionWaitsAndNotWhileUnwatched() throws {
    let net = try Loopback()
    guard case .started(let client) = net.io.connect(to: net.address, token: 2) else {
      Issue.record("the dial didn't start")
      return
    }
    #expect(net.next(Loopback.listenerToken) == .readable)
    #expect(net.reportCount(Loopback.listenerToken) == 1)
    net.io.unwatch(listener: net.listener)
    #expect(net.wait(until: net.now) == 0)
    // As a listener does that is closed while it is not reported.
    net.io.unwatch(listener: net.listener)
    net.io.watch(listener: net.listener, token: 9)
    #expect(net.reportCount(9) == 1)
    net.io.close(client, reset: false)
  }

  @Test func acceptingWithoutADescriptorLeftIsExhaustionAndTheConnectionStillWaits() async {
    await #expect(processExitsWith: .success) {
      let net = try Loopback()
      guard case .started = net.io.connect(to: net.address, token: 2) else { exit(2) }
      _ = net.next(Loopback.listenerToken)
      var limit = rlimit()
      getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
      let before = limit
      // The kernel uses the lowest free descriptor: with this limit there is no other.
      let next = dup(0)
      close(next)
      limit.rlim_cur = rlim_t(next)
      setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
      guard case .exhausted = net.io.accept(from: net.listener) else { exit(3) }
      guard case .failed(.tooManyFiles) = net.io.connect(to: net.address, token: 4) else { exit(4) }
      var raised = before
      setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &raised)
      guard case .accepted = net.io.accept(from: net.listener) else { exit(5) }
      exit(0)
    }
  }

  // MARK: Dialling

  @Test func aDialReportsWritableAndThenItsResultIsSuccess() throws {
    let net = try Loopback()
    guard case .started(let client) = net.io.connect(to: net.address, token: 2) else {
      Issue.record("the dial didn't start")
      return
    }
    #expect(net.next(2) == .writable)
    #expect(net.connectionResult(of: client) == nil)
    net.io.close(client, reset: false)
  }

  @Test func aRefusedDialIsReportedAsFailedByName() throws {
    let net = try Loopback()
    // A bound port, so that no other process can use it, without a listener.
    let blocker = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(blocker) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    withUnsafeMutableBytes(of: &address) { bytes in
      let pointer = bytes.baseAddress!.assumingMemoryBound(to: sockaddr.self)
      #expect(bind(blocker, pointer, length) == 0)
      #expect(getsockname(blocker, pointer, &length) == 0)
    }
    let target = SocketAddress.ip(.loopbackV4, port: UInt16(bigEndian: address.sin_port))
    switch net.io.connect(to: target, token: 7) {
    case .failed(let error): #expect(error == .connectionRefused)
    case .started(let socket):
      #expect(net.next(7).contains(.failed))
      #expect(net.connectionResult(of: socket) == .connectionRefused)
      net.io.close(socket, reset: false)
    }
  }

  @Test func aUnixSocketIsDialledByPathAndAMissingOneFailsByName() throws {
    let net = try Loopback()
    let path = "/tmp/martlet-\(getpid())-\(UInt32.random(in: 0 ... .max)).sock"
    guard case .failed(.noSuchFile) = net.io.connect(to: .unix(path), token: 7) else {
      Issue.record("dialled a socket that isn't there")
      return
    }
    let listener = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    defer {
      close(listener)
      unlink(path)
    }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    withUnsafeBytes(of: &address) { bytes in
      let pointer = bytes.baseAddress!.assumingMemoryBound(to: sockaddr.self)
      #expect(bind(listener, pointer, socklen_t(bytes.count)) == 0)
    }
    #expect(listen(listener, 0) == 0)
    guard case .started(let client) = net.io.connect(to: .unix(path), token: 7) else {
      Issue.record("the dial failed")
      return
    }
    #expect(net.next(7).contains(.writable))
    #expect(net.connectionResult(of: client) == nil)
    #expect(net.send("hello", to: client) == .sent(5))

    // The queue of a Unix listener with a backlog of 0 holds one connection; a second one can't
    // wait.
    guard case .failed(let error) = net.io.connect(to: .unix(path), token: 8) else {
      Issue.record("dialled into a full queue")
      return
    }
    #expect(error.name == "EAGAIN")
    net.io.close(client, reset: false)
  }

  @Test(arguments: [
    ("", "EINVAL"), ("a\0b", "EINVAL"), (String(repeating: "p", count: 108), "ENAMETOOLONG"),
  ])
  func aUnixPathThatCannotBeASocketFailsByName(path: String, name: String) throws {
    let net = try Loopback()
    guard case .failed(let error) = net.io.connect(to: .unix(path), token: 7) else {
      Issue.record("dialled")
      return
    }
    #expect(error.name == name)
  }

  // MARK: Bytes

  @Test func bothSpansArriveInOrderInOneSend() throws {
    let net = try Loopback()
    let (client, server) = try net.pair()
    let first = Array("head".utf8)
    let second = Array("body".utf8)
    #expect(net.send(first, second, to: client) == .sent(8))
    #expect(net.send([], second, to: client) == .sent(4))
    #expect(net.next(3).contains(.readable))
    var text = ""
    while text.utf8.count < 12, case (.received, let more) = net.receive(from: server) {
      text += more
    }
    #expect(text == "headbodybody")
    net.io.close(client, reset: false)
    net.io.close(server, reset: false)
  }

  @Test func receivingStopsAtTheRoomThatThereIsAndGoesOn() throws {
    let net = try Loopback()
    let (client, server) = try net.pair()
    #expect(net.send("abcdef", to: client) == .sent(6))
    #expect(net.next(3).contains(.readable))
    #expect(net.receive(from: server, atMost: 4) == (.received(4), "abcd"))
    #expect(net.receive(from: server) == (.received(2), "ef"))
    #expect(net.receive(from: server).0 == .wouldBlock)
    net.io.close(client, reset: false)
    net.io.close(server, reset: false)
  }

  @Test func aFullSocketTakesPartAndReportsWritableOnceThePeerHasRead() throws {
    let net = try Loopback()
    let (client, server) = try net.pair()
    let block = [UInt8](repeating: 0x78, count: 1 << 20)
    var taken = 0
    var wasShort = false
    filling: while true {
      switch net.io.send(to: client, block.span, block.span) {
      case .sent(let count):
        taken += count
        if count < 2 << 20 { wasShort = true }
      case .wouldBlock: break filling
      case .failed(let error):
        Issue.record("\(error)")
        break filling
      }
    }
    #expect(wasShort)
    #expect(net.reportCount(Loopback.clientToken) <= 1)
    #expect(net.reportCount(Loopback.clientToken) == 0)

    var received = 0
    var sawWritable = false
    while received < taken {
      switch net.receive(from: server, atMost: 1 << 20).0 {
      case .received(let count): received += count
      case .wouldBlock:
        let count = net.io.wait(until: net.now + .seconds(5))
        if count == 0 { break }
        for index in 0..<count where net.io.event(index).token == Loopback.clientToken {
          if net.io.event(index).readiness.contains(.writable) { sawWritable = true }
        }
      default: Issue.record("the connection broke")
      }
    }
    #expect(received == taken)
    #expect(sawWritable || net.next(Loopback.clientToken).contains(.writable))
    net.io.close(client, reset: false)
    net.io.close(server, reset: false)
  }

  // MARK: Readiness

  @Test func aConnectionIsReportedOncePerChangeAndNotAgain() throws {
    let net = try Loopback()
    let (client, server) = try net.pair()
    #expect(net.send("one", to: client) == .sent(3))
    #expect(net.next(3) == [.readable, .writable])
    #expect(net.reportCount(3) == 0)
    #expect(net.send("two", to: client) == .sent(3))
    #expect(net.next(3) == [.readable, .writable])
    #expect(net.receive(from: server).1 == "onetwo")
    net.io.close(client, reset: false)
    net.io.close(server, reset: false)
  }

  @Test func reregisteringReportsReadinessUnderTheNewToken() throws {
    let net = try Loopback()
    let (client, server) = try net.pair()
    #expect(net.reportCount(3) == 0)
    net.io.reregister(server, token: 30)
    #expect(net.next(30) == .writable)
    #expect(net.send("x", to: client) == .sent(1))
    #expect(net.next(30) == [.readable, .writable])
    net.io.close(client, reset: false)
    net.io.close(server, reset: false)
  }

  @Test func aPeerThatFinishesAfterItsBytesIsReportedAndReadToTheEnd() throws {
    let net = try Loopback()
    let (client, server) = try net.pair()
    #expect(net.send("bye", to: client) == .sent(3))
    net.io.shutdownSending(client)
    #expect(net.next(3).contains([.readable, .peerFinished]))
    #expect(net.receive(from: server) == (.received(3), "bye"))
    #expect(net.receive(from: server).0 == .finished)
    // The other direction is still open.
    #expect(net.send("answer", to: server) == .sent(6))
    #expect(net.next(2).contains(.readable))
    #expect(net.receive(from: client) == (.received(6), "answer"))

    // A clean end of both directions is no failure.
    net.io.shutdownSending(server)
    let readiness = net.next(2)
    #expect(readiness.contains(.peerFinished))
    #expect(!readiness.contains(.failed))
    net.io.close(client, reset: false)
    net.io.close(server, reset: false)
  }

  @Test func aResetIsReportedAsFailedAndReceivedByName() throws {
    let net = try Loopback()
    let (client, server) = try net.pair()
    net.io.close(client, reset: true)
    #expect(net.next(3).contains(.failed))
    #expect(net.receive(from: server).0 == .failed(.connectionReset))
    #expect(net.send("x", to: server) == .failed(.brokenPipe))
    net.io.close(server, reset: false)
  }

  @Test func aConnectionIsQuietUntilSomethingArrivesOrItEnds() throws {
    let net = try Loopback()
    let (client, server) = try net.pair()
    #expect(net.isQuiet(server))
    #expect(net.send("x", to: client) == .sent(1))
    #expect(net.next(3).contains(.readable))
    #expect(!net.isQuiet(server))
    #expect(net.receive(from: server).1 == "x")
    #expect(net.isQuiet(server))
    net.io.close(client, reset: false)
    #expect(net.next(3).contains(.peerFinished))
    #expect(!net.isQuiet(server))
    net.io.close(server, reset: false)

    let (other, broken) = try net.pair()
    net.io.close(other, reset: true)
    #expect(net.next(3).contains(.failed))
    #expect(!net.isQuiet(broken))
    net.io.close(broken, reset: false)
  }

  // MARK: Waiting

  @Test func waitingEndsAtTheDeadlineAndNotBefore() throws {
    let net = try Loopback()
    let deadline = net.now + .microseconds(20_300)
    #expect(net.wait(until: deadline) == 0)
    #expect(net.now >= deadline)
    #expect(net.now - deadline < .seconds(2))
  }

  @Test func aDeadlineInThePastPolls() throws {
    let net = try Loopback()
    let before = net.now
    #expect(net.wait(until: .origin) == 0)
    #expect(net.now >= before)
    #expect(net.now - before < .seconds(2))
  }

  @Test func usingAClosedSocketEndsTheProcess() async {
    await #expect(processExitsWith: .failure) {
      let net = try Loopback()
      let (client, _) = try net.pair()
      net.io.close(client, reset: false)
      _ = net.receive(from: client)
    }
  }
}
