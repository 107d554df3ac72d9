// The control thread's side of the admin interface: it opens the sockets, tells the admin thread
// what is in force, and carries out what it is asked for.

import Balancing
public import Configuration
import Logging
import Metrics
import Primitives
import Reactor
import TLS

/// Where the admin interface listens, and what clients over TCP have to show.
struct AdminSockets: Sendable {
  let local: LocalListener?
  let groups: [ListeningSockets]
  let access: AdminAccess
  let token: String?
}

/// The admin thread, as the control thread knows it.
struct RunningAdmin {
  let inbox: Inbox<AdminMessage>
  let thread: Thread
  let sockets: AdminSockets

  func end() {
    inbox.post(.end)
    thread.join()
    sockets.local?.close()
    for group in sockets.groups { group.close() }
  }
}

extension Server {
  /// Opens the sockets, before anything runs that would have to be ended again. One that can't be
  /// had is no reason not to serve, unless it was asked for by name.
  func openAdmin() throws(ServerFailure) -> AdminSockets {
    let token = try readAdminToken()
    var groups: [ListeningSockets] = []
    for address in configuration.admin.listen?.addresses ?? [] {
      do throws(SystemError) {
        // Whom this process takes over from still listens there.
        groups.append(
          try ListeningSockets.open(
            on: address, count: 1, backlog: 64, isShared: options.predecessor != nil))
        // A tap says nothing for long, and a client that is gone would hold its place.
        groups.last?.setKeepAlive(TCPKeepAlive(Configuration.TCPKeepAlive()))
      } catch {
        // Of `localhost` one protocol may be missing.
        let isMissing = error == .addressNotAvailable || error == .familyNotSupported
        if isMissing && configuration.admin.listen?.addresses.count ?? 0 > 1 { continue }
        for group in groups { group.close() }
        throw ServerFailure("admin.listen: can't listen on \(address): \(error)")
      }
    }
    return AdminSockets(
      local: try openAdminSocket(), groups: groups, access: AdminAccess(configuration.admin),
      token: token)
  }

  /// Starts the admin thread on these sockets.
  func startAdmin(_ sockets: AdminSockets) throws(ServerFailure) {
    var listeners = sockets.groups.flatMap(\.sockets).map {
      AdminListener(socket: $0, access: sockets.access)
    }
    if let local = sockets.local {
      listeners.append(AdminListener(socket: local.socket, access: .local))
    }
    if listeners.isEmpty { return }
    let scheme = if case .plain = sockets.access { "http" } else { "https" }
    for group in sockets.groups {
      logger.notice("the admin interface is at \(scheme)://\(group.address)/")
    }
    let (view, control, all) = (adminView(), inbox, listeners)
    do throws(SystemError) {
      let inbox = try Inbox<AdminMessage>()
      let thread = try Thread(name: "admin") {
        guard let io = try? EpollIO(wakeUp: inbox.wakeUp) else { return }
        var server = AdminServer(
          io: io, listeners: all, token: sockets.token, view: view, inbox: inbox,
          control: control)
        server.run()
      }
      admin = RunningAdmin(inbox: inbox, thread: thread, sockets: sockets)
    } catch {
      throw ServerFailure("can't start the admin thread: \(error)")
    }
  }

  /// What the address speaks TLS with; nil when it doesn't. Renewed certificates are taken up by a
  /// reload; whether there are some, and whether clients need one, by an upgrade as `listen` is.
  func makeAdminContext(
    _ loaded: LoadedCertificates, _ fresh: Configuration.Admin
  ) throws(ServerFailure) -> TLSContext? {
    if let admin, admin.sockets.access != AdminAccess(fresh) { return adminContext }
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

  private func openAdminSocket() throws(ServerFailure) -> LocalListener? {
    // Who takes over takes the name over; the old process keeps its open connections.
    let replaces = options.predecessor != nil
    switch configuration.admin.socket {
    case .off:
      return nil
    case .path(let path):
      do throws(SystemError) {
        return try LocalListener(path: path, replaces: replaces)
      } catch {
        throw ServerFailure("admin.socket: can't listen on \(path): \(error)")
      }
    case .automatic:
      let path = AdminSocket.standardPath
      do throws(SystemError) {
        return try LocalListener(path: path, replaces: replaces)
      } catch {
        logger.notice(
          "there is no admin socket for `martlet status` and its like; admin.socket may name one",
          metadata: ["path": .string(path), "error": .string("\(error)")])
        return nil
      }
    }
  }

  private func readAdminToken() throws(ServerFailure) -> String? {
    guard let path = configuration.admin.tokenFile else { return nil }
    do throws(ServerFailure) {
      return try AdminToken.read(path)
    } catch {
      throw ServerFailure(error.messages.map { "admin.token-file \(path): \($0)" })
    }
  }

  // MARK: What is in force

  /// Tells the admin thread that something has changed.
  func updateAdmin() { admin?.inbox.post(.view(adminView())) }

  private func adminView() -> AdminView {
    let draining = if case .draining = stage { true } else { false }
    return AdminView(
      process: ProcessFacts(
        version: options.version, id: CurrentProcess.id, startedAt: startedAt,
        descriptorMax: descriptorMax, metrics: workerMetrics, traffic: builder.traffic,
        reports: reports, logLevel: options.logLevel),
      configuration: configuration, snapshot: snapshot, names: names, addresses: addresses,
      certificates: certificates, tls: adminContext, reload: reloads,
      overload: overload.stage, isDraining: draining)
  }

  // MARK: Commands

  func carryOut(_ command: AdminCommand, for connection: Handle) {
    let document: AdminDocument
    switch command {
    case .reload: document = reloadNow()
    case .diff(let text): document = difference(to: text)
    case .setLogLevel(let level): document = setLogLevel(level)
    case .changeBackend(let pool, let address, let state, let weight):
      document = change(pool, address, state, weight)
    case .addBackend(let pool, let address, let weight):
      document = addBackend(to: pool, address, weight: weight)
    case .removeBackend(let pool, let address):
      document = removeBackend(from: pool, address)
    }
    updateAdmin()
    admin?.inbox.post(.answer(connection, document))
  }

  private func reloadNow() -> AdminDocument {
    guard case .serving = stage else { return .error(409, "not while upgrading or draining") }
    reload()
    if reloads.refusal.isEmpty {
      return AdminDocument { $0.member("result", "accepted") }
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
    _ pool: String, _ address: String, _ state: AdminState?, _ weight: AdminCommand.WeightChange?
  ) -> AdminDocument {
    let members = snapshot.pools.first { $0.pool.name == pool }?.pool.membership.members ?? []
    guard let record = members.first(where: { $0.record.identity.address == address })?.record
    else { return .error(404, "no backend \(address) in \(pool)") }
    if let state { record.adminState = state }
    switch weight {
    case .set(let value): record.weightOverride = value
    case .configured: record.weightOverride = nil
    case nil: break
    }
    membershipChanged()
    logger.notice(
      "changed by hand",
      metadata: [
        "pool": .string(pool), "backend": .string(address),
        "state": .string("\(record.adminState)"),
        "weight": .string(record.weightOverride.map { "\($0)" } ?? "configured"),
      ])
    return AdminDocument { json in
      json.member("backend", address)
      json.member("state", "\(record.adminState)")
      json.member("weight_override", record.weightOverride)
      json.member("active", record.activeCount)
    }
  }

  private func addBackend(to pool: String, _ address: String, weight: Int) -> AdminDocument {
    guard let index = configuration.pools.firstIndex(where: { $0.name == pool }) else {
      return .error(404, "no pool \(pool)")
    }
    let endpoint: Configuration.Endpoint
    switch Configuration.endpoint(address) {
    case .success(let valid): endpoint = valid
    case .failure(let failure): return .error(400, failure.message)
    }
    if configuration.pools[index].backends.contains(where: { $0.endpoint == endpoint }) {
      return .error(409, "\(address) is in \(pool) already")
    }
    configuration.pools[index].backends.append(Configuration.Backend(endpoint, weight: weight))
    publish(pool: index)
    return AdminDocument(status: 201) { json in
      json.member("backend", "\(endpoint)")
      json.member("note", "until the next reload, which goes by the file")
    }
  }

  private func removeBackend(from pool: String, _ address: String) -> AdminDocument {
    guard let index = configuration.pools.firstIndex(where: { $0.name == pool }) else {
      return .error(404, "no pool \(pool)")
    }
    guard
      let place = configuration.pools[index].backends.firstIndex(where: {
        "\($0.endpoint)" == address
      })
    else {
      return .error(404, "no backend \(address) in \(pool); of a name all addresses go together")
    }
    if configuration.pools[index].backends.count == 1 {
      return .error(409, "it is the only backend of \(pool)")
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
    membershipChanged()
    logger.notice("backends changed by hand", metadata: ["pool": .string(pool.name)])
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
