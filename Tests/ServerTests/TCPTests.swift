// Connections of a TCP listener: the choice of a backend, bytes both ways, and every way to end.

import Balancing
import Metrics
import Primitives
import Proxy
import Reactor
import Testing

@testable import Server

@Suite struct TCPTests {
  // MARK: Bytes

  @Test func bytesGoBothWaysUnchanged() throws {
    let stage = try TCPStage()
    let client = stage.connect("early")
    let backend = stage.backend
    #expect(backend.text == "early")
    stage.send("hello", from: backend)
    #expect(client.text == "hello")
    stage.send("more", from: client)
    #expect(backend.text == "earlymore")
    #expect(client.isOpen && backend.isOpen)
  }

  @Test func aServerMaySpeakFirst() throws {
    let stage = try TCPStage()
    let client = stage.connect()
    stage.send("220 ready\r\n", from: stage.backend)
    #expect(client.text == "220 ready\r\n")
  }

  @Test func theClientsBytesWaitUntilTheBackendHasAccepted() throws {
    let stage = try TCPStage()
    stage.net.dials[1] = .silent
    let client = stage.connect("query")
    let backend = stage.backend
    #expect(backend.received.isEmpty && client.pending.count == 5)
    stage.net.report(backend, .writable)
    stage.turn()
    #expect(backend.text == "query")
  }

  /// A slow side holds the other one back: one block waits, and the rest stays in its socket.
  @Test func aSlowBackendHoldsTheClientBack() throws {
    let stage = try TCPStage()
    let client = stage.connect()
    let backend = stage.backend
    backend.room = 1000
    client.pending = [UInt8](repeating: 7, count: 1 << 20)
    stage.net.report(client, .readable)
    stage.turn(50)
    #expect(backend.received.count == 1000)
    #expect(client.pending.count > (1 << 20) - 4 * BufferPool.largeByteCount)
    backend.room = .max
    for _ in 0..<100 {
      stage.net.report(backend, .writable)
      stage.turn()
    }
    #expect(backend.received.count == 1 << 20)
  }

  // MARK: Ends

  @Test func theClientsEndFollowsItsLastByteAndTheAnswerContinues() throws {
    let stage = try TCPStage()
    let client = stage.connect()
    let backend = stage.backend
    backend.room = 0
    client.pending = Array("last".utf8)
    stage.finish(client)
    #expect(!backend.gotEnd, "the end must not overtake the bytes")
    backend.room = .max
    stage.net.report(backend, .writable)
    stage.turn()
    #expect(backend.text == "last" && backend.gotEnd && !client.gotEnd)
    stage.send("answer", from: backend)
    #expect(client.text == "answer")
    stage.finish(backend)
    #expect(client.gotEnd && client.closedByReset == false && backend.closedByReset == false)
    #expect(stage.isEmpty)
  }

  @Test func theBackendsEndFollowsItsLastByteAndTheClientContinues() throws {
    let stage = try TCPStage()
    let client = stage.connect()
    let backend = stage.backend
    client.room = 0
    backend.pending = Array("bye".utf8)
    stage.finish(backend)
    #expect(!client.gotEnd)
    client.room = .max
    stage.net.report(client, .writable)
    stage.turn()
    #expect(client.text == "bye" && client.gotEnd && client.isOpen)
    stage.send("still", from: client)
    #expect(backend.text == "still")
    stage.finish(client)
    #expect(client.closedByReset == false && backend.closedByReset == false && stage.isEmpty)
  }

  @Test func anEndBeforeTheBackendHasAcceptedIsPassedOn() throws {
    let stage = try TCPStage()
    stage.net.dials[1] = .silent
    let client = stage.connect()
    stage.finish(client)
    let backend = stage.backend
    stage.net.report(backend, .writable)
    stage.turn()
    #expect(backend.gotEnd && client.isOpen)
    stage.send("time", from: backend)
    #expect(client.text == "time")
  }

  @Test func aResetOfTheClientIsAResetOfTheBackend() throws {
    let stage = try TCPStage()
    let client = stage.connect("x")
    let backend = stage.backend
    stage.reset(client)
    #expect(backend.closedByReset == true && client.closedByReset == true && stage.isEmpty)
  }

  @Test func aResetAfterAnEndIsPassedOnToo() throws {
    let stage = try TCPStage()
    let client = stage.connect("x")
    let backend = stage.backend
    stage.finish(client)
    #expect(backend.isOpen)
    stage.reset(client)
    #expect(backend.closedByReset == true && stage.isEmpty)
  }

  /// Many clients close the socket without waiting for the last alert of TLS.
  @Test func aResetAfterBothEndsIsNoFailure() throws {
    let stage = try TCPStage()
    let client = stage.connect("x")
    let backend = stage.backend
    stage.finish(client)
    client.room = 0
    backend.pending = [1]
    stage.finish(backend)
    #expect(client.isOpen)
    stage.reset(client)
    #expect(backend.closedByReset == false && stage.isEmpty)
    #expect(stage.failures(.clientAborted) == 0)
  }

  /// The backend would take a part for the whole.
  @Test func aResetAfterBothEndsIsNoEndForABackendThatLacksBytes() throws {
    let stage = try TCPStage()
    let client = stage.connect("x")
    let backend = stage.backend
    backend.room = 0
    client.pending = Array("last".utf8)
    stage.finish(client)
    stage.finish(backend)
    #expect(client.isOpen && backend.isOpen && !backend.gotEnd)
    stage.reset(client)
    #expect(backend.closedByReset == true && !backend.gotEnd && stage.isEmpty)
  }

  /// What the backend said before is not cut off: the client's kernel must have it first.
  @Test func aResetOfTheBackendFollowsItsBytes() throws {
    let stage = try TCPStage()
    let client = stage.connect("x")
    let backend = stage.backend
    client.room = 3
    client.unacknowledged = 3
    backend.pending = Array("goodbye".utf8)
    stage.reset(backend)
    #expect(client.text == "goo" && client.isOpen)
    client.room = .max
    stage.net.report(client, .writable)
    stage.turn()
    #expect(client.text == "goodbye" && client.isOpen, "the kernel still has bytes")
    client.unacknowledged = 0
    stage.pass(.milliseconds(50))
    #expect(client.closedByReset == true && !client.gotEnd && stage.isEmpty)
  }

  @Test func aClientThatTakesNothingIsResetInTheEnd() throws {
    let stage = try TCPStage()
    let client = stage.connect("x")
    client.room = 0
    let backend = stage.backend
    backend.pending = [1, 2, 3]
    stage.reset(backend)
    #expect(client.isOpen)
    for _ in 0..<6 { stage.pass(.seconds(1)) }
    #expect(client.closedByReset == true && stage.isEmpty)
  }

  // MARK: Times

  @Test func anIdleConnectionIsResetOnBothSides() throws {
    let stage = try TCPStage()
    let client = stage.connect("x")
    let backend = stage.backend
    stage.send("y", from: backend)
    stage.pass(.seconds(299))
    stage.send("z", from: client)
    stage.pass(.seconds(299))
    #expect(client.isOpen && backend.isOpen)
    stage.pass(.seconds(2))
    stage.pass(.seconds(1))
    #expect(client.closedByReset == true && backend.closedByReset == true && stage.isEmpty)
    #expect(stage.failures(.relayIdle) == 1)
  }

  @Test func aHalfClosedConnectionEndsSooner() throws {
    let stage = try TCPStage()
    let client = stage.connect("x")
    let backend = stage.backend
    stage.finish(client)
    stage.pass(.seconds(29))
    stage.send("slow", from: backend)
    stage.pass(.seconds(29))
    #expect(client.isOpen && client.text == "slow")
    stage.pass(.seconds(2))
    stage.pass(.seconds(1))
    #expect(client.closedByReset == true && backend.closedByReset == true && stage.isEmpty)
  }

  @Test func aFINAfterALongSilenceLeavesTimeForTheAnswer() throws {
    let stage = try TCPStage()
    let client = stage.connect("x")
    let backend = stage.backend
    stage.pass(.seconds(200))
    stage.finish(client)
    stage.pass(.seconds(29))
    #expect(backend.gotEnd)
    stage.send("slow", from: backend)
    #expect(client.isOpen && client.text == "slow")
  }

  // MARK: Attempts

  @Test func aRefusedConnectMovesToTheNextMember() throws {
    let stage = try TCPStage(pools: [[1, 2, 3]])
    stage.net.dials = [1: .refused, 2: .refused]
    for _ in 0..<3 {
      let client = stage.connect("q")
      #expect(stage.backend.text == "q" && client.isOpen)
      #expect(stage.net.dialled.last == 3)
    }
  }

  @Test func aConnectWithoutAnAnswerMovesOnAfterItsTime() throws {
    let stage = try TCPStage(pools: [[1, 2]])
    stage.net.dials = [1: .silent, 2: .silent]
    let client = stage.connect("q")
    let first = stage.net.dialled
    #expect(first.count == 1)
    stage.net.dials = [:]
    stage.pass(.seconds(3))
    stage.pass(.milliseconds(10))
    #expect(Set(stage.net.dialled) == [1, 2])
    #expect(stage.backend.text == "q" && client.isOpen)
  }

  @Test func aClientIsResetWhenNoBackendAccepts() throws {
    let stage = try TCPStage(pools: [[1, 2]])
    stage.net.dials = [1: .refused, 2: .refused]
    let client = stage.connect("q")
    #expect(client.closedByReset == true && stage.isEmpty)
    #expect(stage.failures(.connectRefused) == 1)
  }

  /// Once bytes went to a backend, no other one gets them.
  @Test func anEstablishedConnectionIsNotMoved() throws {
    let stage = try TCPStage(pools: [[1, 2]])
    let client = stage.connect("q")
    stage.reset(stage.backend)
    stage.turn()
    #expect(client.closedByReset == true && stage.net.dialled.count == 1 && stage.isEmpty)
  }

  @Test func failedConnectsAndEarlyResetsEject() throws {
    let stage = try TCPStage(pools: [[1, 2]])
    for _ in 0..<12 where stage.record(0).standing(at: stage.net.now) == .available {
      _ = stage.connect("q")
      if stage.net.dialled.last == 1 { stage.reset(stage.backend) }
    }
    #expect(stage.record(0).standing(at: stage.net.now) != .available)
    #expect(stage.record(1).standing(at: stage.net.now) == .available)
  }

  @Test func resetsAfterAnAnswerEjectNobody() throws {
    let stage = try TCPStage(pools: [[1, 2]])
    for _ in 0..<12 {
      _ = stage.connect("q")
      stage.send("a", from: stage.backend)
      stage.reset(stage.backend)
    }
    #expect(stage.record(0).standing(at: stage.net.now) == .available)
    #expect(stage.record(1).standing(at: stage.net.now) == .available)
    #expect(stage.isEmpty)
  }

  @Test func aFullPoolQueues() throws {
    let stage = try TCPStage(maxConnections: 1, queueMax: 1)
    let first = stage.connect("a")
    let backend = stage.backend
    let second = stage.connect("b")
    let third = stage.connect("c")
    #expect(third.closedByReset == true, "the queue is full")
    #expect(second.isOpen && stage.net.dialled.count == 1)
    stage.reset(first)
    #expect(backend.closedByReset == true)
    stage.turn()
    #expect(stage.backend.text == "b" && second.isOpen)
  }

  @Test func aQueuedClientThatResetsBehindItsBytesLeavesTheQueue() throws {
    let stage = try TCPStage(maxConnections: 1, queueMax: 1)
    let first = stage.connect("a")
    let second = stage.connect("b")
    stage.reset(second)
    #expect(second.closedByReset == true)
    #expect(stage.connect("c").isOpen && first.isOpen)
  }

  @Test func aResetOfTheClientIsFoundWhileTheBackendTakesNothing() throws {
    let stage = try TCPStage(pools: [[1]])
    let client = stage.connect("q")
    let backend = stage.backend
    backend.room = 0
    stage.send(String(repeating: "m", count: 1 << 20), from: client)
    stage.reset(client)
    #expect(client.closedByReset == true && backend.closedByReset == true && stage.isEmpty)
  }

  /// The backend has reset the connection behind a MiB of which the client takes nothing yet.
  private func resetBehindBytes(
    _ stage: TCPStage
  ) -> (client: TCPPeer, backend: TCPPeer) {
    let client = stage.connect("q")
    let backend = stage.backend
    client.room = 0
    stage.send(String(repeating: "m", count: 1 << 20), from: backend)
    stage.reset(backend)
    return (client, backend)
  }

  /// What came before the reset is still the client's, as long as it takes some.
  @Test func aResetOfTheBackendIsFoundWhileTheClientTakesNothing() throws {
    let stage = try TCPStage(pools: [[1]])
    let (client, backend) = resetBehindBytes(stage)
    #expect(client.isOpen && backend.isOpen)
    stage.pass(.seconds(29))
    client.room = 1 << 19
    for _ in 0..<100 {
      stage.net.report(client, .writable)
      stage.turn()
    }
    #expect(client.received.count == 1 << 19 && client.isOpen && backend.isOpen)
    stage.pass(.seconds(29))
    #expect(client.isOpen && backend.isOpen)
    stage.pass(.seconds(2))
    #expect(!backend.isOpen && stage.failures(.relayReset) == 1)
    for _ in 0..<6 { stage.pass(.seconds(1)) }
    #expect(client.closedByReset == true && !client.gotEnd && stage.isEmpty)
  }

  @Test func aClientThatTakesTheRestSeesTheReset() throws {
    let stage = try TCPStage(pools: [[1]])
    let client = resetBehindBytes(stage).client
    client.room = .max
    for _ in 0..<100 {
      stage.net.report(client, .writable)
      stage.turn()
    }
    #expect(client.received.count == 1 << 20 && !client.gotEnd && client.closedByReset == true)
    #expect(stage.failures(.relayReset) == 1 && stage.isEmpty)
  }

  @Test func aResetThatASendFindsIsNoEnd() throws {
    let stage = try TCPStage(pools: [[1]])
    let client = stage.connect("q")
    stage.send("part", from: stage.backend)
    stage.backend.hasReset = true
    stage.send("more", from: client)
    #expect(client.text == "part" && !client.gotEnd && client.closedByReset == true)
    #expect(stage.failures(.relayReset) == 1 && stage.isEmpty)
  }

  /// The client has connected to a listener of HTTP, which is one of TCP since a reload.
  @Test func aClientOfHTTPIsToldThatNobodySpeaksItAnyMore() throws {
    let stage = try TCPStage()
    let tcp = stage.worker.snapshot
    stage.install(
      Snapshot(
        settings: Settings(),
        listeners: [
          ListenerSettings(name: [], rules: RouteRules(table: RouteTable([]), routes: []))
        ], pools: []))
    let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    let (client, idle) = (stage.connect(request), stage.connect(request))
    #expect(client.text.contains(" 404 "))
    stage.install(tcp)
    stage.send(request, from: client)
    #expect(client.text.contains(" 421 "))
    #expect(idle.isOpen)
    for _ in 0..<3 { stage.pass(.seconds(1)) }
    #expect(idle.closedByReset == false)
    #expect(stage.connect("raw").isOpen && stage.backend.text == "raw")
  }

  @Test func aResetAfterAFINIsFound() throws {
    let stage = try TCPStage(pools: [[1]])
    let client = stage.connect("q")
    let backend = stage.backend
    stage.finish(client)
    #expect(client.isOpen && backend.gotEnd)
    stage.reset(client)
    #expect(client.closedByReset == true && backend.closedByReset == true && stage.isEmpty)
  }

  @Test func aQueuedClientThatLeavesLeavesTheQueue() throws {
    let stage = try TCPStage(maxConnections: 1, queueMax: 1)
    let first = stage.connect("a")
    let second = stage.connect()
    stage.reset(second)
    #expect(second.closedByReset == true)
    let third = stage.connect("c")
    #expect(third.isOpen)
    stage.reset(first)
    stage.turn()
    #expect(stage.backend.text == "c")
  }

  // MARK: Limits and the end of the worker

  @Test func aListenerHasItsOwnLimits() throws {
    let stage = try TCPStage(rules: TCPRules(standardPool: 0, connectionMax: 2))
    let first = stage.connect("a")
    _ = stage.connect("b")
    let third = stage.connect("c")
    #expect(third.closedByReset == true)
    stage.reset(first)
    let fourth = stage.connect("d")
    #expect(fourth.isOpen)
    #expect(stage.admittedCount == 2)
  }

  @Test func aClientHasALimitToo() throws {
    let stage = try TCPStage(rules: TCPRules(standardPool: 0, connectionsPerClientMax: 1))
    let first = stage.connect("a")
    #expect(stage.connect("b").closedByReset == true && first.isOpen)
  }

  @Test func underOverloadNewConnectionsAreReset() throws {
    let stage = try TCPStage()
    let first = stage.connect("a")
    stage.worker.handle(.overload(.sheddingRequests))
    let second = stage.connect("b")
    stage.turn()
    #expect(second.closedByReset == true && first.isOpen)
  }

  @Test func aDrainLetsConnectionsEndAndCutsThemAtItsLimit() throws {
    let stage = try TCPStage()
    let first = stage.connect("a")
    let firstBackend = stage.backend
    let second = stage.connect("b")
    let secondBackend = stage.backend
    stage.worker.handle(.drain(limit: .seconds(10)))
    stage.pass(.seconds(5))
    stage.send("more", from: second)
    #expect(secondBackend.text == "bmore")
    stage.finish(first)
    stage.finish(firstBackend)
    #expect(first.closedByReset == false && second.isOpen && !stage.isFinished)
    stage.pass(.seconds(6))
    #expect(second.closedByReset == true && secondBackend.closedByReset == true)
    #expect(stage.isFinished)
  }

  /// A connection that is open keeps its backend, whatever a reload changes.
  @Test func aReloadKeepsConnections() throws {
    let stage = try TCPStage()
    let client = stage.connect("a")
    let backend = stage.backend
    let empty = Snapshot(settings: Settings(), listeners: [], pools: [])
    stage.worker.handle(.install(empty, listeners: []))
    stage.send("b", from: client)
    stage.send("c", from: backend)
    #expect(backend.text == "ab" && client.text == "c")
    stage.finish(client)
    stage.finish(backend)
    #expect(client.closedByReset == false && stage.connectionCount == 0)
  }
}
