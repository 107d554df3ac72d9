// Where the admin interface listens, and what clients over TCP have to show: opened at the start,
// and at a reload as far as it isn't open yet. The admin thread, which accepts, closes them.

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

  var listeners: [AdminListener] {
    var listeners = groups.flatMap(\.sockets.sockets).map {
      AdminListener(socket: $0, access: rules.access)
    }
    if let local { listeners.append(AdminListener(socket: local.socket, access: .local)) }
    return listeners
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
  /// The sockets of `configuration`: those that are open stay, the others are opened. One that
  /// can't be had is no reason not to serve, unless it was asked for by name.
  func openAdmin(_ configuration: Configuration) throws(ServerFailure) -> AdminSockets {
    let known = admin?.sockets
    var sockets = AdminSockets()
    sockets.rules = try readAdminRules(configuration.admin)
    do throws(ServerFailure) {
      for place in sockets.rules.addresses {
        if let group = known?.group(at: place) {
          sockets.groups.append((place, group))
        } else if let group = try openAdminAddress(place, configuration.admin) {
          sockets.groups.append((place, group))
        }
      }
      sockets.local = try openAdminSocket(configuration.admin.socket)
    } catch {
      sockets.close(except: known)
      throw error
    }
    return sockets
  }

  /// Nil where the address is missing on this machine and another one may be there.
  private func openAdminAddress(
    _ address: SocketAddress, _ configuration: Configuration.Admin
  ) throws(ServerFailure) -> ListeningSockets? {
    do throws(SystemError) {
      // Whom this process takes over from still listens there; and so does this process itself,
      // where an address is replaced by one that includes it.
      let isTakenOver = admin == nil && options.predecessor != nil
      let sockets = try ListeningSockets.open(
        on: address, count: 1, backlog: 64, isShared: isTakenOver || hasAdminAddress(like: address))
      // A tap is silent for long, and a client that is gone would hold its place.
      sockets.setKeepAlive(TCPKeepAlive(Configuration.TCPKeepAlive()))
      return sockets
    } catch {
      // Of `localhost` one protocol may be missing.
      let isMissing = error == .addressNotAvailable || error == .familyNotSupported
      if isMissing && configuration.listen?.addresses.count ?? 0 > 1 { return nil }
      throw ServerFailure("admin.listen: can't listen on \(address): \(error)")
    }
  }

  /// Is a socket of the interface on the same port of an address that overlaps?
  private func hasAdminAddress(like address: SocketAddress) -> Bool {
    guard case .ip(let ip, let port) = address, port != 0 else { return false }
    return admin?.sockets.groups.contains {
      guard case .ip(let known, port) = $0.sockets.address else { return false }
      return known.isV4 == ip.isV4
    } ?? false
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
    if let known = admin?.sockets.local, known.path == path { return known }
    do throws(SystemError) {
      // The old process keeps its open connections.
      let predecessor = admin == nil ? options.predecessor?.id : nil
      return try LocalListener(path: path, predecessor: predecessor)
    } catch {
      if case .path = socket {
        throw ServerFailure("admin.socket: can't listen on \(path): \(error)")
      }
      logger.notice(
        "no admin socket: `martlet status` and other commands won't work; set admin.socket",
        metadata: ["path": .string(path), "error": .string("\(error)")])
      return nil
    }
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
