// The process as a whole: starts the workers, and then does what signals and time ask for.
//
// This is the control thread. It may block, lock and allocate; workers never wait for it. Whatever
// it wants of them goes through their inboxes, and what concerns it comes through its own: signals,
// looked-up names, workers that have finished.

import Balancing
public import Configuration
public import Logging
import Metrics
import Primitives
import Reactor
import TLS

/// A running Martlet.
public final class Server {
  /// How the caller wants the server to run.
  public struct Options {
    public var configuration: Configuration
    /// Reads the configuration anew at SIGHUP; nil when it is not valid, after having said so.
    public var reload: () -> Configuration?
    /// Called once when everything listens, with the addresses and the names of the listeners.
    public var started: ([ListeningAddress]) -> Void
    public var logger: Logger

    public init(
      configuration: Configuration, logger: Logger, reload: @escaping () -> Configuration?,
      started: @escaping ([ListeningAddress]) -> Void
    ) {
      self.configuration = configuration
      self.logger = logger
      self.reload = reload
      self.started = started
    }
  }

  /// Where a listener listens, with the port that the kernel chose if 0 was asked for.
  public struct ListeningAddress: Sendable {
    public let listener: String
    public let address: String
    public let isTLS: Bool
  }

  /// Serves until a signal ends it. Returns whether all exchanges could be finished.
  public static func run(_ options: Options) throws(ServerFailure) -> Bool {
    let server = try Server(options)
    try server.start()
    return server.control()
  }

  // MARK: Parts

  private let options: Options
  private let logger: Logger
  private var configuration: Configuration
  private let builder: SnapshotBuilder
  private var snapshot: Snapshot
  private let names = NameTable()
  private let inbox: Inbox<ControlMessage>
  private var workers: [RunningWorker] = []
  private var listening: [ListeningPlace: ListeningSockets] = [:]
  private var log: AccessLogWriter?
  private var rotatesTicketsAt = Instant.never
  /// Threads that only wait, and end with the process.
  private var waiting: [Thread] = []

  private struct RunningWorker {
    let inbox: Inbox<WorkerMessage>
    let metrics: WorkerMetrics
    let thread: Thread
  }

  private enum ControlMessage: Sendable {
    case signal(Signal)
    case resolved(changed: Set<String>)
    case workerFinished
  }

  private init(_ options: Options) throws(ServerFailure) {
    self.options = options
    logger = options.logger
    configuration = options.configuration
    do throws(SystemError) {
      inbox = try Inbox()
    } catch {
      throw ServerFailure("can't start: \(error)")
    }
    let keys: TicketKeys
    do throws(TLSFailure) {
      keys = try TicketKeys()
    } catch {
      throw ServerFailure("can't make ticket keys: \(error)")
    }
    builder = SnapshotBuilder(
      ticketKeys: keys,
      workerCount: options.configuration.workers ?? ProcessorCount.available)
    snapshot = Snapshot(settings: Settings(), listeners: [], pools: [])
  }

  // MARK: Start

  private func start() throws(ServerFailure) {
    Signals.block()
    let descriptors = DescriptorLimit.raise()
    if configuration.limits.connections * 2 > descriptors {
      logger.warning(
        """
        limits.connections is \(configuration.limits.connections), and each takes up to two file \
        descriptors, but only \(descriptors) are allowed (ulimit -n)
        """)
    }
    resolveNames(configuration)
    snapshot = try build(configuration)
    let opened = try open(configuration)
    listening = opened
    try startLog()
    for index in 0..<builder.workerCount { try startWorker(index) }
    try watchSignals()
    try watchNames()
    scheduleTicketRotation()
    options.started(
      configuration.listeners.flatMap { listener in
        listener.addresses.compactMap { address in
          opened[ListeningPlace(address, of: listener)].map {
            ListeningAddress(
              listener: listener.name, address: "\($0.address)", isTLS: listener.tls != nil)
          }
        }
      })
  }

  /// A snapshot of `configuration`, with everything said that is to be said about certificates.
  private func build(_ configuration: Configuration) throws(ServerFailure) -> Snapshot {
    let certificates = try configuration.loadCertificates()
    for message in certificates.report.outOfDate { logger.error("\(message)") }
    for message in certificates.report.warnings { logger.warning("\(message)") }
    for listener in configuration.listeners {
      guard let files = listener.tls?.tickets?.keyFiles, !files.isEmpty else { continue }
      try readTicketKeys(files)
    }
    return try builder.build(
      configuration, certificates: certificates.byListener, names: names)
  }

  /// Opens what isn't open yet. An address of a listener that has several may be missing on this
  /// machine, such as ::1 in a container, as long as another can be had.
  private func open(
    _ configuration: Configuration
  ) throws(ServerFailure) -> [ListeningPlace: ListeningSockets] {
    var opened: [ListeningPlace: ListeningSockets] = [:]
    var problems: [String] = []
    for listener in configuration.listeners {
      var failures: [String] = []
      var count = 0
      for address in listener.addresses {
        let place = ListeningPlace(address, of: listener)
        if let known = listening[place] {
          opened[place] = known
          count += 1
          continue
        }
        do throws(SystemError) {
          opened[place] = try ListeningSockets.open(
            on: address, count: builder.workerCount, backlog: Int32(clamping: listener.backlog))
          count += 1
        } catch {
          let isMissing = error == .addressNotAvailable || error == .familyNotSupported
          let message = "can't listen on \(address) (listener \(listener.name)): \(error)"
          if isMissing && listener.addresses.count > 1 {
            failures.append(message)
          } else {
            problems.append(message)
          }
        }
      }
      if count == 0 { problems += failures }
    }
    if problems.isEmpty { return opened }
    for (place, sockets) in opened where listening[place] == nil { sockets.close() }
    throw ServerFailure(problems)
  }

  private func startLog() throws(ServerFailure) {
    guard configuration.log.access != .off else { return }
    let target = OutputTarget(configuration.log.target)
    do throws(SystemError) {
      log = try AccessLogWriter(target: target, producerCount: builder.workerCount) {
        [logger] event in
        switch event {
        case .failed(let error):
          logger.error("the access log can't be written; lines will be dropped: \(error)")
        case .recovered:
          logger.notice("the access log can be written again")
        case .reopenFailed(let error):
          logger.error("the access log can't be opened anew: \(error)")
        }
      }
    } catch {
      throw ServerFailure("can't open the access log \(configuration.log.target): \(error)")
    }
  }

  private func startWorker(_ index: Int) throws(ServerFailure) {
    do throws(SystemError) {
      let inbox = try Inbox<WorkerMessage>()
      let metrics = WorkerMetrics()
      let start = WorkerStart(
        index: index, snapshot: snapshot, inbox: inbox, metrics: metrics,
        events: EventLog(logger: logger), format: AccessLog.Format(configuration.log.access),
        producer: log?.producer(index))
      let control = self.inbox
      inbox.post(.install(snapshot, listeners: assignments(worker: index)))
      let thread = try Thread(name: "worker-\(index)") {
        start.run()
        control.post(.workerFinished)
      }
      workers.append(RunningWorker(inbox: inbox, metrics: metrics, thread: thread))
    } catch {
      throw ServerFailure("can't start worker \(index): \(error)")
    }
  }

  private func assignments(worker index: Int) -> [ListenerAssignment] {
    var assignments: [ListenerAssignment] = []
    for (position, listener) in configuration.listeners.enumerated() {
      for address in listener.addresses {
        let place = ListeningPlace(address, of: listener)
        guard let sockets = listening[place]?.sockets else { continue }
        assignments.append(ListenerAssignment(socket: sockets[index], listener: position))
      }
    }
    return assignments
  }

  // MARK: Control

  /// Waits for what is to be done, until the workers have finished.
  private func control() -> Bool {
    var finished = 0
    var endsAt = Instant.never
    var isDraining = false
    while finished < workers.count {
      let now = SystemClock.monotonic()
      let next = min(rotatesTicketsAt, endsAt)
      for message in inbox.wait(atMost: next == .never ? nil : max(.zero, next - now)) {
        switch message {
        case .signal(.terminate), .signal(.interrupt):
          if isDraining {
            logger.notice("a second signal: ending at once")
            for worker in workers { worker.inbox.post(.stop) }
          } else {
            isDraining = true
            endsAt = SystemClock.monotonic() + configuration.limits.lameDuck
            logger.notice("draining: exchanges in progress are finished, then Martlet ends")
          }
        case .signal(.hangUp):
          if !isDraining { reload() }
        case .signal(.user1):
          log?.reopen()
        case .signal(.user2):
          break
        case .resolved(let changed):
          republish(changed)
        case .workerFinished:
          finished += 1
        }
      }
      let then = SystemClock.monotonic()
      if then >= endsAt {
        endsAt = .never
        for worker in workers { worker.inbox.post(.drain(limit: configuration.limits.drain)) }
      }
      if then >= rotatesTicketsAt { rotateTickets() }
    }
    for worker in workers { worker.thread.join() }
    log?.stop()
    let total = MetricsSnapshot(of: workers.map(\.metrics))
    let dropped = total[.accessLogLinesDropped]
    if dropped > 0 { logger.warning("\(dropped) lines of the access log were dropped") }
    logger.notice("ended after \(total[.requests]) requests")
    return total[.exchangesCut] == 0
  }

  private func watchSignals() throws(ServerFailure) {
    let inbox = self.inbox
    try startWaiting("signals") {
      while true { inbox.post(.signal(Signals.wait())) }
    }
  }

  private func startWaiting(
    _ name: String, _ body: @escaping @Sendable () -> Void
  ) throws(ServerFailure) {
    do throws(SystemError) {
      waiting.append(try Thread(name: name, body))
    } catch {
      throw ServerFailure("can't start the thread \(name): \(error)")
    }
  }

  // MARK: Reload

  private func reload() {
    guard let fresh = options.reload() else {
      logger.error("the new configuration is refused; the old one stays in force")
      return
    }
    let previous = listening
    do throws(ServerFailure) {
      resolveNames(fresh)
      let snapshot = try build(fresh)
      listening = try open(fresh)
      configuration = fresh
      self.snapshot = snapshot
    } catch {
      listening = previous
      names.watch(configuration)
      for message in error.messages { logger.error("\(message)") }
      logger.error("the new configuration is refused; the old one stays in force")
      return
    }
    if fresh.workers != nil && fresh.workers != workers.count {
      logger.warning("the number of workers stays \(workers.count) until a restart")
    }
    if fresh.log.access != .off { log?.reopen(OutputTarget(fresh.log.target)) }
    for (index, worker) in workers.enumerated() {
      worker.inbox.post(.install(snapshot, listeners: assignments(worker: index)))
    }
    scheduleTicketRotation()
    logger.notice("the new configuration is in force")
  }

  // MARK: Names

  private func resolveNames(_ configuration: Configuration) {
    names.watch(configuration)
    _ = names.refresh { logger.error("can't look up a backend: \($0)") }
  }

  private func watchNames() throws(ServerFailure) {
    try startWaiting("resolver") { [names, inbox, logger] in
      guard let pause = try? WakeUp() else { return }
      while true {
        pause.wait(atMost: names.interval)
        let changed = names.refresh { logger.warning("can't look up a backend: \($0)") }
        if !changed.isEmpty { inbox.post(.resolved(changed: changed)) }
      }
    }
  }

  private func republish(_ changed: Set<String>) {
    for (index, pool) in configuration.pools.enumerated()
    where !pool.names.isDisjoint(with: changed) {
      snapshot.pools[index].pool.publish(builder.members(of: pool, names))
    }
    workers.first?.inbox.post(.membershipChanged)
    let list = changed.sorted().joined(separator: ", ")
    logger.notice("names of backends have new addresses: \(list)")
  }

  // MARK: Ticket keys

  private func readTicketKeys(_ files: [String]) throws(ServerFailure) {
    var secrets: [[UInt8]] = []
    for file in files {
      do throws(SystemError) {
        secrets.append(try File.read(file, limit: 4096))
      } catch {
        throw ServerFailure("ticket key \(file): \(error)")
      }
    }
    guard builder.ticketKeys.replace(secrets: secrets) else {
      throw ServerFailure(
        "ticket keys \(files.joined(separator: ", ")): each must be 48 or 80 bytes long")
    }
  }

  private func scheduleTicketRotation() {
    let intervals = configuration.listeners.compactMap { $0.tls?.tickets?.rotation }
    rotatesTicketsAt = intervals.min().map { SystemClock.monotonic() + $0 } ?? .never
  }

  private func rotateTickets() {
    scheduleTicketRotation()
    do throws(TLSFailure) {
      try builder.ticketKeys.rotate()
    } catch {
      logger.error("can't make a new ticket key: \(error)")
    }
  }
}

/// An address to listen on, by which its sockets are found again at a reload. Where the kernel
/// chooses the port, the same address stands for another place with each listener.
private struct ListeningPlace: Hashable {
  let address: SocketAddress
  private let chooser: String?

  init(_ address: SocketAddress, of listener: Configuration.Listener) {
    self.address = address
    if case .ip(_, port: 0) = address { chooser = listener.name } else { chooser = nil }
  }
}

/// What a worker's thread begins with.
private struct WorkerStart: Sendable {
  let index: Int
  let snapshot: Snapshot
  let inbox: Inbox<WorkerMessage>
  let metrics: WorkerMetrics
  let events: EventLog
  let format: AccessLog.Format
  let producer: AccessLogWriter.Producer?

  /// The only place that names the worker with its I/O: see Worker.swift.
  func run() {
    guard let io = try? EpollIO(wakeUp: inbox.wakeUp) else { return }
    var worker = Worker<EpollIO>(
      index: index, io: io, seed: randomSeed(), snapshot: snapshot, inbox: inbox,
      metrics: metrics, events: events,
      log: AccessLog(format: format, producer: producer, metrics: metrics))
    while !worker.isFinished { worker.turn() }
  }
}

extension OutputTarget {
  fileprivate init(_ target: Configuration.Log.Target) {
    self =
      switch target {
      case .stdout: .standardOutput
      case .stderr: .standardError
      case .file(let path): .file(path: path)
      }
  }
}

extension AccessLog.Format {
  fileprivate init(_ format: Configuration.Log.Access) {
    self =
      switch format {
      case .json: .json
      case .text: .text
      case .off: .off
      }
  }
}
