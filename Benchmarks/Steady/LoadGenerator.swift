// The main loop: a request becomes due, takes a free connection or waits for one, and is answered.
//
// It has one thread. Each iteration waits for a response or for the time of the next request, reads
// what has arrived, and sends all requests that are due. Requests are sent in the order in which
// they become due, so two numbers are enough for the queue. A failed connection stays closed until
// a request needs it, so a dead server gets no more connects than requests.

import Primitives
import Reactor

struct LoadGenerator: ~Copyable {
  private var io: EpollIO
  private let timer: KernelTimer
  /// The time to which the timer is set, until it has been reported.
  private var alarm: Instant? = nil

  private let address: SocketAddress
  private let requestBytes: [UInt8]
  private var connections: [Connection]
  /// Connections without a request; the one that has been idle longest is first.
  private var free = Queue<Int>()

  private var schedule: Schedule
  /// Requests below this number have become due.
  private var dueCount = 0
  /// Requests below this number have a connection; the other due requests wait.
  private var sentCount = 0
  /// The number of requests that have ended, successfully or not.
  private var endedCount = 0
  private var tally = Tally()

  /// The bytes received last.
  private var input: ByteBuffer
  private var scratch: AnswerScratch

  private static let timerToken = UInt64.max - 1
  private static let receiveByteCount = 256 * 1024
  /// The maximum of concurrent connects at the start, so that no backlog overflows.
  private static let dialMax = 64
  private static let dialLimit = TimeSpan.seconds(10)
  /// How long responses may take after the last request was due.
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

  /// Runs the load and returns the results as a line of JSON.
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

  // MARK: An iteration

  /// Uses an exact timer. Spinning would take the core from the server, which often shares it, and
  /// polling at a fixed interval would delay requests by half the interval on average.
  private mutating func wait(until end: Instant) -> Int {
    // While every connection is busy, the next request has to wait for a response.
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
    // While requests wait, no connection is free.
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

  /// A request is smaller than any send buffer and alone in it, so one send takes all of it.
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

  /// Static, so that the compiler sees the buffer and the sockets as separate accesses.
  private static func receive(
    from socket: Socket, into input: inout ByteBuffer, _ io: inout EpollIO
  ) -> ReceiveResult {
    input.fill { output in io.receive(from: socket, into: &output) }
  }

  private mutating func keepRest(_ number: Int) {
    if !input.isEmpty { connections[number].rest = input.array(0..<input.count) }
  }

  /// Parses what was received; returns false when the connection can't be used any more.
  private mutating func read(_ number: Int) -> Bool {
    // There was no request.
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

  /// Closes a failed connection and counts an error: for its request, or for the close itself.
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

  /// Reads the clock for each response, since `io.now` is from before the iteration's work.
  private mutating func finish(_ request: Int, isWanted: Bool) {
    endedCount += 1
    if request < schedule.warmUpCount || !isWanted { return }
    tally.addAnswer(due: schedule.due(request), at: SystemClock.monotonic())
  }
}

/// Why the load could not be run.
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
