// The addresses of the admin interface, and the authentication of clients over TCP. They are bound
// at the start, and at a reload if they are new. As with listeners, clients can connect only after
// `listen`. The admin thread, which accepts, closes the sockets.

import Configuration
import Logging
import Primitives
import Reactor

/// Where the admin interface listens, and what clients over TCP have to show.
struct AdminSockets: Sendable {
  var local: LocalListener?
  /// By the address as configured.
  var groups: [(place: SocketAddress, sockets: ListeningSockets)] = []
  var rules = AdminRules()

  /// The length of the accept queue, over TCP.
  static let backlog: Int32 = 64

  var listeners: [AdminListener] {
    var listeners = groups.flatMap(\.sockets.sockets).map {
      AdminListener(socket: $0, access: rules.access)
    }
    if let local { listeners.append(AdminListener(socket: local.socket, access: .local)) }
    return listeners
  }

  /// The sockets on addresses, for another process.
  var handover: [(place: String, descriptors: [Int32])] {
    groups.map { (ListenerTable.adminPlace($0.place), $0.sockets.sockets.map(\.descriptor)) }
  }

  func group(at place: SocketAddress) -> ListeningSockets? {
    groups.first { $0.place == place }?.sockets
  }

  /// Closes those that aren't among `others`, of a configuration that is refused after all.
  func close(except others: AdminSockets?) {
    for group in groups where others?.group(at: group.place) == nil { group.sockets.close() }
    if local !== others?.local { local?.close() }
  }
}

/// Who may come in by the address. Where these change, clients of before have to come anew.
struct AdminRules: Equatable, Sendable {
  var access = AdminAccess.plain
  var token: String?
  /// What the file of `client-ca` holds.
  var authorities: [UInt8] = []
  var addresses: [SocketAddress] = []
}

extension Server {
  /// Lets clients connect to the addresses of the admin interface.
  func listen(on sockets: AdminSockets) throws(ServerFailure) {
    for group in sockets.groups {
      do throws(SystemError) {
        try group.sockets.listen(backlog: AdminSockets.backlog)
      } catch {
        throw ServerFailure(
          "admin.listen: can't listen on \(group.place): \(error)\(cure(for: error))")
      }
    }
  }

  /// Puts the local socket at its path. It is the last step that can fail, because it replaces the
  /// socket of the previous process.
  func takeName(
    of sockets: inout AdminSockets, _ configuration: Configuration
  ) throws(ServerFailure) {
    guard let local = sockets.local, !local.isInPlace else { return }
    do throws(SystemError) {
      try local.takeName()
    } catch {
      try miss(local.path, error, configuration.admin.socket)
      local.close()
      sockets.local = nil
    }
  }

  /// The sockets of `configuration`: those that are open stay, the others are opened. One that
  /// can't be had is no reason not to serve, unless it was asked for by name.
  func openAdmin(_ configuration: Configuration) throws(ServerFailure) -> AdminSockets {
    let known = admin?.sockets
    var sockets = AdminSockets()
    sockets.rules = try readAdminRules(configuration.admin)
    do throws(ServerFailure) {
      for place in sockets.rules.addresses {
        var group = known?.group(at: place) ?? listening.takeInherited(forAdmin: place)
        if group == nil {
          group = try bindAdminAddress(place, configuration.admin, beside: sockets)
        }
        if let group { sockets.groups.append((place, group)) }
      }
      sockets.local = try openAdminSocket(configuration.admin.socket)
    } catch {
      sockets.close(except: known)
      throw error
    }
    return sockets
  }

  /// Nil where the address is missing on this machine and another one may be there.
  private func bindAdminAddress(
    _ address: SocketAddress, _ configuration: Configuration.Admin, beside fresh: AdminSockets
  ) throws(ServerFailure) -> ListeningSockets? {
    let groups = fresh.groups + (admin?.sockets.groups ?? [])
    do throws(SystemError) {
      // A listener may have had the address until now, or another address of the interface.
      let sockets = try ListeningSockets.bind(
        on: address, count: 1, beside: listening.sockets + groups.map(\.sockets))
      // A tap is silent for long, and a client that is gone would hold its place.
      sockets.setKeepAlive(TCPKeepAlive(Configuration.TCPKeepAlive()))
      return sockets
    } catch {
      // Of `localhost` one protocol may be missing.
      let isMissing = error == .addressNotAvailable || error == .familyNotSupported
      if isMissing && configuration.listen?.addresses.count ?? 0 > 1 { return nil }
      throw ServerFailure(
        "admin.listen: can't listen on \(address): \(error)\(cure(for: error))")
    }
  }

  private func openAdminSocket(
    _ socket: Configuration.Admin.SocketPath
  ) throws(ServerFailure) -> LocalListener? {
    let path: String
    switch socket {
    case .off: return nil
    case .path(let named): path = named
    case .automatic: path = AdminSocket.standardPath
    }
    if let known = admin?.sockets.local, known.path == path, known.isInPlace { return known }
    do throws(SystemError) {
      // The old process keeps its open connections.
      let predecessor = admin == nil ? options.predecessor?.id : nil
      return try LocalListener(path: path, predecessor: predecessor)
    } catch {
      try miss(path, error, socket)
      return nil
    }
  }

  /// There is no socket at `path`.
  private func miss(
    _ path: String, _ error: SystemError, _ socket: Configuration.Admin.SocketPath
  ) throws(ServerFailure) {
    if case .path = socket {
      throw ServerFailure("admin.socket: can't listen on \(path): \(error)")
    }
    logger.notice(
      "no admin socket: `martlet status` and other commands won't work; set admin.socket",
      metadata: ["path": .string(path), "error": .string("\(error)")])
  }

  private func readAdminRules(_ admin: Configuration.Admin) throws(ServerFailure) -> AdminRules {
    var rules = AdminRules()
    rules.access = AdminAccess(admin)
    rules.addresses = admin.listen?.addresses ?? []
    if let path = admin.clientCA {
      rules.authorities = (try? File.read(path, limit: 1024 * 1024)) ?? []
    }
    guard let path = admin.tokenFile else { return rules }
    do throws(ServerFailure) {
      rules.token = try AdminToken.read(path)
    } catch {
      throw ServerFailure(error.messages.map { "admin.token-file \(path): \($0)" })
    }
    return rules
  }
}
