// Sessions of UDP listeners on their way to another process: the text, and the sockets beside it.

import Balancing
import Primitives
import Reactor
import Testing

@testable import Server

@Suite struct SessionStateTests {
  private func state(_ number: Int, socket: Socket, proxied: Bool = false) -> SessionState {
    var key = SessionKey(
      listener: 0, backend: number % 2 == 0 ? -1 : 0, peerPort: UInt16(number + 1),
      peer: IPAddress(high: 0x2001_0db8 << 32, low: UInt64(number)))
    if proxied {
      key.local = .loopbackV4
      key.proxied = .init(
        client: IPAddress(v4: 0x0A00_0001), clientPort: 7, destination: IPAddress(high: 0, low: 1),
        destinationPort: 9)
    }
    return SessionState(
      listener: Int32(number), socket: socket, key: key,
      backend: BackendIdentity(pool: "a pool", address: "[::1]:\(number + 1)"),
      startedAt: Instant(nanoseconds: 5), endsAt: Instant(nanoseconds: 6), awaitedCount: 3,
      hasReply: number % 3 == 0, received: .init(datagramCount: 1, byteCount: 2),
      sent: .init(datagramCount: 4, byteCount: 5))
  }

  @Test(arguments: [false, true]) func aLineHasAllOfASession(proxied: Bool) {
    for number in 0..<6 {
      let socket = Socket(descriptor: 9)
      let state = state(number, socket: socket, proxied: proxied)
      #expect(state.line.hasSuffix("\n"))
      #expect(SessionState(state.line.dropLast(), socket: socket) == state, "\(state.line)")
    }
  }

  @Test(arguments: ["", "session", "other\t1", "session\tx\tclient\t1 ::1\t\t\t\tp\ta\t1\t1\t1"])
  func anotherLineIsNone(text: String) {
    #expect(SessionState(Substring(text), socket: Socket(descriptor: 9)) == nil)
  }

  /// More than one message can pass, so they come in several.
  @Test func eachSessionComesWithItsSocket() throws {
    let count = 700
    let (left, right) = try Descriptor.pair()
    var ports: [UInt16] = []
    var states: [SessionState] = []
    for number in 0..<count {
      let bound = try ListeningSockets.bind(on: .ip(.loopbackV4, port: 0), count: 1, .udp)
      ports.append(try #require(bound.address.port))
      states.append(state(number, socket: bound.sockets[0]))
    }
    let sent = states
    let sender = try Thread(name: "sender") {
      try? SessionParcel.send(sent, over: left)
      left.hangUp()
    }
    let received = SessionParcel.receive(over: right)
    sender.join()
    #expect(received.count == count)
    for (index, state) in received.enumerated() {
      let adopted = try ListeningSockets.adopt([state.socket.descriptor])
      #expect(adopted.first?.address.port == ports[index])
      #expect(state.line == sent[index].line)
      state.socket.close()
    }
  }

  @Test func anotherProcessThatTakesNothingIsNoHarm() throws {
    let (left, right) = try Descriptor.pair()
    right.hangUp()
    let bound = try ListeningSockets.bind(on: .ip(.loopbackV4, port: 0), count: 1, .udp)
    #expect(throws: SystemError.self) {
      try SessionParcel.send([state(1, socket: bound.sockets[0])], over: left)
    }
  }
}
