// A byte relay that uses only InputOutput, for tests of the simulation itself.
//
// Each client connection gets a connection to the next available backend; bytes go both ways,
// through one bounded buffer per direction. The relay can have one of several bugs, to check that
// the simulation finds them. It doesn't know HTTP, and is no model for the worker.

import Primitives
import Reactor

/// The bug of a relay.
enum RelayFault: CaseIterable {
  case flipsByte, dropsByte, repeatsByte
  /// A broken backend connection looks like a clean end.
  case hidesResets
  /// Ignores the limit of its buffers.
  case holdsEverything
  case leaksSocket
  case closesTwice
  /// Doesn't send the rest when there is room again.
  case ignoresWritable
  /// Doesn't continue to read after a short count when there is a new report.
  case readsOncePerReport
  /// Sends to another backend when one has died.
  case sendsTwice
  /// Never times out for a silent peer.
  case waitsForEver
  /// Polls without waiting.
  case spins
  /// Sometimes sends one client's bytes to another's backend.
  case mixesUp
}

struct PlainRelay<IO: InputOutput & ~Copyable>: ~Copyable, SimulatedServer {
  private struct Side {
    var socket: Socket?
    var isOpen = false
    /// No more bytes come from this side.
    var isFinished = false
    var isFinishSent = false
    var mayRead = true
    var buffer: [UInt8] = []
  }

  private struct Pair {
    /// The client's side, then the backend's.
    var sides = [Side(), Side()]
    var triesLeft = 0
    var nextBackend = 0
    var lastMove: Instant
    /// The bytes sent to the backend, for the bug that sends them again.
    var history: [UInt8] = []
  }

  private var io: IO
  private let listener: Socket
  private let backends: [SocketAddress]
  private let fault: RelayFault?
  private var pairs: [Int: Pair] = [:]
  private var pairCount = 0
  private var byteCount = 0
  private var isDraining = false
  private var pausedUntil: Instant?

  private static var bufferMax: Int { 16 * 1024 }
  private static var idleMax: TimeSpan { .seconds(60) }
  private static var dialMax: TimeSpan { .seconds(2) }

  init(io: consuming IO, listener: Socket, backends: [SocketAddress], fault: RelayFault? = nil) {
    self.io = io
    self.listener = listener
    self.backends = backends
    self.fault = fault
    self.io.watch(listener: listener, token: .max)
  }

  var isFinished: Bool { pairs.isEmpty }
  var gauges: [(name: String, value: Int)] { [("pairs", pairs.count)] }

  mutating func turn() {
    let count = io.wait(until: deadline)
    for index in 0..<count {
      let event = io.event(index)
      if event.token == .max {
        acceptAll()
      } else if pairs[Int(event.token >> 1)] != nil {
        handle(event, Int(event.token >> 1))
      }
    }
    if let pausedUntil, io.now >= pausedUntil {
      self.pausedUntil = nil
      if !isDraining { io.watch(listener: listener, token: .max) }
    }
    for number in pairs.keys.sorted() where io.now >= deadline(of: number) { giveUp(number) }
  }

  mutating func drain() {
    isDraining = true
    io.close(listener, reset: false)
  }

  private var deadline: Instant? {
    if fault == .spins && !pairs.isEmpty { return io.now }
    let earliest = (pairs.keys.map { deadline(of: $0) } + [pausedUntil ?? .never]).min()
    return earliest == .never ? nil : earliest
  }

  private func deadline(of number: Int) -> Instant {
    guard let pair = pairs[number], fault != .waitsForEver else { return .never }
    return pair.lastMove + (pair.sides[1].isOpen ? Self.idleMax : Self.dialMax)
  }

  private mutating func giveUp(_ number: Int) {
    if pairs[number]!.sides[1].isOpen { return close(number, reset: true) }
    io.close(pairs[number]!.sides[1].socket!, reset: true)
    pairs[number]!.sides[1] = Side()
    pairs[number]!.lastMove = io.now
    dialNext(number)
  }

  // MARK: Connections

  private mutating func acceptAll() {
    if isDraining { return }
    while true {
      switch io.accept(from: listener) {
      case .accepted(let socket, _):
        let number = pairCount
        pairCount += 1
        var pair = Pair(lastMove: io.now)
        pair.sides[0] = Side(socket: socket, isOpen: true)
        pair.triesLeft = max(3, backends.count)
        pair.nextBackend = number
        pairs[number] = pair
        io.register(socket, token: UInt64(number) << 1)
        dialNext(number)
      case .wouldBlock: return
      case .failed: continue
      case .exhausted:
        io.unwatch(listener: listener)
        pausedUntil = io.now + .milliseconds(50)
        return
      }
    }
  }

  private mutating func dialNext(_ number: Int) {
    while pairs[number]!.triesLeft > 0 {
      pairs[number]!.triesLeft -= 1
      let address = backends[pairs[number]!.nextBackend % backends.count]
      pairs[number]!.nextBackend += 1
      if case .started(let socket) = io.connect(to: address, token: UInt64(number) << 1 | 1) {
        pairs[number]!.sides[1] = Side(socket: socket)
        return
      }
    }
    close(number, reset: true)
  }

  private mutating func close(_ number: Int, reset: Bool) {
    guard let pair = pairs.removeValue(forKey: number) else { return }
    if let socket = pair.sides[0].socket { io.close(socket, reset: reset) }
    if let socket = pair.sides[1].socket {
      if fault == .leaksSocket && number % 3 == 1 { return }
      io.close(socket, reset: reset)
      if fault == .closesTwice && number % 3 == 1 { io.close(socket, reset: reset) }
    }
  }

  private mutating func handle(_ event: ReadinessEvent, _ number: Int) {
    let isBackend = event.token & 1 == 1
    if isBackend && !pairs[number]!.sides[1].isOpen {
      guard let socket = pairs[number]!.sides[1].socket else { return }
      if io.connectionResult(of: socket) != nil {
        io.close(socket, reset: false)
        pairs[number]!.sides[1] = Side()
        pairs[number]!.lastMove = io.now
        return dialNext(number)
      }
      pairs[number]!.sides[1].isOpen = true
    }
    if !event.readiness.isDisjoint(with: [.readable, .peerFinished, .failed]) {
      pairs[number]!.sides[isBackend ? 1 : 0].mayRead = true
    }
    if fault == .ignoresWritable && event.readiness == .writable { return }
    move(number, 0, 1)
    if pairs[number] != nil { move(number, 1, 0) }
    if let pair = pairs[number], pair.sides[0].isFinishSent, pair.sides[1].isFinishSent {
      close(number, reset: false)
    }
  }

  // MARK: Bytes

  /// Moves as many bytes as possible from one side to the other.
  private mutating func move(
    _ number: Int, _ from: Int, _ to: Int
  ) {
    while pairs[number]!.sides[from].isOpen {
      var isMoving = false
      let side = pairs[number]!.sides[from]
      let room = fault == .holdsEverything ? 1 << 20 : Self.bufferMax - side.buffer.count
      if side.mayRead && !side.isFinished && room > 0 {
        isMoving = receive(number, from, room)
        if pairs[number] == nil { return }
      }
      if pairs[number]!.sides[to].isOpen && !pairs[number]!.sides[from].buffer.isEmpty {
        isMoving = send(number, from, to) || isMoving
        if pairs[number] == nil { return }
      }
      if !isMoving { break }
      pairs[number]!.lastMove = io.now
    }
    let side = pairs[number]!.sides[from]
    if side.isFinished && side.buffer.isEmpty, !pairs[number]!.sides[to].isFinishSent,
      pairs[number]!.sides[to].isOpen, let socket = pairs[number]!.sides[to].socket
    {
      pairs[number]!.sides[to].isFinishSent = true
      io.shutdownSending(socket)
    }
  }

  private mutating func receive(
    _ number: Int, _ from: Int, _ room: Int
  ) -> Bool {
    let socket = pairs[number]!.sides[from].socket!
    var block: [UInt8] = []
    var result = ReceiveResult.wouldBlock
    block.append(addingCapacity: room) { output in
      result = io.receive(from: socket, into: &output)
    }
    switch result {
    case .received:
      damage(&block)
      pairs[number]!.sides[from].buffer += block
      if fault == .readsOncePerReport { pairs[number]!.sides[from].mayRead = false }
      return true
    case .wouldBlock:
      pairs[number]!.sides[from].mayRead = false
      return false
    case .finished:
      pairs[number]!.sides[from].isFinished = true
      return false
    case .failed:
      if fault == .hidesResets {
        pairs[number]!.sides[from].isFinished = true
      } else {
        end(number, from)
      }
      return false
    }
  }

  private mutating func send(
    _ number: Int, _ from: Int, _ to: Int
  ) -> Bool {
    let bytes = pairs[number]!.sides[from].buffer
    var target = pairs[number]!.sides[to].socket!
    if fault == .mixesUp && byteCount % 7 == 3,
      let other = pairs.values.first(where: {
        $0.sides[to].isOpen && $0.sides[to].socket != target
      })
    {
      target = other.sides[to].socket!
    }
    byteCount += 1
    let middle = bytes.count / 2
    let first = bytes.span.extracting(first: middle)
    switch io.send(to: target, first, bytes.span.extracting(droppingFirst: middle)) {
    case .sent(let count):
      if fault == .sendsTwice && to == 1 {
        pairs[number]!.history += bytes[..<count]
      }
      pairs[number]!.sides[from].buffer.removeFirst(count)
      return true
    case .wouldBlock:
      return false
    case .failed:
      end(number, to)
      return false
    }
  }

  /// One side has ended: reset the other.
  private mutating func end(_ number: Int, _ side: Int) {
    if fault == .sendsTwice, side == 1, !pairs[number]!.history.isEmpty {
      io.close(pairs[number]!.sides[1].socket!, reset: true)
      pairs[number]!.sides[1] = Side()
      pairs[number]!.sides[0].buffer = pairs[number]!.history + pairs[number]!.sides[0].buffer
      pairs[number]!.history = []
      return dialNext(number)
    }
    close(number, reset: true)
  }

  private mutating func damage(_ block: inout [UInt8]) {
    let place = byteCount
    byteCount += block.count
    guard let index = block.indices.last, place / 5_000 != byteCount / 5_000 else { return }
    switch fault {
    case .flipsByte: block[index] ^= 1
    case .dropsByte: block.remove(at: index)
    case .repeatsByte: block.append(block[index])
    default: break
    }
  }
}
