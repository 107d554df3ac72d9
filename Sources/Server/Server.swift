// The process as a whole: starts the workers, and then does what signals and time ask for.
//
// This is the control thread. It may block, lock and allocate, and workers don't wait for it. It
// changes members, weights and operator states directly in Balancing; all else that it wants of
// workers goes through their inboxes. Its own inbox has signals, looked-up names, commands of the
// admin interface, reports of a successor, and workers that have finished.

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
    public var version: String
    /// The file that the configuration was read from, if there is one.
    public var file: String?
    /// Reads the configuration anew; says what is wrong with it if it isn't valid.
    public var reload: () -> Result<Configuration, RefusedConfiguration>
    /// What it would read if this text stood in the file.
    public var interpret: ([UInt8]) -> Result<Configuration, RefusedConfiguration>
    /// Called once when everything listens, with the addresses and the names of the listeners.
    public var started: ([ListeningAddress]) -> Void
    public var logger: Logger
    /// The destination of the logger.
    public var log: ProcessLog
    /// The running process to take over from, if there is one.
    public var predecessor: Predecessor?

    public init(
      configuration: Configuration, file: String?, version: String, logger: Logger,
      log: ProcessLog, predecessor: Predecessor? = nil,
      reload: @escaping () -> Result<Configuration, RefusedConfiguration>,
      interpret: @escaping ([UInt8]) -> Result<Configuration, RefusedConfiguration>,
      started: @escaping ([ListeningAddress]) -> Void
    ) {
      self.configuration = configuration
      self.file = file
      self.version = version
      self.logger = logger
      self.log = log
      self.predecessor = predecessor
      self.reload = reload
      self.interpret = interpret
      self.started = started
    }
  }

  /// Where a listener listens, with the port that the kernel chose if 0 was asked for.
  public struct ListeningAddress: Sendable {
    public let listener: String
    public let address: String
    public let isTLS: Bool
    public let spoken: Configuration.ListenerProtocol
    /// The first name that its certificate is for, if that is no pattern.
    public let certifiedName: String?
    /// The file of its certificate, if that is self-signed.
    public let selfSigned: String?
  }

  /// Serves until a signal ends it. Returns whether all exchanges could be finished.
  public static func run(_ options: Options) throws(ServerFailure) -> Bool {
    let server = try Server(options)
    try server.start()
    return server.control()
  }

  // MARK: Parts

  let options: Options
  let logger: Logger
  private let events: EventLog
  var configuration: Configuration
  /// What the process was started with: what a reload can't change stays as it is here.
  private(set) var startConfiguration: Configuration
  let builder: SnapshotBuilder
  /// File descriptors that the process may have.
  let descriptorMax: Int
  var snapshot: Snapshot
  /// Of the snapshot in force.
  private(set) var certificates: [CertificateFacts] = []
  private(set) var adminContext: TLSContext?
  var reloads: ReloadFacts
  var files = WatchedFiles()
  let startedAt: Double
  let names = NameTable()
  /// Nil where no backend was ever given by name.
  var lookups: NameLookups?
  /// Names that were found to have other addresses, which aren't in force yet.
  var resolvedNames: Set<String> = []
  let admission = Admission()
  let inbox: Inbox<ControlMessage>
  private(set) var workers: [RunningWorker] = []
  /// By worker: what exchanges people may want to see.
  let reports: [ExchangeReports]
  var admin: RunningAdmin?
  var demo: RunningDemo?
  var listening: ListenerTable
  var log: AccessLogWriter?
  /// What the configuration that was built last wants of the ticket keys.
  private(set) var ticketPlans: [String: TicketRings.Plan] = [:]
  var overload = OverloadWatch()
  /// The value of `limits.connections` at the last comparison with the file descriptors.
  var warnedConnectionMax: Int?
  var stage = Stage.serving
  /// When a server that is to drain begins with it.
  var drainsAt = Instant.never
  private var finishedCount = 0
  /// A successor that was told to end because this process was, and hasn't said anything since.
  var abandoned: Successor?
  /// The sessions of UDP listeners, on their way to a successor.
  var sessionParcel: SessionParcel?
  /// Threads that only wait, and end with the process.
  private var waiting: [Thread] = []

  struct RunningWorker {
    let inbox: Inbox<WorkerMessage>
    let metrics: WorkerMetrics
    let clock: ThreadClock
    let thread: Thread
  }

  enum ControlMessage: Sendable {
    case signal(Signal)
    case resolved(String)
    case successor(Successor.Report)
    case workerFinished
    /// The sessions of UDP listeners that another process had.
    case sessions([SessionState])
    case admin(AdminCommand, from: Handle)
  }

  /// How far the server is on its way out.
  enum Stage {
    case serving
    /// Serves, while another process gets ready to take over.
    case upgrading(Successor)
    /// Accepts nothing new, or won't soon (lame duck). `isAsked`: by a signal, so that another one
    /// means to end at once.
    case draining(isAsked: Bool)
  }

  private init(_ options: Options) throws(ServerFailure) {
    self.options = options
    logger = options.logger
    events = EventLog(logger: options.logger)
    configuration = options.configuration
    startConfiguration = options.configuration
    do throws(SystemError) {
      inbox = try Inbox()
    } catch {
      throw ServerFailure("can't start: \(error)")
    }
    let workerCount = options.configuration.workers ?? ProcessorCount.available
    descriptorMax = DescriptorLimit.raise()
    startedAt = Double(SystemClock.wall()) / 1e9
    reloads = ReloadFacts(inForceSince: startedAt)
    reports = (0..<workerCount).map { _ in ExchangeReports() }
    var builder = SnapshotBuilder(
      workerCount: workerCount,
      descriptors: DescriptorBudget(descriptors: descriptorMax, workers: workerCount))
    if let predecessor = options.predecessor {
      guard let handover = predecessor.handover else {
        throw ServerFailure("process \(predecessor.id) hands over in a way that is unknown here")
      }
      listening = try ListenerTable(workerCount: builder.workerCount, handover)
      for ring in handover.ticketRings { builder.ticketRings.restore(ring) }
      for backend in handover.backends { builder.registry.restore(backend) }
      for (name, addresses) in handover.names { names.restore(name, addresses) }
      // Without it clients only lose their backend once.
      if !handover.cookieKey.isEmpty { builder.cookieKey = handover.cookieKey }
    } else {
      listening = try ListenerTable(
        workerCount: builder.workerCount, activated: ActivatedSocket.take())
    }
    self.builder = builder
    snapshot = Snapshot(settings: Settings(), listeners: [], pools: [])
  }

  // MARK: Start

  private func start() throws(ServerFailure) {
    Signals.block()
    try giveUpPrivileges()
    startConfiguration = configuration
    configureProcessLog(configuration.log)
    warnOfDescriptors()
    resolveNames(configuration)
    snapshot = takeUp(try build(configuration))
    try startLog()
    var adminSockets = try openAdmin(configuration)
    do throws(ServerFailure) {
      listening = try listening.opening(
        configuration, beside: adminSockets.groups.map(\.sockets))
      takeUpTicketKeys()
      try startDemo()
      try startWorkers()
      try watchSignals()
      try startAdmin(adminSockets)
      // It is the last step, because a process that takes over changes sockets of the other process
      // here. If a later step failed, the waiting connections would be lost.
      try listen(on: adminSockets)
      try listening.listen(configuration)
      try takeName(of: &adminSockets, configuration)
      admin?.sockets = adminSockets
    } catch {
      adminSockets.close(except: nil)
      throw error
    }
    for (index, worker) in workers.enumerated() {
      worker.inbox.post(installation(forWorker: index))
    }
    reloadDemo()
    acceptForAdmin(known: nil)
    for socket in listening.closeUnused() {
      logger.warning(
        "closed a socket that systemd passed (socket activation): no listener uses it",
        metadata: ["address": "\(socket)"])
    }
    watchOverload()
    updateAdmin()
    watchFiles()
    options.started(addresses)
    noteAvailability()
    writeProcessID()
    if let predecessor = options.predecessor {
      // That one says who serves now: systemd listens to no other.
      receiveSessions(over: predecessor.makeWay())
    } else {
      tell(.ready)
    }
  }

  var addresses: [ListeningAddress] {
    configuration.listeners.flatMap { listener in
      let certificate = certificates.first { $0.listener == listener.name }
      return listener.addresses.compactMap { address in
        listening.address(address, of: listener).map {
          ListeningAddress(
            listener: listener.name, address: "\($0)", isTLS: listener.tls != nil,
            spoken: listener.protocol,
            certifiedName: certificate?.names.first { !$0.hasPrefix("*") },
            selfSigned: certificate.flatMap { $0.isSelfSigned ? $0.path : nil })
        }
      }
    }
  }

  /// What a configuration comes to, before it is in force.
  struct Build {
    let snapshot: Snapshot
    let certificates: [CertificateFacts]
    let ticketPlans: [String: TicketRings.Plan]
    let adminContext: TLSContext?
  }

  /// A snapshot of `configuration`, with everything said that is to be said about its files.
  func build(_ configuration: Configuration) throws(ServerFailure) -> Build {
    let (certificates, pages) = try configuration.loadFiles()
    for fault in certificates.faults { logger.warning("\(fault.message)") }
    let plans = try ticketPlans(of: configuration)
    try configuration.checkSourceAddresses()
    let snapshot = try builder.build(
      configuration, certificates: certificates.byListener, upstreams: certificates.upstreams,
      names: names, pages: pages,
      exporter: try spanExporter(for: configuration))
    return Build(
      snapshot: snapshot, certificates: certificates.facts, ticketPlans: plans,
      adminContext: try makeAdminContext(certificates))
  }

  /// Nothing can refuse it any more.
  func takeUp(_ build: Build) -> Snapshot {
    build.snapshot.forgetUnusedChecks()
    certificates = build.certificates
    ticketPlans = build.ticketPlans
    adminContext = build.adminContext
    return build.snapshot
  }

  private func startWorkers() throws(ServerFailure) {
    var inboxes: [Inbox<WorkerMessage>] = []
    do throws(SystemError) {
      for _ in 0..<builder.workerCount { inboxes.append(try Inbox()) }
    } catch {
      throw ServerFailure("can't start: \(error)")
    }
    for index in inboxes.indices { try startWorker(index, inboxes) }
  }

  private func startWorker(
    _ index: Int, _ inboxes: [Inbox<WorkerMessage>]
  ) throws(ServerFailure) {
    let inbox = inboxes[index]
    do throws(SystemError) {
      let metrics = WorkerMetrics()
      let start = WorkerStart(
        index: index, snapshot: Parcel(snapshot), inbox: inbox, peers: inboxes, metrics: metrics,
        traffic: builder.traffic, admission: admission,
        reports: reports[index], events: events,
        producer: log?.producer(index), awaitsSessions: options.predecessor != nil)
      let control = self.inbox
      let clock = ThreadClock()
      let thread = try Thread(name: "worker-\(index)") {
        clock.start()
        start.run()
        control.post(.workerFinished)
      }
      workers.append(
        RunningWorker(inbox: inbox, metrics: metrics, clock: clock, thread: thread))
    } catch {
      throw ServerFailure("can't start worker \(index): \(error)")
    }
  }

  func installation(forWorker index: Int) -> WorkerMessage {
    .install(snapshot, listeners: listening.assignments(of: configuration, worker: index))
  }

  // MARK: Control

  /// Waits for what is to be done, until the workers have finished.
  private func control() -> Bool {
    while finishedCount < workers.count {
      for message in inbox.wait(atMost: timeToNextDeadline) { handle(message) }
      republish()
      let now = SystemClock.monotonic()
      if now >= drainsAt {
        drainsAt = .never
        if isLameDuck { logDrain() }
        for worker in workers { worker.inbox.post(.drain(limit: configuration.limits.drain)) }
      }
      rotateTickets(at: now)
      lookAtFiles(at: now)
      checkSuccessor(at: now)
      if overload.measure(admission, at: now, logger) {
        for worker in workers { worker.inbox.post(.overload(overload.stage)) }
        updateAdmin()
      }
      if overload.takeTrim(workers: workers.count) {
        for worker in workers { worker.inbox.post(.trim) }
      }
    }
    for worker in workers { worker.thread.join() }
    sessionParcel?.waitUntilSent()
    demo?.end()
    abandoned?.process.kill()
    admin?.end()
    removeProcessID()
    log?.stop()
    snapshot.settings.tracing?.exporter.stop(atMost: .seconds(2))
    let total = MetricsSnapshot(of: workers.map(\.metrics))
    let dropped = total[.accessLogLinesDropped]
    if dropped > 0 {
      logger.warning("access log lines were dropped", metadata: ["lines": "\(dropped)"])
    }
    let cut = total[.exchangesCut]
    if cut > 0 {
      logger.warning("active requests were cut off at the stop", metadata: ["requests": "\(cut)"])
    }
    reportLeftovers(total)
    logger.notice("stopped", metadata: ["requests": "\(total[.requests])"])
    return cut == 0
  }

  /// All connections are closed and all places given back by now; if not, there is a mistake that
  /// would show as a gauge that creeps up.
  private func reportLeftovers(_ total: MetricsSnapshot) {
    for (name, count) in total.gauges where count != 0 {
      logger.error(
        "bug in Martlet, please report it: a gauge is not zero after the last connection closed",
        metadata: ["gauge": "\(name)", "value": "\(count)"])
    }
    for (backend, count) in builder.registry.active {
      logger.error(
        "bug in Martlet, please report it: a backend has active exchanges after the last one ended",
        metadata: ["backend": "\(backend.address)", "exchanges": "\(count)"])
    }
  }

  /// Nil when nothing is due by itself.
  private var timeToNextDeadline: TimeSpan? {
    var next = min(builder.ticketRings.rotatesAt, drainsAt, overload.measuresAt, files.looksAt)
    if case .upgrading(let successor) = stage, !successor.isOverdue {
      next = min(next, successor.givesUpAt)
    }
    return next == .never ? nil : max(.zero, next - SystemClock.monotonic())
  }

  private func handle(_ message: ControlMessage) {
    switch message {
    case .signal(.terminate), .signal(.interrupt): end()
    case .signal(.hangUp): reload()
    case .signal(.user1): log?.reopen()
    case .signal(.user2): upgrade()
    case .resolved(let name): resolvedNames.insert(name)
    case .successor(let report): successorReported(report)
    case .workerFinished: finishedCount += 1
    case .sessions(let sessions): distribute(sessions)
    case .admin(let command, let connection): carryOut(command, for: connection)
    }
  }

  /// A signal asks for the end: in good order the first time.
  private func end() {
    switch stage {
    case .serving:
      drain()
    case .upgrading(let successor):
      // It may be serving by now, so it is asked to end in good order as well.
      successor.process.terminate()
      abandoned = successor
      drain()
    case .draining(isAsked: false):
      stage = .draining(isAsked: true)
      logger.notice("already draining, because a new process has taken over")
    case .draining(isAsked: true):
      logger.notice("second signal: stopping now; active requests are cut off")
      for worker in workers { worker.inbox.post(.stop) }
    }
  }

  private func drain() {
    stage = .draining(isAsked: true)
    drainsAt = SystemClock.monotonic() + configuration.limits.lameDuck
    for worker in workers { worker.inbox.post(.leave) }
    updateAdmin()
    tell(.stopping)
    if isLameDuck {
      logger.notice(
        "stopping: Martlet still accepts connections, and begins to drain after limits.lame-duck",
        metadata: ["lame-duck": "\(durationText(configuration.limits.lameDuck))"])
    } else {
      logDrain()
    }
  }

  /// Whether a signal was received, and the drain begins only after `limits.lame-duck`.
  private var isLameDuck: Bool {
    guard case .draining(isAsked: true) = stage else { return false }
    return configuration.limits.lameDuck > .zero
  }

  private func logDrain() {
    logger.notice(
      "draining: Martlet stops when all active requests have ended, or after limits.drain",
      metadata: ["drain": "\(durationText(configuration.limits.drain))"])
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

  var workerMetrics: [WorkerMetrics] { workers.map(\.metrics) }
  var workerClocks: [ThreadClock] { workers.map(\.clock) }
}
