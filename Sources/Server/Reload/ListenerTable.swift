// The sockets of every configured address. They are found again at each reload, inherited from
// another process, or opened.
//
// It is a value: a reload that fails leaves the table as it was. `opening` does all steps that can
// be refused, and changes no existing socket. `listen` is called when nothing of the configuration
// can be refused any more. Sockets that a worker accepts from are closed by it, since only it can
// first accept the waiting connections; inherited ones that nobody uses are closed here.

import Configuration
import Primitives
import Reactor

struct ListenerTable {
  private let workerCount: Int
  private var opened: [ListeningPlace: ListeningSockets] = [:]
  /// Sockets of the process before this one that no configuration has asked for yet.
  private var inherited: [ListeningPlace: ListeningSockets] = [:]
  /// The sockets in `opened` that the last `opening` has bound or inherited.
  private var fresh: Set<ListeningPlace> = []
  /// The same as `inherited`, for sockets from systemd.
  private var activated: [(name: String, sockets: ListeningSockets)] = []

  /// Takes the sockets that systemd has opened. Throws when one of them can't be used.
  init(workerCount: Int, activated sockets: [ActivatedSocket] = []) throws(ServerFailure) {
    self.workerCount = workerCount
    for socket in sockets {
      let name = "the socket \(socket.name) (descriptor \(socket.descriptor)) from systemd"
      let groups: [ListeningSockets]
      do throws(SystemError) {
        groups = try ListeningSockets.adopt([socket.descriptor])
      } catch {
        throw ServerFailure("\(name) can't be used: \(error)")
      }
      if groups.contains(where: \.isDualStack) {
        throw ServerFailure(
          "\(name) takes IPv4 as well: set BindIPv6Only=ipv6-only, and a socket for each of both")
      }
      activated += groups.map { (socket.name, $0) }
    }
  }

  /// Takes over the sockets of the process before this one. Throws when they aren't what it said.
  init(workerCount: Int, _ handover: Handover) throws(ServerFailure) {
    self.workerCount = workerCount
    for (place, descriptors) in handover.sockets {
      do throws(SystemError) {
        // A group has one address, so one group comes back.
        inherited[ListeningPlace(text: place)] = try ListeningSockets.adopt(descriptors).first
      } catch {
        throw ServerFailure("the sockets of \(place) that were handed over can't be used: \(error)")
      }
    }
  }

  // MARK: Opening

  /// The table for `configuration`: open sockets stay, and the others are inherited or bound. If a
  /// listener has several addresses, one may be missing on this machine, such as ::1 in a
  /// container, as long as another can be bound. `others`: sockets of this process elsewhere.
  func opening(
    _ configuration: Configuration, beside others: [ListeningSockets] = []
  ) throws(ServerFailure) -> ListenerTable {
    var table = self
    table.opened = [:]
    table.fresh = []
    var problems: [String] = []
    for listener in Self.listeners(of: configuration) {
      var failures: [String] = []
      var count = 0
      for address in listener.addresses {
        do throws(SystemError) {
          try table.open(address, of: listener, known: self, beside: others)
          count += 1
        } catch {
          let isMissing = error == .addressNotAvailable || error == .familyNotSupported
          if isMissing && listener.addresses.count > 1 {
            failures.append(Self.message(error, address, listener))
          } else {
            problems.append(Self.message(error, address, listener))
          }
        }
      }
      if count == 0 { problems += failures }
    }
    if problems.isEmpty { return table }
    table.close(except: self)
    throw ServerFailure(problems)
  }

  private mutating func open(
    _ address: SocketAddress, of listener: Configuration.Listener, known: ListenerTable,
    beside others: [ListeningSockets]
  ) throws(SystemError) {
    let place = ListeningPlace(address, of: listener)
    if let sockets = known.opened[place] {
      opened[place] = sockets
      return
    }
    if let sockets = inherited.removeValue(forKey: place)
      ?? takeActivated(for: address, of: listener)
    {
      opened[place] = sockets
    } else {
      // The sockets of this process on the same port, on all addresses or on one, will be closed
      // soon: the configuration does not allow both. The port is shared until then.
      opened[place] = try ListeningSockets.bind(
        on: address, count: workerCount, listener.protocol == .udp ? .udp : .tcp,
        beside: known.sockets + others)
    }
    fresh.insert(place)
  }

  /// Listens on the sockets that `opening` has bound, and applies the current settings to all
  /// sockets.
  mutating func listen(_ configuration: Configuration) throws(ServerFailure) {
    for listener in Self.listeners(of: configuration) {
      for address in listener.addresses {
        let place = ListeningPlace(address, of: listener)
        guard fresh.contains(place), let sockets = opened[place] else { continue }
        do throws(SystemError) {
          // Connections inherit it, so it comes first.
          sockets.setKeepAlive(listener.tcpKeepAlive.map(TCPKeepAlive.init))
          let backlog = Int32(clamping: listener.backlog)
          try sockets.listen(backlog: backlog)
          opened[place] = try sockets.extended(to: workerCount, backlog: backlog)
        } catch {
          throw ServerFailure(Self.message(error, address, listener))
        }
      }
    }
    for listener in Self.listeners(of: configuration) {
      for address in listener.addresses {
        guard let sockets = opened[ListeningPlace(address, of: listener)] else { continue }
        sockets.setKeepAlive(listener.tcpKeepAlive.map(TCPKeepAlive.init))
        // It already listens, so this cannot fail.
        try? sockets.listen(backlog: Int32(clamping: listener.backlog))
      }
    }
    fresh = []
  }

  /// Closes the sockets that are not in `former`, for a configuration that is refused later.
  func close(except former: ListenerTable) {
    for (place, sockets) in opened
    where former.opened[place] == nil && former.inherited[place] == nil {
      sockets.close()
    }
  }

  /// With those of the demo backends.
  private static func listeners(of configuration: Configuration) -> [Configuration.Listener] {
    configuration.listeners + (configuration.ofDemoBackends?.listeners ?? [])
  }

  private static func message(
    _ error: SystemError, _ address: SocketAddress, _ listener: Configuration.Listener
  ) -> String {
    "can't listen on \(address) (listener \(listener.name)): \(error)"
      + cure(for: error, isUDP: listener.protocol == .udp)
  }

  /// A socket on that very address, or else one that is called like the listener, wherever it is.
  private mutating func takeActivated(
    for address: SocketAddress, of listener: Configuration.Listener
  ) -> ListeningSockets? {
    let index =
      activated.firstIndex { $0.sockets.address == address && $0.sockets.carries(listener) }
      ?? activated.firstIndex { $0.name == listener.name && $0.sockets.carries(listener) }
    return index.map { activated.remove(at: $0).sockets }
  }

  /// Closes what isn't configured. What the process before this one had it still has open, and
  /// takes what waits there. Returns what systemd has opened in vain.
  mutating func closeUnused() -> [String] {
    for sockets in inherited.values { sockets.close() }
    inherited = [:]
    defer { activated = [] }
    return activated.map { name, sockets in
      sockets.close()
      return "\(sockets.address) (\(name))"
    }
  }

  /// The admin sockets of the previous process, if it listened on the same address.
  mutating func takeInherited(forAdmin address: SocketAddress) -> ListeningSockets? {
    inherited.removeValue(forKey: ListeningPlace(text: Self.adminPlace(address)))
  }

  /// The name of the admin interface's address in a handover.
  static func adminPlace(_ address: SocketAddress) -> String { "admin \(address)" }

  // MARK: Looking up

  /// All open sockets of this process in the table.
  var sockets: [ListeningSockets] {
    Array(opened.values) + inherited.values + activated.map(\.sockets)
  }

  /// Where a listener listens, with the port that the kernel chose if 0 was asked for.
  func address(_ address: SocketAddress, of listener: Configuration.Listener) -> SocketAddress? {
    opened[ListeningPlace(address, of: listener)]?.address
  }

  /// The sockets on which a worker accepts.
  func assignments(of configuration: Configuration, worker: Int) -> [ListenerAssignment] {
    var assignments: [ListenerAssignment] = []
    for (index, listener) in configuration.listeners.enumerated() {
      for address in listener.addresses {
        guard let sockets = opened[ListeningPlace(address, of: listener)] else { continue }
        for socket in sockets.share(ofWorker: worker, of: workerCount) {
          assignments.append(ListenerAssignment(socket: socket, listener: index))
        }
      }
    }
    return assignments
  }

  /// All sockets, for a worker that is the only one to accept on them.
  func assignments(of configuration: Configuration) -> [ListenerAssignment] {
    (0..<workerCount).flatMap { assignments(of: configuration, worker: $0) }
  }

  /// All sockets, for another process.
  var handover: [(place: String, descriptors: [Int32])] {
    opened.map { (place: $0.text, descriptors: $1.sockets.map(\.descriptor)) }
  }
}

/// An address to listen on, by which its sockets are found again at a reload and by another
/// process. Where the kernel chooses the port, the same address stands for another place with each
/// listener.
private struct ListeningPlace: Hashable {
  let text: String

  init(text: String) { self.text = text }

  init(_ address: SocketAddress, of listener: Configuration.Listener) {
    let carrier = listener.protocol == .udp ? "udp " : ""
    if case .ip(_, port: 0) = address {
      text = "\(carrier)\(address) \(listener.name)"
    } else {
      text = "\(carrier)\(address)"
    }
  }
}

extension ListeningSockets {
  fileprivate func carries(_ listener: Configuration.Listener) -> Bool {
    (carrier == .udp) == (listener.protocol == .udp)
  }
}

/// A hint for the two most frequent errors.
func cure(for error: SystemError, isUDP: Bool = false) -> String {
  switch error {
  case .addressInUse: "; `ss -\(isUDP ? "lunp" : "ltnp")` shows which process uses it"
  case .permissionDenied: "; a port below 1024 needs root, or CAP_NET_BIND_SERVICE"
  default: ""
  }
}
