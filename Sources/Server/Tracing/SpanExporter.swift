// The thread that sends spans to an OpenTelemetry collector: OTLP over HTTP, in JSON.
//
// Each worker appends whole spans to a ring of its own and never waits or rings a bell: the thread
// looks a few times a second, and sends what has gathered as one request. While the collector
// doesn't answer, spans wait in the rings; what doesn't fit any more is dropped, and counted by the
// worker. What a span looks like is SpanText's.

import Configuration
import Primitives
import Reactor
import Synchronization

final class SpanExporter: Sendable {
  /// What is worth a line in the process log. Each failure is told once, until it is over.
  enum Event: Equatable, Sendable {
    case failed(String)
    case recovered
  }

  /// What it goes by, but for what is sampled.
  struct Settings: Equatable, Sendable {
    let collector: Configuration.Collector
    let serviceName: String
    let version: String
  }

  let settings: Settings
  private let desk: Desk
  private let thread: Thread

  /// Some hundred spans for each worker.
  private static let ringByteCount = 256 * 1024

  /// Starts the thread; `report` is called on it.
  init(
    _ settings: Settings, producerCount: Int, report: @escaping @Sendable (Event) -> Void
  ) throws(SystemError) {
    let desk = Desk(
      wakeUp: try WakeUp(),
      rings: (0..<producerCount).map { _ in ByteRing(capacity: Self.ringByteCount) })
    self.settings = settings
    self.desk = desk
    thread = try Thread(name: "traces") {
      var loop = ExportLoop(desk: desk, settings: settings, report: report)
      loop.run()
    }
  }

  deinit { stop(atMost: .zero) }

  /// Appends spans, each a line of its own. False: they were dropped, and are to be counted. For
  /// worker `index` alone.
  func append(_ spans: Span<UInt8>, worker index: Int) -> Bool {
    index < desk.rings.count && desk.rings[index].append(spans)
  }

  /// Sends what was appended before this call and ends the thread, within `limit` or else behind
  /// the caller's back.
  func stop(atMost limit: TimeSpan) {
    desk.isStopping.store(true, ordering: .releasing)
    desk.wakeUp.signal()
    _ = thread.join(atMost: limit)
  }

  /// Spans that the collector took, and those that it refused or that were given up at the end.
  var sentCount: UInt64 { desk.sentCount.load(ordering: .relaxed) }
  var refusedCount: UInt64 { desk.refusedCount.load(ordering: .relaxed) }
}

/// What the thread shares with everyone else.
private final class Desk: Sendable {
  let rings: [ByteRing]
  let wakeUp: WakeUp
  let isStopping = Atomic<Bool>(false)
  let sentCount = Atomic<UInt64>(0)
  let refusedCount = Atomic<UInt64>(0)

  init(wakeUp: WakeUp, rings: [ByteRing]) {
    self.wakeUp = wakeUp
    self.rings = rings
  }
}

/// What the thread does.
private struct ExportLoop {
  private static let pause = TimeSpan.milliseconds(250)
  private static let retryInterval = TimeSpan.seconds(2)
  /// For each step of a request to the collector.
  private static let patience = TimeSpan.seconds(5)
  /// Collectors refuse bodies that are much larger.
  private static let batchByteCount = 1024 * 1024

  let desk: Desk
  let settings: SpanExporter.Settings
  let report: @Sendable (SpanExporter.Event) -> Void
  /// Spans on their way, with a comma and a line end between two.
  private var batch: [UInt8] = []
  private var batchCount: UInt64 = 0
  /// The ring to take from next.
  private var current = 0
  private var isFailing = false

  init(
    desk: Desk, settings: SpanExporter.Settings,
    report: @escaping @Sendable (SpanExporter.Event) -> Void
  ) {
    self.desk = desk
    self.settings = settings
    self.report = report
  }

  mutating func run() {
    while true {
      // Asked before the round, so that this round takes all that was appended before the stop.
      let isLast = desk.isStopping.load(ordering: .acquiring)
      repeat {
        gather()
        if !batch.isEmpty && !deliver() { break }
      } while batch.count >= Self.batchByteCount
      if isLast {
        if !batch.isEmpty { giveUp() }
        return
      }
      desk.wakeUp.wait(atMost: isFailing ? Self.retryInterval : Self.pause)
    }
  }

  /// Takes what is in the rings, ring by ring, until there is enough for a request.
  private mutating func gather() {
    for _ in desk.rings where batch.count < Self.batchByteCount {
      let ring = desk.rings[current]
      current = (current + 1) % desk.rings.count
      // What is there at one moment ends with a whole line.
      var left = ring.count
      while left > 0 {
        var piece: [UInt8] = []
        left -= ring.take(atMost: left) { bytes in
          for index in bytes.indices { piece.append(bytes[index]) }
          return bytes.count
        }
        for byte in piece {
          if byte == 0x0A {
            batch.append(0x2C)
            batchCount += 1
          }
          batch.append(byte)
        }
      }
    }
  }

  /// True when the batch is done with, one way or the other.
  private mutating func deliver() -> Bool {
    switch send() {
    case .success(200..<300):
      add(batchCount, to: desk.sentCount)
      if isFailing { report(.recovered) }
      isFailing = false
      clear()
      return true
    // What the collector may take another time (OTLP 1.3, retryable statuses).
    case .success(let status) where [429, 502, 503, 504].contains(status):
      return fail("it answers with \(status)", keeps: true)
    case .success(let status):
      return fail("it refuses spans with \(status)", keeps: false)
    case .failure(let failure):
      return fail(failure.message, keeps: true)
    }
  }

  private mutating func fail(_ message: String, keeps: Bool) -> Bool {
    if !isFailing { report(.failed(message)) }
    isFailing = true
    if !keeps { giveUp() }
    return false
  }

  private mutating func giveUp() {
    add(batchCount, to: desk.refusedCount)
    clear()
  }

  private mutating func clear() {
    batch.removeAll(keepingCapacity: true)
    batchCount = 0
  }

  /// Only this thread writes.
  private func add(_ count: UInt64, to counter: borrowing Atomic<UInt64>) {
    counter.store(counter.load(ordering: .relaxed) &+ count, ordering: .relaxed)
  }

  private func send() -> Result<UInt16, BlockingClient.Failure> {
    // Not the last comma and line end.
    let body = SpanText.envelope(
      batch.dropLast(2), service: settings.serviceName, version: settings.version)
    return Result { () throws(BlockingClient.Failure) in
      let client = BlockingClient(
        to: try address(), host: settings.collector.host, atMost: Self.patience)
      return try client.ask("POST", settings.collector.path, body: body).status
    }
  }

  private func address() throws(BlockingClient.Failure) -> SocketAddress {
    switch settings.collector.endpoint {
    case .address(let address): return address
    case .name(let name, let port):
      do throws(ResolverError) {
        return .ip(try Resolver.addresses(of: name)[0], port: port)
      } catch {
        throw BlockingClient.Failure(message: "\(error)")
      }
    }
  }
}
