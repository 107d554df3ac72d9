// What `martlet check` finds beyond the text of a configuration: in the files that it names, and in
// the names that it uses. What would keep `run` from starting is an error here. All of it is found
// in one pass, whatever else is wrong, and each finding stands at its line.
//
// It opens nothing for writing, and binds nothing. What only the moment decides, such as an address
// that is taken, isn't looked at.

public import Configuration
import Primitives
public import Reactor
import TLS

extension Configuration.Reading {
  /// This reading with what is wrong outside of the text.
  ///
  /// - Parameter asRun: a certificate that is out of date is a warning, since it is served.
  public func checkingReferences(asRun: Bool) -> Configuration.Reading {
    guard let draft else { return self }
    var check = ReferenceCheck(places: places, isComplete: configuration != nil, asRun: asRun)
    check.look(at: draft)
    return adding(check.findings)
  }
}

private struct ReferenceCheck {
  let places: Configuration.Places
  /// Of a configuration with errors only what is written down is looked at: defaults may stand in
  /// place of what couldn't be read.
  let isComplete: Bool
  let asRun: Bool
  private(set) var findings: [Diagnostic] = []

  /// How long answers of name servers are waited for.
  private static let patience = TimeSpan.seconds(2)

  init(places: Configuration.Places, isComplete: Bool, asRun: Bool) {
    self.places = places
    self.isComplete = isComplete
    self.asRun = asRun
  }

  mutating func look(at configuration: Configuration) {
    var faults: [FileFault] = []
    let certificates = configuration.loadCertificates(&faults)
    _ = configuration.loadErrorPages(&faults)
    for fault in faults {
      report(severity(of: fault), fault.path, under: fault.key, fault.message)
    }
    lookAtTicketKeys(configuration)
    lookAtProcess(configuration)
    lookAtSourceAddresses(configuration)
    lookAtAdmin(configuration.admin)
    if isComplete {
      lookAtNames(configuration)
      if findings.allSatisfy({ $0.severity != .error }) { tryBuilding(configuration, certificates) }
    }
  }

  private func severity(of fault: FileFault) -> Diagnostic.Severity {
    switch fault.severity {
    case .error: .error
    case .outOfDate: asRun ? .warning : .error
    case .warning: .warning
    }
  }

  /// A finding about a file, at the place where its path is written.
  private mutating func report(
    _ severity: Diagnostic.Severity, _ path: String, under key: String, _ message: String
  ) {
    if let finding = places.diagnostic(severity, about: path, namedBy: key, message) {
      findings.append(finding)
    } else if isComplete {
      // By default, so it stands nowhere.
      findings.append(places.diagnostic(severity, key: "", message))
    }
  }

  // MARK: Files

  private mutating func lookAtTicketKeys(_ configuration: Configuration) {
    for file in configuration.listeners.flatMap({ $0.tls?.tickets?.keyFiles ?? [] }) {
      do throws(SystemError) {
        if TicketKeys(secrets: [try File.read(file, limit: 4096)]) != nil { continue }
        report(.error, file, under: "key-files", "\(file) must be 48 or 80 bytes long")
      } catch {
        report(.error, file, under: "key-files", "\(file) can't be read: \(error.ofFile)")
      }
    }
  }

  private mutating func lookAtProcess(_ configuration: Configuration) {
    if configuration.log.access != .off, case .file(let path) = configuration.log.target,
      let obstacle = File.obstacle(toAppendingTo: path)
    {
      report(
        .error, path, under: "target",
        "\(path) can't be opened for the access log: \(obstacle.ofFile)")
    }
    for (key, address) in configuration.log.syslogTargets {
      do throws(SystemError) {
        _ = try DatagramSocket(to: address)
      } catch {
        findings.append(
          places.diagnostic(
            .warning, key: "log.\(key)", "no syslog receiver at \(address): \(error)"))
      }
    }
    let process = configuration.process
    if let path = process.pidFile, let obstacle = File.obstacle(toReplacing: path) {
      report(
        .warning, path, under: "pid-file",
        "the process ID can't be written to \(path): \(obstacle.ofFile)")
    }
    if let user = process.user, Identity(user: user, group: process.group) == nil {
      let group = process.group.map { ", or no group \($0)" } ?? ""
      findings.append(
        places.diagnostic(.error, key: "process.user", "there is no user \(user)\(group)"))
    }
  }

  /// A warning if `run` may be started by another user, who has the capability.
  private mutating func lookAtSourceAddresses(_ configuration: Configuration) {
    guard let (index, message) = configuration.sourceAddressObstacle else { return }
    let process = configuration.process
    let user = process.user.flatMap { Identity(user: $0, group: process.group) }
    let isSame = asRun || Privileges.isRoot || user?.isCurrent ?? false
    findings.append(
      places.diagnostic(
        isSame ? .error : .warning, key: "pools[\(index)].source-address", message))
  }

  private mutating func lookAtAdmin(_ admin: Configuration.Admin) {
    if let path = admin.tokenFile {
      do throws(ServerFailure) {
        _ = try AdminToken.read(path)
      } catch {
        report(
          .error, path, under: "token-file", "\(path): \(error.messages.joined(separator: "; "))")
      }
    }
    if case .path(let path) = admin.socket,
      let obstacle = File.obstacle(toMakingSocketAt: path)
    {
      report(
        .error, path, under: "socket",
        "the socket \(path) can't be created: \(obstacle.ofFile)")
    }
  }

  // MARK: Names

  /// A name that has no address now is no reason not to start, since it may have one later.
  private mutating func lookAtNames(_ configuration: Configuration) {
    let names = NameTable()
    names.watch(configuration)
    if names.isEmpty { return }
    guard let lookups = try? NameLookups(names, report: { _, _ in }) else { return }
    lookups.settle(atMost: Self.patience)
    lookups.end()
    for pool in configuration.pools {
      for unresolved in names.unresolved(in: pool) {
        let endpoint = "\(unresolved.backend.endpoint)"
        let finding = places.diagnostic(
          .warning, about: endpoint, namedBy: "backends",
          "\(endpoint) can't be resolved now, and gets no requests until it can:"
            + " \(unresolved.reason)")
        if let finding { findings.append(finding) }
      }
    }
  }

  // MARK: All together

  /// Whatever else a start would make of it.
  private mutating func tryBuilding(
    _ configuration: Configuration, _ certificates: LoadedCertificates
  ) {
    do throws(ServerFailure) {
      _ = try SnapshotBuilder(workerCount: 1).build(
        configuration, certificates: certificates.byListener, upstreams: certificates.upstreams,
        names: NameTable())
    } catch {
      for message in error.messages {
        findings.append(places.diagnostic(.error, key: "listeners", message))
      }
    }
  }
}

extension Configuration {
  /// Privileges are given up at the start, according to the configuration of that time.
  func checkSourceAddresses() throws(ServerFailure) {
    guard let (index, message) = sourceAddressObstacle else { return }
    throw ServerFailure(
      "source-address of the pool \(pools[index].name): \(message); privileges change only with a"
        + " restart")
  }

  /// Why this process can't use the clients' addresses, with the first pool that wants to.
  var sourceAddressObstacle: (pool: Int, message: String)? {
    guard let index = pools.firstIndex(where: { $0.sourceAddress == .client }),
      let obstacle = TransparentSocket.obstacle
    else { return nil }
    return (
      index,
      "\"client\" needs the capability CAP_NET_RAW or CAP_NET_ADMIN, which the user"
        + " \(Privileges.userName) does not have here: \(obstacle)"
    )
  }

  /// Becomes the user that `run` would become, so that what this user may not read or write is
  /// found; throws why it can't, or why it wouldn't get far.
  public func becomeConfiguredUser() throws(SystemError) {
    guard Privileges.isRoot, let user = process.user,
      let identity = Identity(user: user, group: process.group), !identity.isCurrent
    else { return }
    try Privileges.drop(to: identity, keepsRaw: usesClientAddresses)
  }
}
