// What is listened on: the sockets of every configured address, found again at each reload, taken
// over from another process, or opened.
//
// A value: a reload that comes to nothing leaves the table as it was. Sockets that go out of use
// are closed by the workers that accept from them, since only they can take first what waits there.

import Configuration
import Primitives
import Reactor

struct ListenerTable {
  private let workerCount: Int
  private var opened: [ListeningPlace: ListeningSockets] = [:]
  /// Sockets of the process before this one that no configuration has asked for yet.
  private var inherited: [ListeningPlace: ListeningSockets] = [:]
  /// The same for sockets that systemd has opened.
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

  /// The table for `configuration`: what is open stays, and the rest is inherited or opened. An
  /// address of a listener that has several may be missing on this machine, such as ::1 in a
  /// container, as long as another can be had.
  func opening(_ configuration: Configuration) throws(ServerFailure) -> ListenerTable {
    var table = self
    table.opened = [:]
    var problems: [String] = []
    for listener in configuration.listeners + (configuration.ofDemoBackends?.listeners ?? []) {
      var failures: [String] = []
      var count = 0
      for address in listener.addresses {
        do throws(SystemError) {
          try table.open(address, of: listener, known: opened)
          count += 1
        } catch {
          let isMissing = error == .addressNotAvailable || error == .familyNotSupported
          let message =
            "can't listen on \(address) (listener \(listener.name)): \(error)\(cure(for: error))"
          if isMissing && listener.addresses.count > 1 {
            failures.append(message)
          } else {
            problems.append(message)
          }
        }
      }
      if count == 0 { problems += failures }
    }
    if problems.isEmpty {
      table.setKeepAlive(configuration)
      return table
    }
    for (place, sockets) in table.opened where opened[place] == nil { sockets.close() }
    throw ServerFailure(problems)
  }

  /// Here and not where sockets are opened, because those that stay open may be configured anew.
  private func setKeepAlive(_ configuration: Configuration) {
    for listener in configuration.listeners {
      let probes = listener.tcpKeepAlive.map(TCPKeepAlive.init)
      for address in listener.addresses {
        opened[ListeningPlace(address, of: listener)]?.setKeepAlive(probes)
      }
    }
  }

  private mutating func open(
    _ address: SocketAddress, of listener: Configuration.Listener,
    known: [ListeningPlace: ListeningSockets]
  ) throws(SystemError) {
    let place = ListeningPlace(address, of: listener)
    let backlog = Int32(clamping: listener.backlog)
    if let sockets = known[place] {
      opened[place] = sockets
    } else if let sockets = inherited[place] {
      opened[place] = try sockets.extended(to: workerCount, backlog: backlog)
      inherited[place] = nil
    } else if let sockets = takeActivated(for: address, of: listener) {
      opened[place] = try sockets.extended(to: workerCount, backlog: backlog)
    } else {
      // What this process has on the same port, on all addresses or on one, is about to go: the
      // configuration doesn't allow both. It shares the port until its workers have closed it.
      let isShared =
        (known.values.map(\.address) + inherited.values.map(\.address))
        .contains { $0.overlaps(address) }
      opened[place] = try ListeningSockets.open(
        on: address, count: workerCount, backlog: backlog, isShared: isShared)
    }
  }

  /// A socket on that very address, or else one that is called like the listener, wherever it is.
  private mutating func takeActivated(
    for address: SocketAddress, of listener: Configuration.Listener
  ) -> ListeningSockets? {
    let index =
      activated.firstIndex { $0.sockets.address == address }
      ?? activated.firstIndex { $0.name == listener.name }
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

  // MARK: Looking up

  /// Where a listener listens, with the port that the kernel chose if 0 was asked for.
  func address(_ address: SocketAddress, of listener: Configuration.Listener) -> SocketAddress? {
    opened[ListeningPlace(address, of: listener)]?.address
  }

  /// Gives sockets that stayed open the length of queue that is configured now.
  func setBacklogs(_ configuration: Configuration) {
    for listener in configuration.listeners {
      for address in listener.addresses {
        opened[ListeningPlace(address, of: listener)]?.setBacklog(
          Int32(clamping: listener.backlog))
      }
    }
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
    if case .ip(_, port: 0) = address {
      text = "\(address) \(listener.name)"
    } else {
      text = "\(address)"
    }
  }
}

/// What helps against the two obstacles that everybody meets.
private func cure(for error: SystemError) -> String {
  switch error {
  case .addressInUse: "; `ss -ltnp` shows who does"
  case .permissionDenied: "; a port below 1024 needs root, or CAP_NET_BIND_SERVICE"
  default: ""
  }
}
