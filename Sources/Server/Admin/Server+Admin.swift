// The control thread's side of the admin interface: it tells the admin thread what is in force, and
// carries out what it is asked for.

import Balancing
public import Configuration
import Logging
import Metrics
import Primitives
import Reactor
import TLS

/// The admin thread, as the control thread knows it.
struct RunningAdmin {
  let inbox: Inbox<AdminMessage>
  let thread: Thread
  var sockets: AdminSockets
  var credentials: AdminCredentials

  /// The thread closes the sockets.
  func end() {
    inbox.post(.end)
    thread.join()
    sockets.local?.removeName()
  }
}

extension Server {
  /// Starts the admin thread, also where it has nothing to listen on yet: a reload may bring it.
  func startAdmin(_ sockets: AdminSockets) throws(ServerFailure) {
    do throws(SystemError) {
      let inbox = try Inbox<AdminMessage>()
      let credentials = AdminCredentials(token: sockets.rules.token)
      let start = Parcel(adminView(credentials))
      let (control, connectionMax) = (self.inbox, builder.descriptors.adminMax)
      let thread = try Thread(name: "admin") {
        AdminServer.run(
          from: start, connectionMax: connectionMax, inbox: inbox, control: control)
      }
      admin = RunningAdmin(
        inbox: inbox, thread: thread, sockets: sockets, credentials: credentials)
    } catch {
      throw ServerFailure("can't start the admin thread: \(error)")
    }
  }

  /// Makes the admin thread accept clients from new sockets.
  func acceptForAdmin(known: AdminSockets?) {
    guard let admin else { return }
    admin.inbox.post(.listen(admin.sockets.listeners))
    sayAdminAddresses(known: known)
  }

  /// Puts into force what a reload has opened. The view goes first, so that nobody comes in by the
  /// new sockets and the old token.
  func listenForAdmin(on sockets: AdminSockets) {
    guard let former = admin?.sockets else { return }
    if sockets.rules != former.rules { admin?.credentials.version += 1 }
    if sockets.local?.path != former.local?.path { admin?.credentials.localVersion += 1 }
    admin?.credentials.token = sockets.rules.token
    admin?.sockets = sockets
    updateAdmin()
    if former.local !== sockets.local { former.local?.removeName() }
    acceptForAdmin(known: former)
  }

  private func sayAdminAddresses(known: AdminSockets?) {
    guard let sockets = admin?.sockets else { return }
    let scheme = if case .plain = sockets.rules.access { "http" } else { "https" }
    for (place, group) in sockets.groups
    where known?.group(at: place) == nil || known?.rules.access != sockets.rules.access {
      logger.notice(
        "admin interface listening", metadata: ["url": "\(scheme)://\(group.address)/"])
    }
  }

  /// What the address speaks TLS with; nil when it doesn't.
  func makeAdminContext(_ loaded: LoadedCertificates) throws(ServerFailure) -> TLSContext? {
    guard let certificate = loaded.admin else { return nil }
    do throws(TLSFailure) {
      // No tickets: who may come in is looked at each time.
      return try TLSContext(
        certificates: [certificate], policy: TLSPolicy(ticketCount: 0),
        ticketKeys: try TicketKeys(), listenerName: "admin.listen", clients: loaded.adminClients)
    } catch {
      throw ServerFailure("admin.certificate: \(error)")
    }
  }

  // MARK: What is in force

  /// Tells the admin thread that something has changed.
  func updateAdmin() {
    guard let admin else { return }
    admin.inbox.post(.view(adminView(admin.credentials)))
  }

  private func adminView(_ credentials: AdminCredentials) -> AdminView {
    let draining = if case .draining = stage { true } else { false }
    return AdminView(
      process: ProcessFacts(
        version: options.version, id: CurrentProcess.id, startedAt: startedAt,
        descriptorMax: descriptorMax, metrics: workerMetrics, clocks: workerClocks,
        traffic: builder.traffic,
        reports: reports, log: options.log),
      configuration: configuration, snapshot: snapshot, names: names, addresses: addresses,
      certificates: certificates, tls: adminContext, credentials: credentials,
      reload: reloads, overload: overload.stage, limits: effectiveLimits,
      isDraining: draining)
  }

  // MARK: Commands

  func carryOut(_ command: AdminCommand, for connection: Handle) {
    let document: AdminDocument
    switch command {
    case .reload: document = reloadNow()
    case .diff(let text): document = difference(to: text)
    case .setLogLevel(let level): document = setLogLevel(level)
    case .changeBackend(let pool, let address, let change):
      document = self.change(pool, address, change)
    case .addBackend(let pool, let address, let weight):
      document = addBackend(to: pool, address, weight: weight)
    case .removeBackend(let pool, let address, let isForced):
      document = removeBackend(from: pool, address, isForced)
    }
    updateAdmin()
    admin?.inbox.post(.answer(connection, document))
  }

  private func reloadNow() -> AdminDocument {
    guard case .serving = stage else { return .error(409, "not while upgrading or draining") }
    reload()
    if reloads.refusal.isEmpty {
      let staying = changesThatStay.map(\.what)
      let reloads = reloads
      return AdminDocument { json in
        json.member("result", "accepted")
        json.member("changed", !reloads.wasLastSame)
        json.array("needs_restart") { json in
          for key in staying { json.string(key) }
        }
      }
    }
    return refusal("the new configuration is refused; the old one stays in force", reloads.refusal)
  }

  /// What a reload would change if this text stood in the file.
  private func difference(to text: [UInt8]) -> AdminDocument {
    switch options.interpret(text) {
    case .success(let other):
      let changes = Configuration.json(of: configuration.changes(to: other))
      return AdminDocument("application/json", Array(changes.utf8))
    case .failure(let refused):
      return refusal("the configuration would be refused", refused.reasons)
    }
  }

  private func refusal(_ message: String, _ reasons: [String]) -> AdminDocument {
    AdminDocument(status: 422) { json in
      json.member("error", message)
      json.array("reasons") { json in
        for reason in reasons { json.string(reason) }
      }
    }
  }

  private func change(
    _ name: String, _ address: String, _ change: AdminCommand.BackendChange
  ) -> AdminDocument {
    guard let settings = snapshot.pools.first(where: { $0.pool.name == name }),
      let member = settings.pool.membership.members.first(where: {
        $0.record.identity.address == address
      })
    else { return .error(404, "no backend \(address) in \(name)") }
    let record = member.record
    let state = change.state ?? record.adminState
    var weight = record.weightOverride
    switch change.weight {
    case .set(let value): weight = value
    case .configured: weight = nil
    case nil: break
    }
    // `drain --wait` repeats a request that no longer changes anything.
    if state != record.adminState || weight != record.weightOverride {
      if let refusal = refusalWhileUpgrading { return refusal }
      if state != record.adminState && state != .enabled && !change.isForced
        && settings.pool.isLastAvailable(record)
      {
        return .lastAvailable(address, in: settings.pool)
      }
      if state != record.adminState { record.setAdminState(state, at: SystemClock.monotonic()) }
      record.weightOverride = weight
      logger.notice(
        "an operator changed a backend",
        metadata: [
          "pool": .string(name), "backend": .string(address), "state": .string("\(state)"),
          "weight": .string(weight.map { "\($0)" } ?? "configured"),
        ])
      membershipChanged()
    }
    let configured = configuration.pools.first { $0.name == name }
    return AdminDocument { json in
      json.member("backend", address)
      json.member("state", "\(record.adminState)")
      json.member("weight", record.weightOverride ?? member.weight)
      json.member("weight_override", record.weightOverride)
      json.member("active", record.activeCount)
      json.member("carries", settings.protocol.carried)
      if let configured, change.weight != nil, !configured.strategy.usesWeights {
        json.member("note", "the strategy \(configured.strategy.rawValue) ignores weights")
      }
    }
  }

  /// The new process already got the changes of operators, and would not get a later one.
  private var refusalWhileUpgrading: AdminDocument? {
    guard case .upgrading = stage else { return nil }
    return .error(409, "not while upgrading: try again when the new process serves")
  }

  private func addBackend(to pool: String, _ address: String, weight: Int) -> AdminDocument {
    if let refusal = refusalWhileUpgrading { return refusal }
    guard let index = configuration.pools.firstIndex(where: { $0.name == pool }) else {
      return .error(404, configuration.pools.missing(pool))
    }
    let written: Configuration.BackendAddress
    switch Configuration.backendAddress(address) {
    case .success(let valid): written = valid
    case .failure(let failure): return .error(400, failure.message)
    }
    let endpoint = written.endpoint
    guard var backend = Configuration.Backend(written, addedTo: configuration.pools[index]) else {
      let spoken = configuration.pools[index].tls == nil ? "plain HTTP" : "verified TLS"
      return .error(400, "\(address) doesn't fit: the backends of \(pool) speak \(spoken)")
    }
    backend.weight = weight
    if configuration.pools[index].backends.contains(where: { $0.endpoint == endpoint }) {
      return .error(409, "\(address) is in \(pool) already")
    }
    configuration.pools[index].backends.append(backend)
    publish(pool: index)
    return AdminDocument(status: 201) { json in
      json.member("backend", "\(endpoint)")
      json.member("note", "until the next reload, which goes by the file")
    }
  }

  private func removeBackend(
    from pool: String, _ address: String, _ isForced: Bool
  ) -> AdminDocument {
    if let refusal = refusalWhileUpgrading { return refusal }
    guard let index = configuration.pools.firstIndex(where: { $0.name == pool }) else {
      return .error(404, configuration.pools.missing(pool))
    }
    guard
      let place = configuration.pools[index].backends.firstIndex(where: {
        "\($0.endpoint)" == address
      })
    else {
      let backends = configuration.pools[index].backends
      let name = backends.first { backend in
        names.addresses(of: backend.endpoint).contains { "\($0)" == address }
      }
      if let name {
        return .error(409, "\(address) is an address of \(name.endpoint): remove that")
      }
      let known = backends.prefix(10).map { "\($0.endpoint)" }.joined(separator: ", ")
      return .error(404, "no backend \(address) in \(pool); there are \(known)")
    }
    if configuration.pools[index].backends.count == 1 {
      return .error(409, "it is the only backend of \(pool)")
    }
    let inForce = snapshot.pools[index].pool
    let going = Set(
      names.addresses(of: configuration.pools[index].backends[place].endpoint).map { "\($0)" })
    if !isForced, inForce.isAvailableOnly(by: { going.contains($0.identity.address) }) {
      return .lastAvailable(address, in: inForce)
    }
    configuration.pools[index].backends.remove(at: place)
    publish(pool: index)
    return AdminDocument { json in
      json.member("removed", address)
      json.member("note", "until the next reload, which goes by the file")
    }
  }

  private func publish(pool index: Int) {
    resolveNames(configuration)
    let pool = configuration.pools[index]
    snapshot.pools[index].pool.publish(builder.members(of: pool, names))
    snapshot.forgetUnusedChecks()
    membershipChanged()
    forgetFormerBackends()
    logger.notice(
      "an operator changed the backends of a pool", metadata: ["pool": .string(pool.name)])
  }
}

extension AdminDocument {
  /// Refuses to take the last available backend out of its pool, unless `force` is given.
  fileprivate static func lastAvailable(_ address: String, in pool: Pool) -> AdminDocument {
    return AdminDocument(status: 409) { json in
      json.member(
        "error",
        "\(address) is the last available backend of \(pool.name); without it,"
          + " \(pool.allDown.effect)")
      json.member("needs", "force")
    }
  }
}

/// Where the admin socket is when the configuration doesn't say.
public enum AdminSocket {
  /// Nil where there is to be none.
  public static func path(in configuration: Configuration) -> String? {
    switch configuration.admin.socket {
    case .path(let path): path
    case .automatic: standardPath
    case .off: nil
    }
  }

  public static var standardPath: String {
    if let directory = Environment["RUNTIME_DIRECTORY"], !directory.isEmpty {
      return "\(directory.split(separator: ":")[0])/admin.sock"
    }
    if let directory = Environment["XDG_RUNTIME_DIR"], !directory.isEmpty {
      return "\(directory)/martlet/admin.sock"
    }
    return "/run/martlet/admin.sock"
  }
}
