// Transport without TLS: received bytes, pending bytes, and released buffers.

import Primitives
import Reactor
import Testing

@testable import Server

@Suite struct TransportTests {
  /// A transport with its I/O and the buffers that it borrows.
  private struct Bench: ~Copyable {
    var io = MemoryIO()
    var buffers = BufferPool()
    var transport = Transport(Socket(descriptor: 3))

    mutating func receive() -> Transport.Arrival { transport.receive(&io, &buffers) }
    mutating func write(_ bytes: [UInt8]) { transport.write(bytes.span, &io, &buffers) }
    mutating func flush() { transport.flush(&io, &buffers) }
    mutating func settle() { transport.settle(&buffers) }

    /// Everything that has arrived and was not taken.
    mutating func take() -> [UInt8] {
      let bytes = transport.inbound.array(0..<transport.inbound.count)
      transport.inbound.removeAll()
      return bytes
    }

    var state: State {
      State(
        room: transport.room, held: transport.heldByteCount, isFlushed: transport.isFlushed,
        isBlocked: transport.isBlocked, isBroken: transport.isBroken,
        isReusable: transport.isReusable)
    }
  }

  private struct State: Equatable {
    var room: Int
    var held: Int
    var isFlushed: Bool
    var isBlocked: Bool
    var isBroken: Bool
    var isReusable: Bool

    static let atRest = State(
      room: BufferPool.largeByteCount, held: 0, isFlushed: true, isBlocked: false, isBroken: false,
      isReusable: true)
  }

  private func pattern(_ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: $0 * 7 + $0 >> 8) }
  }

  // MARK: Receiving

  @Test func aSocketWithoutReportIsNotRead() {
    var bench = Bench()
    bench.io.incoming = [[1]]
    #expect(bench.receive() == .nothing)
    let count = bench.io.receiveCount
    #expect(count == 0)
  }

  @Test func aShortReceiveSavesTheNextCall() {
    var bench = Bench()
    bench.io.incoming = [[1, 2, 3]]
    bench.transport.note(.readable)
    #expect(bench.receive() == .bytes)
    #expect(bench.receive() == .nothing)
    let count = bench.io.receiveCount
    #expect(count == 1)
    #expect(bench.take() == [1, 2, 3])
  }

  @Test func afterAFullReceiveMoreIsAskedFor() {
    var bench = Bench()
    let bytes = pattern(100_000)
    bench.io.incoming = [bytes]
    bench.transport.note(.readable)
    var taken: [UInt8] = []
    while bench.receive() == .bytes { taken += bench.take() }
    #expect(taken == bytes)
    let received = bench.transport.receivedByteCount
    #expect(received == 100_000)
  }

  @Test func theEndIsSeenAfterAShortReceive() {
    var bench = Bench()
    bench.io.incoming = [[1]]
    bench.io.ending = .finished
    bench.transport.note([.readable, .peerFinished])
    #expect(bench.receive() == .bytes)
    #expect(bench.receive() == .finished)
    #expect(bench.take() == [1])
    let state = bench.state
    #expect(!state.isReusable)
  }

  @Test func aResetIsReportedByEveryCall() {
    var bench = Bench()
    bench.io.ending = .failed(.connectionReset)
    bench.transport.note(.failed)
    for _ in 0..<2 { #expect(bench.receive() == .failed(.system(.connectionReset))) }
    let (state, count) = (bench.state, bench.io.receiveCount)
    #expect(state.isBroken && state.room == 0 && !state.isReusable && count == 1)
  }

  @Test func receivingStopsWhileBytesAreNotTaken() {
    var bench = Bench()
    bench.io.incoming = [pattern(300_000)]
    bench.transport.note(.readable)
    while bench.receive() == .bytes {}
    let held = bench.transport.heldByteCount
    #expect(held == BufferPool.largeByteCount)
    bench.transport.inbound.consume(1000)
    #expect(bench.receive() == .bytes)
    #expect(bench.take() == Array(pattern(300_000)[1000..<(BufferPool.largeByteCount + 1000)]))
  }

  @Test func discardingKeepsNothing() {
    var bench = Bench()
    bench.io.incoming = [pattern(1000)]
    #expect(bench.transport.discard(&bench.io, &bench.buffers) == .wouldBlock)
    bench.transport.note(.readable)
    #expect(bench.transport.discard(&bench.io, &bench.buffers) == .received(1000))
    let held = bench.transport.heldByteCount
    #expect(held == 0)
  }

  // MARK: Sending

  @Test func smallPiecesLeaveInOneCallAtTheFlush() {
    var bench = Bench()
    for piece in [[1, 2], [3], [4, 5, 6]] as [[UInt8]] { bench.write(piece) }
    var offers = bench.io.offers
    #expect(offers.isEmpty)
    bench.flush()
    offers = bench.io.offers
    let sent = bench.io.sent
    #expect(offers == [6] && sent == [1, 2, 3, 4, 5, 6])
    let state = bench.state
    #expect(state == .atRest)
  }

  @Test func aLargePieceIsSentAtOnceAfterPendingBytes() {
    var bench = Bench()
    let large = pattern(40_000)
    bench.write([9, 9])
    bench.write(large)
    let (offers, sent) = (bench.io.offers, bench.io.sent)
    #expect(offers == [40_002] && sent == [9, 9] + large)
    let state = bench.state
    #expect(state == .atRest)
  }

  @Test(arguments: [0, 1, 2, 3, 5000, 39_999, 40_001])
  func whatAFullSocketDoesNotTakeFollowsInOrder(capacity: Int) {
    var bench = Bench()
    bench.io.capacity = capacity
    let large = pattern(40_000)
    bench.write([9, 9])
    bench.write(large)
    var state = bench.state
    #expect(state.isBlocked && !state.isFlushed && !state.isReusable)
    #expect(state.room == BufferPool.largeByteCount - (40_002 - capacity))
    // It makes no call on the socket until that is writable again.
    bench.write([7])
    bench.flush()
    let offers = bench.io.offers.count
    #expect(offers == 1)
    bench.io.capacity = .max
    bench.transport.note(.writable)
    bench.flush()
    let (sent, count) = (bench.io.sent, bench.transport.sentByteCount)
    #expect(sent == [9, 9] + large + [7] && count == 40_003)
    state = bench.state
    #expect(state == .atRest)
  }

  @Test func theReportedRoomIsCorrectAndNeverExceeded() {
    var generator = RandomGenerator(seed: 5)
    var bench = Bench()
    bench.io.capacity = 0
    var expected: [UInt8] = []
    for _ in 0..<2000 {
      switch generator.next(below: 4) {
      case 0, 1:
        let room = bench.transport.room
        let count = generator.chance(1, in: 8) ? room : generator.next(below: min(room, 3000) + 1)
        let bytes = pattern(count)
        bench.write(bytes)
        expected += bytes
      case 2:
        bench.flush()
      default:
        bench.io.capacity += generator.next(below: 5000)
        bench.transport.note(.writable)
      }
      let held = bench.transport.heldByteCount
      let room = bench.transport.room
      #expect(held + room == BufferPool.largeByteCount)
    }
    bench.io.capacity = .max
    bench.transport.note(.writable)
    bench.flush()
    let sent = bench.io.sent
    #expect(sent == expected && expected.count > 100_000)
    let state = bench.state
    #expect(state == .atRest)
  }

  @Test(arguments: [10, 40_000]) func aBrokenSocketTakesNothingMore(count: Int) {
    var bench = Bench()
    bench.io.sendFailure = .brokenPipe
    bench.write(pattern(count))
    bench.flush()
    let state = bench.state
    #expect(state.isBroken && state.isFlushed && state.held == 0 && state.room == 0)
    bench.write([1])
    let (held, sent) = (bench.transport.heldByteCount, bench.io.sent)
    #expect(held == 0 && sent.isEmpty)
  }

  @Test func receivedBytesAreReturnedAfterABrokenPipe() {
    var bench = Bench()
    bench.io.incoming = [[1, 2]]
    bench.io.sendFailure = .brokenPipe
    bench.write([1])
    bench.flush()
    #expect(bench.receive() == .bytes)
    #expect(bench.take() == [1, 2])
  }

  @Test func aConnectionThatIsBeingMadeWaitsWithItsBytes() {
    var bench = Bench()
    bench.transport = Transport(Socket(descriptor: 3), isWritable: false)
    bench.write(pattern(30_000))
    bench.flush()
    var offers = bench.io.offers
    #expect(offers.isEmpty)
    bench.transport.note(.writable)
    bench.flush()
    offers = bench.io.offers
    #expect(offers == [30_000])
  }

  // MARK: Buffers

  @Test func atRestAConnectionHoldsNoBlock() {
    var bench = Bench()
    bench.io.incoming = [[1, 2, 3]]
    bench.transport.note(.readable)
    #expect(bench.receive() == .bytes)
    bench.write([1])
    bench.flush()
    _ = bench.take()
    bench.settle()
    let (held, hasStorage) = (bench.transport.heldByteCount, bench.transport.inbound.hasStorage)
    #expect(held == 0 && !hasStorage)
  }

  @Test func aSlowSendersFewBytesMoveToASmallBlock() {
    var bench = Bench()
    bench.io.incoming = [[1, 2, 3]]
    bench.transport.note(.readable)
    #expect(bench.receive() == .bytes)
    bench.settle()
    let capacity = bench.transport.inbound.capacity
    #expect(capacity == BufferPool.smallByteCount)
    #expect(bench.take() == [1, 2, 3])
  }

  @Test func releasingForgetsEverything() {
    var bench = Bench()
    bench.io.capacity = 0
    bench.io.incoming = [[1]]
    bench.transport.note(.readable)
    #expect(bench.receive() == .bytes)
    bench.write(pattern(20_000))
    bench.transport.release(to: &bench.buffers)
    let held = bench.transport.heldByteCount
    #expect(held == 0)
  }
}
