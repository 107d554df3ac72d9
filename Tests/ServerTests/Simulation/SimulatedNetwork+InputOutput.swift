// The simulated network for a worker: the counterpart of EpollIO on the kernel.
//
// Where the kernel has a choice, this makes a random one: how many bytes a call accepts, the order
// and number of reported events, and whether unchanged sockets are reported too. It never violates
// the contract of `InputOutput`. Descriptors are never reused, so every use of a closed socket is
// detected.

import Glibc
import Primitives
import Reactor

extension SimulatedNetwork: InputOutput {
  private static let firstDescriptor: Int32 = 1000
  /// An iteration with more calls than this would spin forever and never return to `wait`.
  private static let callMax = 1_000_000
  private static let idlePollMax = 200
  private static let idleReportMax = 20_000

  // MARK: Waiting

  func wait(until deadline: Instant?) -> Int {
    watchTurn(isPoll: deadline.map { $0 <= now } ?? false)
    lane.batch.removeAll(keepingCapacity: true)
    if conditions.turnCost > 0 {
      now = now + .nanoseconds(Int64(1 + random.next(below: conditions.turnCost) * 1_000))
    }
    // Rarely, the scheduler doesn't run this thread for a while.
    if conditions.turnCost > 0 && random.chance(1, in: 4096) {
      now = now + .milliseconds(Int64(random.next(below: 30)))
    }
    while true {
      runDueEvents()
      if random.chance(conditions.spuriousReports, in: 256) { addSpuriousReport() }
      collectReports()
      if !lane.batch.isEmpty || lane.isWoken { break }
      if random.chance(conditions.wakeUps, in: 256) { break }
      // Time doesn't advance while another worker has something to do: it runs first.
      if lanes.count > 1 && lanes.contains(where: { $0 !== lane && isReady($0) }) { break }
      guard let next = nextTime else {
        if let deadline, deadline != .never {
          arrive(at: deadline)
        } else {
          isStuck = true
          note("the worker waits without a deadline, and nothing will happen any more")
        }
        break
      }
      if let deadline, deadline <= next {
        arrive(at: deadline)
        break
      }
      now = max(now, next)
    }
    lane.watch.reportedLast = !lane.batch.isEmpty
    mark(lane.batch.count)
    mark(Int(truncatingIfNeeded: now.nanoseconds))
    return lane.batch.count
  }

  /// When something happens next, for this worker or by the deadline of another.
  private var nextTime: Instant? {
    var next = agenda.nextTime
    for other in lanes where other !== lane {
      if let deadline = other.deadline, deadline != .never { next = min(next ?? .never, deadline) }
    }
    return next
  }

  func event(_ index: Int) -> ReadinessEvent { lane.batch[index] }

  /// The clock of the loop has a resolution of a millisecond: it may be late, never early.
  private func arrive(at deadline: Instant) {
    if deadline <= now { return }
    now = deadline
    if conditions.turnCost > 0 {
      now = now + .microseconds(Int64(random.next(below: 1_000)))
    }
  }

  private func watchTurn(isPoll: Bool) {
    let watch = lane.watch
    let isIdle = moves == watch.movesAtLastWait
    lane.watch.callsInTurn = 0
    lane.watch.movesAtLastWait = moves
    lane.watch.idlePolls = isIdle && isPoll && !watch.reportedLast ? watch.idlePolls + 1 : 0
    lane.watch.idleReports = isIdle && watch.reportedLast ? watch.idleReports + 1 : 0
    if lane.watch.idlePolls > Self.idlePollMax || lane.watch.idleReports > Self.idleReportMax {
      fault("the worker turns without doing anything (busy loop)")
      isStuck = true
    }
  }

  /// Reports a random connection without any change. Never one that is connecting: its first report
  /// means that the connect has ended.
  private func addSpuriousReport() {
    if lane.registered.isEmpty { return }
    let endpoint = endpoints[lane.registered[random.next(below: lane.registered.count)]]
    if endpoint.phase != .open { return }
    changed(endpoint, [[.readable], [.writable], [.readable, .writable]][random.next(below: 3)])
  }

  private func collectReports() {
    for index in listeners.indices {
      if listeners[index].lane == lane.number, let token = listeners[index].token,
        !listeners[index].queue.isEmpty
      {
        lane.batch.append(ReadinessEvent(token: token, readiness: .readable))
      }
    }
    if lane.ready.count > 1 { lane.ready.shuffle(using: &random) }
    var reported = 0
    while let number = lane.ready.last, reported < conditions.batchMax {
      lane.ready.removeLast()
      let endpoint = endpoints[number]
      if endpoint.pending.isEmpty { continue }
      guard endpoint.phase != .closed, let token = endpoint.token else { continue }
      var readiness = endpoint.pending
      if !random.chance(conditions.bareReports, in: 256) {
        readiness.formUnion(state(of: endpoint))
      }
      endpoint.pending = []
      noteUnasked(endpoint)
      lane.batch.append(ReadinessEvent(token: token, readiness: readiness))
      note("report \(socketName(endpoint)) \(readiness.rawValue)")
      mark(number)
      reported += 1
    }
    if lane.batch.count > 1 { lane.batch.shuffle(using: &random) }
  }

  /// The worker is told that there are bytes: if nobody asked for them, it must see that.
  private func noteUnasked(_ endpoint: SimulatedEndpoint) {
    if hasUnaskedBytes(endpoint) { endpoint.isSpoiled = true }
  }

  private func hasUnaskedBytes(_ endpoint: SimulatedEndpoint) -> Bool {
    guard let unasked = endpoint.unasked else { return false }
    return endpoint.takenTotal + endpoint.arrivedCount > unasked.start
      && peer(of: endpoint).sentTotal == unasked.idleEnd
  }

  /// What epoll's mask would contain now.
  private func state(of endpoint: SimulatedEndpoint) -> Readiness {
    if endpoint.isBroken { return [.readable, .writable, .peerFinished, .failed] }
    if endpoint.phase == .connecting { return [] }
    var readiness: Readiness = []
    if endpoint.arrivedCount > 0 || endpoint.finishArrived { readiness.insert(.readable) }
    if endpoint.finishArrived { readiness.insert(.peerFinished) }
    if peer(of: endpoint).room > 0 { readiness.insert(.writable) }
    return readiness
  }

  // MARK: Registration

  func watch(listener: Socket, token: UInt64) {
    guard let index = listenerIndex(listener) else { return }
    listeners[index].token = token
    moves += 1
  }

  func unwatch(listener: Socket) {
    guard let index = listenerIndex(listener) else { return }
    listeners[index].token = nil
    moves += 1
  }

  func register(_ socket: Socket, token: UInt64) {
    guard let endpoint = endpoint(of: socket, "register") else { return }
    if endpoint.token != nil { fault("registered twice: \(socketName(endpoint))") }
    enlist(endpoint, token)
    rearm(endpoint)
  }

  func reregister(_ socket: Socket, token: UInt64) {
    guard let endpoint = endpoint(of: socket, "reregister") else { return }
    if endpoint.token == nil { fault("reregistered before registered: \(socketName(endpoint))") }
    endpoint.token = token
    moves += 1
    rearm(endpoint)
  }

  private func enlist(_ endpoint: SimulatedEndpoint, _ token: UInt64) {
    endpoint.token = token
    endpoint.lane = lane.number
    endpoint.registeredIndex = lane.registered.count
    lane.registered.append(endpoint.number)
    moves += 1
  }

  private func rearm(_ endpoint: SimulatedEndpoint) {
    let state = state(of: endpoint)
    if !state.isEmpty { changed(endpoint, state) }
  }

  // MARK: Connections

  func accept(from listener: Socket) -> AcceptResult {
    countCall()
    guard let index = listenerIndex(listener) else { return .failed(SystemError(code: EBADF)) }
    if listeners[index].queue.isEmpty { return .wouldBlock }
    if isExhausted() { return .exhausted }
    let endpoint = endpoints[listeners[index].queue.removeFirst()]
    if endpoint.isBroken || random.chance(conditions.abortedAccepts, in: 256) {
      if random.chance(1, in: 2) || !endpoint.isBroken {
        hangUp(endpoint, reset: true)
        return .failed(SystemError(code: ECONNABORTED))
      }
    }
    openSocket()
    endpoint.lane = lane.number
    mark(endpoint.number)
    note("accept \(socketName(endpoint))")
    return .accepted(socket(of: endpoint), peer: endpoint.peerAddress)
  }

  func connect(to address: SocketAddress, token: UInt64) -> ConnectResult {
    countCall()
    if isExhausted() {
      failedDials.append(now)
      return .failed(SystemError(code: EMFILE))
    }
    let (workers, _) = makeConnection(actor: nil, isDialledByWorker: true)
    workers.peerAddress = address
    openSocket()
    enlist(workers, token)
    schedule(.dial(workers.number), after: conditions.drawLatency(&random))
    note("dial \(socketName(workers)) to \(address)")
    mark(workers.number)
    return .started(socket(of: workers))
  }

  /// No peer here goes silent for so long.
  func keepAlive(_ socket: Socket, _ probes: TCPKeepAlive) {}

  func connectionResult(of socket: Socket) -> SystemError? {
    guard let endpoint = endpoint(of: socket, "connectionResult") else {
      return SystemError(code: EBADF)
    }
    if endpoint.phase == .connecting && !endpoint.isBroken {
      fault("connectionResult before the first report: \(socketName(endpoint))")
    }
    return takeError(of: endpoint)
  }

  func close(_ socket: Socket, reset: Bool) {
    if let index = listeners.indices.first(where: { Int32($0) + 3 == socket.descriptor }) {
      closeListener(index)
      return
    }
    guard let endpoint = endpoint(of: socket, "close") else { return }
    note("close \(socketName(endpoint))\(reset ? " with a reset" : "")")
    mark(endpoint.number)
    endpoint.whenClosed?()
    if endpoint.registeredIndex >= 0 {
      let last = lane.registered.removeLast()
      if last != endpoint.number {
        lane.registered[endpoint.registeredIndex] = last
        endpoints[last].registeredIndex = endpoint.registeredIndex
      }
    }
    endpoint.token = nil
    endpoint.pending = []
    openSocketCount -= 1
    hangUp(endpoint, reset: reset)
  }

  func shutdownSending(_ socket: Socket) {
    guard let endpoint = endpoint(of: socket, "shutdownSending") else { return }
    note("finish \(socketName(endpoint))")
    if endpoint.isBroken || endpoint.phase == .connecting { return }
    sendFinish(from: endpoint)
  }

  /// From which workers connect.
  static let workersHost = IPAddress(v4: 0x0A09_0001)

  func localAddress(of socket: Socket) -> SocketAddress? {
    let number = Int(socket.descriptor - Self.firstDescriptor)
    guard endpoints.indices.contains(number) else { return nil }
    let endpoint = endpoints[number]
    if endpoint.actor == nil && endpoints[endpoint.peerNumber].peerAddress.port == 0 {
      return .ip(Self.workersHost, port: UInt16(1_024 + number % 60_000))
    }
    return endpoints[endpoint.peerNumber].peerAddress
  }

  // MARK: Bytes

  func receive(from socket: Socket, into output: inout OutputSpan<UInt8>) -> ReceiveResult {
    guard let endpoint = endpoint(of: socket, "receive") else {
      return .failed(SystemError(code: EBADF))
    }
    if output.freeCapacity == 0 {
      fault("receive without room: \(socketName(endpoint))")
      return .wouldBlock
    }
    if endpoint.arrivedCount == 0 { return endOfBytes(endpoint) }
    var count = min(endpoint.arrivedCount, output.freeCapacity)
    if count > 1 && random.chance(conditions.partialCounts, in: 256) {
      // As if the rest had arrived after this call: so it is reported again.
      count = 1 + random.skewed(upTo: count - 2)
      endpoint.isSpoiled = false
      changed(endpoint, .readable)
    }
    copy(count, from: endpoint.bytes, to: &output)
    took(count, from: endpoint)
    note("receive \(socketName(endpoint)) \(count)")
    mark(count)
    return .received(count)
  }

  private func endOfBytes(_ endpoint: SimulatedEndpoint) -> ReceiveResult {
    if let error = takeError(of: endpoint) { return .failed(error) }
    // After its report an error becomes an end, as on Linux: code that only uses receive to tell a
    // reset from a clean end is wrong.
    if endpoint.finishArrived || endpoint.isBroken { return .finished }
    return .wouldBlock
  }

  func isQuiet(_ socket: Socket) -> Bool {
    guard let endpoint = endpoint(of: socket, "isQuiet") else { return false }
    return endpoint.isConnected && endpoint.arrivedCount == 0 && !endpoint.finishArrived
  }

  func send(to socket: Socket, _ first: Span<UInt8>, _ second: Span<UInt8>) -> SendResult {
    guard let endpoint = endpoint(of: socket, "send") else {
      return .failed(SystemError(code: EBADF))
    }
    let offered = first.count + second.count
    if offered == 0 {
      fault("send of nothing: \(socketName(endpoint))")
      return .wouldBlock
    }
    if let error = takeError(of: endpoint) { return .failed(error) }
    if endpoint.isBroken { return .failed(SystemError(code: EPIPE)) }
    if endpoint.hasSentFinish {
      fault("send after shutdownSending: \(socketName(endpoint))")
      return .failed(SystemError(code: EPIPE))
    }
    if endpoint.phase == .connecting { return .wouldBlock }
    let target = peer(of: endpoint)
    if endpoint.isSpoiled { fault("a request over \(socketName(endpoint)), which was not quiet") }
    if hasUnaskedBytes(endpoint) { endpoint.wasDoubtful = true }
    var count = min(offered, target.room)
    if count == 0 {
      target.senderIsStarved = true
      return .wouldBlock
    }
    if count < offered {
      target.senderIsStarved = true
    } else if count > 1 && random.chance(conditions.partialCounts, in: 256) {
      // As if the socket had been full and had room again right after.
      count = 1 + random.skewed(upTo: count - 2)
      schedule(.room(endpoint.number), after: conditions.drawLatency(&random))
    }
    let head = min(count, first.count)
    target.noteSending(at: now)
    transmit(first.extracting(first: head), to: target)
    transmit(second.extracting(first: count - head), to: target)
    note("send \(socketName(endpoint)) \(count) of \(offered)")
    mark(count)
    return .sent(count)
  }

  /// The bytes in flight, since the peer's kernel acknowledges what has arrived.
  func unacknowledgedByteCount(of socket: Socket) -> Int {
    guard let endpoint = endpoint(of: socket, "unacknowledgedByteCount") else { return 0 }
    let target = peer(of: endpoint)
    return target.bytes.count - target.arrivedCount
  }

  // MARK: Descriptors

  func socket(of endpoint: SimulatedEndpoint) -> Socket {
    Socket(descriptor: Self.firstDescriptor + Int32(endpoint.number))
  }

  /// For messages, such as `socket 1004`.
  func socketName(_ endpoint: SimulatedEndpoint) -> String {
    "socket \(Int(Self.firstDescriptor) + endpoint.number)"
  }

  private func endpoint(of socket: Socket, _ call: StaticString) -> SimulatedEndpoint? {
    countCall()
    let number = Int(socket.descriptor - Self.firstDescriptor)
    guard endpoints.indices.contains(number), endpoints[number].isWorkers else {
      fault("\(call) of descriptor \(socket.descriptor), which was never the worker's")
      return nil
    }
    if endpoints[number].phase == .closed {
      fault("\(call) of socket \(socket.descriptor), which is closed")
      return nil
    }
    if endpoints[number].lane != lane.number {
      fault("\(call) of socket \(socket.descriptor), which is another worker's")
    }
    return endpoints[number]
  }

  private func listenerIndex(_ socket: Socket) -> Int? {
    let index = Int(socket.descriptor) - 3
    guard listeners.indices.contains(index), !listeners[index].isClosed else {
      fault("descriptor \(socket.descriptor) is no open listener")
      return nil
    }
    return index
  }

  /// The kernel reports an error once, to the first call that asks.
  private func takeError(of endpoint: SimulatedEndpoint) -> SystemError? {
    guard let code = endpoint.error else { return nil }
    endpoint.error = nil
    moves += 1
    return SystemError(code: code)
  }

  private func openSocket() {
    openSocketCount += 1
    openSocketPeak = max(openSocketPeak, openSocketCount)
    moves += 1
  }

  private func isExhausted() -> Bool {
    if now < exhaustedUntil { return true }
    if !random.chance(conditions.exhaustion, in: 4096) { return false }
    exhaustedUntil = now + .milliseconds(Int64(random.next(below: 300)))
    note("no descriptor is left for a while")
    return true
  }

  private func countCall() {
    lane.watch.callsInTurn += 1
    precondition(lane.watch.callsInTurn < Self.callMax, "the worker spins within one turn")
  }
}

/// Appends the first `count` bytes of `source`.
private func copy(
  _ count: Int, from source: borrowing ByteBuffer, to output: inout OutputSpan<UInt8>
) {
  let bytes = source.bytes
  bytes.withUnsafeBufferPointer { source in
    output.withUnsafeMutableBufferPointer { buffer, filled in
      guard let start = buffer.baseAddress, let from = source.baseAddress else { return }
      memcpy(start + filled, from, count)
      filled += count
    }
  }
}
