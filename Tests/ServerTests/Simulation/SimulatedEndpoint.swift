// One end of a simulated connection, with the bytes on their way to it.
//
// Two endpoints are a connection: what one sends is in the other's queue, first in flight, then
// arrived. An end belongs to the worker, for which it is a Socket, or to an actor.

import Primitives
import Reactor

final class SimulatedEndpoint {
  enum Phase: Equatable {
    /// Connecting, without a result.
    case connecting
    case open
    /// Closed by its owner; bytes that still arrive are answered by a reset.
    case closed
  }

  /// An element that travels to an endpoint, in order.
  enum Parcel {
    case bytes(Int)
    case finish
    /// With `discarding`, it overtakes and destroys everything unread.
    case reset(discarding: Bool)
  }

  let number: Int
  let peerNumber: Int
  let isWorkers: Bool
  /// The owner of an actor's end. It stays after closing, to be told of unread bytes.
  var actor: SimulatedActor?
  @exclusivity(unchecked) var phase: Phase

  /// Arrived bytes, then those in flight.
  @exclusivity(unchecked) var bytes = ByteBuffer()
  @exclusivity(unchecked) var arrivedCount = 0
  let capacity: Int
  @exclusivity(unchecked) private var flight: [(arrival: Instant, parcel: Parcel)] = []
  @exclusivity(unchecked) private var flightStart = 0
  @exclusivity(unchecked) var lastArrival = Instant.origin

  /// Whether the connect has reached the other side, which accepted it.
  var dialArrived = false
  @exclusivity(unchecked) var hasSentFinish = false
  @exclusivity(unchecked) var finishArrived = false
  /// Whether a reset arrived or the connect failed.
  @exclusivity(unchecked) var isBroken = false
  /// The error, until it was reported: the kernel reports it once, and then an end.
  var error: Int32?
  /// Nothing arrives here any more, and the peer isn't told.
  @exclusivity(unchecked) var isCut = false
  /// Whether the peer found no room and waits for it.
  @exclusivity(unchecked) var senderIsStarved = false

  /// Whether its owner closed it with a reset.
  var hasSentReset = false

  /// When it connected, and for a backend's end: when the worker sent each byte.
  var dialledAt = Instant.origin
  @exclusivity(unchecked) private var sendings: [(offset: Int, time: Instant)] = []
  /// Of a worker's end: up to where it had read, and when.
  @exclusivity(unchecked) private var takings: [(end: Int, time: Instant)] = []

  /// When a reset arrived.
  var brokenAt = Instant.never
  /// Of a worker's end: what is called before the worker closes it.
  var whenClosed: (() -> Void)?

  /// When its owner last read a byte, and when it closed it.
  @exclusivity(unchecked) var takenAt = Instant.origin
  var closedAt = Instant.never

  /// All bytes ever sent to this endpoint, and those that its owner has read.
  @exclusivity(unchecked) var sentTotal = 0
  @exclusivity(unchecked) var takenTotal = 0

  /// Bytes that a backend sent although nobody had asked.
  struct Unasked {
    /// Where in the stream to the worker they begin.
    let start: Int
    /// Where in the stream to the backend the next request would begin.
    let idleEnd: Int
    /// If they are a response.
    let status: Int?
  }

  // Only for the worker's ends:
  var unasked: Unasked?
  /// Unasked bytes were reported before the next request, which must use another connection.
  var isSpoiled = false
  /// Unasked bytes had arrived, but were not reported, when the next request was sent.
  var wasDoubtful = false
  @exclusivity(unchecked) var token: UInt64?
  @exclusivity(unchecked) var pending: Readiness = []
  var registeredIndex = -1
  var lane = 0
  var peerAddress = SocketAddress.ip(.loopbackV4, port: 0)

  init(
    number: Int, peerNumber: Int, isWorkers: Bool, actor: SimulatedActor?, phase: Phase,
    capacity: Int
  ) {
    self.number = number
    self.peerNumber = peerNumber
    self.isWorkers = isWorkers
    self.actor = actor
    self.phase = phase
    self.capacity = capacity
  }

  /// How many more bytes the peer may send now.
  var room: Int { max(0, capacity - bytes.count) }

  var isConnected: Bool { phase == .open && !isBroken }

  /// Records that the worker sends the byte at `sentTotal` now.
  func noteSending(at now: Instant) {
    if sendings.last?.time != now { sendings.append((sentTotal, now)) }
  }

  /// When the worker last sent a byte before this time.
  func lastSendingTime(before end: Instant) -> Instant? { sendings.last { $0.time < end }?.time }

  /// When the byte at `offset` was sent.
  func sendingTime(of offset: Int) -> Instant {
    sendings.last { $0.offset <= offset }?.time ?? dialledAt
  }

  /// Records that the worker has read up to `takenTotal` now.
  func noteTaking(at now: Instant) { takings.append((takenTotal, now)) }

  /// When the worker read the byte at `offset`; never if it didn't.
  func takingTime(of offset: Int) -> Instant {
    takings.first { $0.end > offset }?.time ?? .never
  }

  func dispatch(_ parcel: Parcel, arriving time: Instant) {
    flight.append((time, parcel))
  }

  func nextParcel(at now: Instant) -> Parcel? {
    guard flightStart < flight.count, flight[flightStart].arrival <= now else { return nil }
    let parcel = flight[flightStart].parcel
    flightStart += 1
    if flightStart == flight.count {
      flight.removeAll(keepingCapacity: true)
      flightStart = 0
    }
    return parcel
  }

  /// Destroys all unread bytes and tells the actor, whose audit needs all of them.
  func discardBytes() {
    if !bytes.isEmpty { actor?.discarded(bytes.bytes) }
    bytes = ByteBuffer()
    arrivedCount = 0
    flight.removeAll()
    flightStart = 0
  }
}

/// An actor of the scripted world: it runs when something has changed, or at the time it asked for.
class SimulatedActor {
  unowned let network: SimulatedNetwork
  let number: Int
  /// When it runs next, if planned; an event for another time is stale.
  var nextAct: Instant?

  init(network: SimulatedNetwork) {
    self.network = network
    number = network.actors.count
    network.actors.append(self)
  }

  func act() {}

  /// Bytes that the worker sent to this actor and that were lost, in order.
  func discarded(_ bytes: Span<UInt8>) {}

  /// Asks to run after `delay`, unless it will run earlier anyway.
  final func wake(after delay: TimeSpan) {
    let time = network.now + delay
    if let nextAct, nextAct <= time { return }
    nextAct = time
    network.schedule(.act(number), at: time)
  }
}

/// A listener to which the worker connects.
class SimulatedService {
  enum DialOutcome {
    /// With the actor that owns the end from now on.
    case accepted(SimulatedActor)
    case refused
    /// The connect is never answered.
    case swallowed
  }

  func dialled(by endpoint: SimulatedEndpoint) -> DialOutcome { .refused }
}
