// The loop: requests fall due, take a free connection or wait for one, and are answered.
//
// One thread. Each turn waits for an answer or for the next request's time, reads what has come,
// and then sends all that is due in one go. Requests fall due in the order in which they are sent,
// so that the queue of those that wait is no more than two numbers. A connection that failed stays
// closed until a request needs it: a dead server is dialled no faster than requests fall due.

import Primitives
import Reactor

struct LoadGenerator: ~Copyable {
  private var io: EpollIO
  private let timer: KernelTimer
  /// What the timer is set to, until it has been reported.
  private var alarm: Instant? = nil

  private let address: SocketAddress
  private let requestBytes: [UInt8]
  private var connections: [Connection]
  /// Those without a request, the one that has rested longest first.
  private var free = Queue<Int>()

  private var schedule: Schedule
  /// Requests below this number have fallen due.
  private var dueCount = 0
  /// Requests below this number have been given to a connection; the rest of those due wait.
  private var sentCount = 0
  /// How many have ended, well or not.
  private var endedCount = 0
  private var tally = Tally()

  /// What was received last, while it is looked at.
  private var input: ByteBuffer
  private var scratch: AnswerScratch

  private static let timerToken = UInt64.max - 1
  private static let receiveByteCount = 256 * 1024
  /// How many dials are under way at once at the start, so that no backlog overflows.
  private static let dialMax = 64
  private static let dialLimit = TimeSpan.seconds(10)
  /// How long answers may take after the last request was due.
  private static let answerLimit = TimeSpan.seconds(10)

  init(
    io: consuming EpollIO, timer: KernelTimer, port: UInt16, path: String, connectionCount: Int,
    schedule: Schedule
  ) {
    self.io = io
    self.timer = timer
    input = ByteBuffer(capacity: Self.receiveByteCount)
    scratch = AnswerScratch()
    address = .ip(.loopbackV4, port: port)
    requestBytes = Array("GET \(path) HTTP/1.1\r\nHost: 127.0.0.1:\(port)\r\n\r\n".utf8)
    connections = Array(repeating: Connection(), count: connectionCount)
    self.schedule = schedule
    self.io.register(timer.socket, token: Self.timerToken)
  }

  /// Offers the load and returns what came of it, as a line of JSON.
  mutating func run() throws(LoadFailure) -> String {
    try openAll()
    schedule.start = SystemClock.monotonic()
    let end = schedule.due(schedule.count) + Self.answerLimit
    while endedCount < schedule.count && io.now < end {
      let eventCount = wait(until: end)
      takeDue()
      for index in 0..<eventCount { drive(io.event(index)) }
      sendWaiting()
    }
    return tally.line(schedule)
  }

  private mutating func openAll() throws(LoadFailure) {
    let end = SystemClock.monotonic() + Self.dialLimit
    var dialled = 0
    while free.count < connections.count {
      while dialled < connections.count && dialled - free.count < Self.dialMax {
        if let error = dial(dialled, for: nil) { throw .noConnection(address, error) }
        dialled += 1
      }
      let eventCount = io.wait(until: end)
      if io.now >= end { throw .tooSlow(open: free.count, of: connections.count) }
      for index in 0..<eventCount {
        let number = Int(io.event(index).token)
        guard case .dialling(let socket, _) = connections[number].state else { continue }
        if let error = io.connectionResult(of: socket) { throw .noConnection(address, error) }
        connections[number].state = .idle(socket)
        free.append(number)
      }
    }
  }

  // MARK: A turn

  /// The exact time is the timer's. Spinning would take the core from the server that often shares
  /// it, and wake-ups at a fixed pace would make requests late by half of it.
  private mutating func wait(until end: Instant) -> Int {
    // With every connection busy, only an answer lets the next request go.
    if free.isEmpty || dueCount == schedule.count { return io.wait(until: end) }
    let next = schedule.due(dueCount)
    if next <= SystemClock.monotonic() { return io.wait(until: .origin) }
    if alarm != next {
      timer.set(to: next)
      alarm = next
    }
    return io.wait(until: end)
  }

  private mutating func takeDue() {
    let before = dueCount
    dueCount = schedule.dueCount(at: io.now)
    // While others wait, nothing is free.
    let firstLate = max(before + free.count, schedule.warmUpCount)
    tally.lateCount += max(0, dueCount - firstLate)
  }

  private mutating func sendWaiting() {
    while sentCount < dueCount, let number = free.popFirst() {
      let request = sentCount
      sentCount += 1
      if case .idle(let socket) = connections[number].state {
        send(request, on: number, socket)
      } else if dial(number, for: request) != nil {
        finish(request, isWanted: false)
        free.append(number)
      }
    }
  }

  private mutating func drive(_ event: ReadinessEvent) {
    if event.token == Self.timerToken {
      alarm = nil
      return
    }
    let number = Int(event.token)
    if case .dialling(let socket, .some(let request)) = connections[number].state {
      if io.connectionResult(of: socket) != nil { return drop(number) }
      send(request, on: number, socket)
    }
    if event.readiness != .writable {
      receive(on: number, toTheEnd: event.readiness.contains(.peerFinished))
    }
  }

  // MARK: A connection

  private mutating func dial(_ number: Int, for request: Int?) -> SystemError? {
    switch io.connect(to: address, token: UInt64(number)) {
    case .started(let socket):
      connections[number].state = .dialling(socket, request)
      return nil
    case .failed(let error):
      return error
    }
  }

  /// A request is smaller than any send buffer, and the only one in it: it goes as a whole.
  private mutating func send(_ request: Int, on number: Int, _ socket: Socket) {
    connections[number].begin(request, on: socket)
    let bytes = requestBytes
    if io.send(to: socket, bytes.span, Span()) != .sent(bytes.count) { drop(number) }
  }

  private mutating func receive(on number: Int, toTheEnd: Bool) {
    guard let socket = connections[number].socket else { return }
    input.removeAll()
    let rest = connections[number].rest
    input.append(rest.span)
    connections[number].rest = []
    while true {
      input.reserve(Self.receiveByteCount / 2)
      switch Self.receive(from: socket, into: &input, &io) {
      case .received:
        let isShort = input.freeCount > 0
        if !read(number) { return drop(number) }
        if isShort && !toTheEnd { return keepRest(number) }
      case .wouldBlock:
        return keepRest(number)
      case .finished, .failed:
        return drop(number)
      }
    }
  }

  /// Static, so that the buffer and the sockets are two accesses to the compiler.
  private static func receive(
    from socket: Socket, into input: inout ByteBuffer, _ io: inout EpollIO
  ) -> ReceiveResult {
    input.fill { output in io.receive(from: socket, into: &output) }
  }

  private mutating func keepRest(_ number: Int) {
    if !input.isEmpty { connections[number].rest = input.array(0..<input.count) }
  }

  /// Takes in what was received; false when the connection is of no more use.
  private mutating func read(_ number: Int) -> Bool {
    // Nobody has asked for anything.
    guard case .busy(let socket, let request) = connections[number].state else { return false }
    switch connections[number].reader.read(input, &scratch) {
    case .incomplete(let consumed):
      input.consume(consumed)
      return true
    case .complete(let consumed, let isWanted):
      input.consume(consumed)
      finish(request, isWanted: isWanted)
      connections[number].state = .idle(socket)
      free.append(number)
      return input.isEmpty
    case .failed:
      return false
    }
  }

  /// Closes a connection that has failed; its request, or the close itself, counts as an error.
  private mutating func drop(_ number: Int) {
    guard let socket = connections[number].socket else { return }
    if let request = connections[number].request {
      finish(request, isWanted: false)
      free.append(number)
    } else if dueCount > schedule.warmUpCount {
      tally.closedCount += 1
    }
    io.close(socket, reset: false)
    connections[number] = Connection()
  }

  /// The clock is asked for each answer, since `io.now` is from before the turn's work.
  private mutating func finish(_ request: Int, isWanted: Bool) {
    endedCount += 1
    if request < schedule.warmUpCount || !isWanted { return }
    tally.addAnswer(due: schedule.due(request), at: SystemClock.monotonic())
  }
}

/// Why no load could be offered.
enum LoadFailure: Error, CustomStringConvertible {
  case noConnection(SocketAddress, SystemError)
  case tooSlow(open: Int, of: Int)

  var description: String {
    switch self {
    case .noConnection(let address, let error): "can't connect to \(address): \(error)"
    case .tooSlow(let open, let count): "only \(open) of \(count) connections are up after 10 s"
    }
  }
}
