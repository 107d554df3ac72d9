// The simulated network for actors: connecting to the worker, accepting its connects, and plain
// level-triggered reads and writes. Actors need no edges: they run whenever something has changed.

import Glibc
import Primitives
import Reactor

extension SimulatedNetwork {
  // MARK: The worker's listeners, and the services to which it connects

  /// Opens a listening socket for a worker.
  func listen(on address: SocketAddress, lane: Int = 0) -> Socket {
    listeners.append(SimulatedListener(address: address, lane: lane))
    return Socket(descriptor: Int32(listeners.count - 1) + 3)
  }

  func closeListener(_ index: Int) {
    if listeners[index].isClosed { fault("a listener is closed twice") }
    listeners[index].isClosed = true
    listeners[index].token = nil
    for number in listeners[index].queue { hangUp(endpoints[number], reset: true) }
    listeners[index].queue = []
  }

  func dialService(from workers: SimulatedEndpoint) {
    if workers.phase != .connecting { return }
    let back = conditions.drawLatency(&random)
    let other = peer(of: workers)
    switch services[workers.peerAddress]?.dialled(by: other) ?? .refused {
    case .accepted(let actor):
      other.actor = actor
      workers.dialArrived = true
      workers.lastArrival = now + back
      schedule(.establishment(workers.number), after: back)
      actor.wake(after: .zero)
    case .refused:
      schedule(.dialFailure(workers.number, ECONNREFUSED), after: back)
    case .swallowed:
      // The kernel times out after about two minutes.
      schedule(.dialFailure(workers.number, ETIMEDOUT), after: .seconds(127))
    }
  }

  // MARK: Clients

  /// Connects to the worker's listener; the actor runs when there is a result.
  func dial(
    _ listener: Int, by actor: SimulatedActor, from address: SocketAddress
  ) -> SimulatedEndpoint {
    dial(listeners[listener].address, by: actor, from: address)
  }

  /// Connects to this address, where perhaps nobody listens.
  func dial(
    _ listener: SocketAddress, by actor: SimulatedActor, from address: SocketAddress
  ) -> SimulatedEndpoint {
    let (workers, other) = makeConnection(actor: actor, isDialledByWorker: false)
    workers.peerAddress = address
    other.peerAddress = listener
    schedule(.dial(other.number), after: conditions.drawLatency(&random))
    return other
  }

  func dialListener(from other: SimulatedEndpoint) {
    let back = conditions.drawLatency(&random)
    let open = listeners.indices.filter {
      listeners[$0].address == other.peerAddress && !listeners[$0].isClosed
    }
    guard !open.isEmpty, other.phase == .connecting else {
      schedule(.dialFailure(other.number, ECONNREFUSED), after: back)
      return
    }
    let listener = open.count == 1 ? open[0] : random.pick(open)
    other.dialArrived = true
    other.lastArrival = now + back
    schedule(.establishment(other.number), after: back)
    listeners[listener].queue.append(other.peerNumber)
  }

  // MARK: Bytes

  enum ActorRead: Equatable {
    case bytes(Int)
    case nothingYet
    case finished
    case broken
  }

  /// Appends at most `limit` arrived bytes to `buffer`.
  func read(
    _ endpoint: SimulatedEndpoint, into buffer: inout ByteBuffer, limit: Int
  ) -> ActorRead {
    precondition(endpoint.phase != .closed, "an actor reads after it closed")
    let count = min(limit, endpoint.arrivedCount)
    if count > 0 {
      buffer.append(endpoint.bytes.bytes.extracting(first: count))
      took(count, from: endpoint)
      return .bytes(count)
    }
    if endpoint.isBroken { return .broken }
    return endpoint.finishArrived ? .finished : .nothingYet
  }

  /// Sends as many of `bytes` as there is room for and returns how many; the actor runs when there
  /// is room again. With `asOne` it sends everything in one segment or nothing.
  func write(_ bytes: Span<UInt8>, from endpoint: SimulatedEndpoint, asOne: Bool = false) -> Int {
    precondition(endpoint.phase != .closed, "an actor writes after it closed")
    if endpoint.isBroken || endpoint.phase == .connecting { return 0 }
    let target = peer(of: endpoint)
    let count = min(bytes.count, target.room)
    if asOne && count < bytes.count { return 0 }
    if count < bytes.count { target.senderIsStarved = true }
    transmit(bytes.extracting(first: count), to: target, asOne: asOne)
    return count
  }

  /// The link breaks silently: neither side hears from the other again.
  func cut(_ endpoint: SimulatedEndpoint) {
    let other = peer(of: endpoint)
    endpoint.isCut = true
    other.isCut = true
    endpoint.phase = .closed
    note("endpoint \(endpoint.number) is cut off")
  }

  /// Passes bytes that no actor will read to the actors' audits, at the end of a run.
  func discardUnreadBytes() {
    for endpoint in endpoints where !endpoint.isWorkers { endpoint.discardBytes() }
  }
}
