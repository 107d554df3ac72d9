// Taking up another configuration: asked for by a signal or a command, or because a file changed.

import Balancing
import Configuration
import Logging
import Metrics
import Primitives
import Reactor

/// Why a configuration was not taken up, in words for people.
public struct RefusedConfiguration: Error {
  public let reasons: [String]

  public init(_ reasons: [String]) { self.reasons = reasons }
}

extension Server {
  /// `hasChangedFiles`: the caller has seen that the content of a file has changed.
  func reload(hasChangedFiles: Bool = false) {
    switch stage {
    case .serving:
      break
    case .upgrading(var successor):
      // The new process has the new file already, or will refuse it; sockets must not change now.
      successor.reloadsAfter = true
      stage = .upgrading(successor)
      return
    case .draining:
      return
    }
    tell(.reloading)
    // Refused or not, it goes on serving.
    defer { tell(.ready) }
    let hasChangedFiles = files.takeUp() || hasChangedFiles
    // Refused or not: what is wrong with a file is not said again until it is another one.
    defer { watchFiles() }
    let fresh: Configuration
    switch options.reload() {
    case .success(let valid): fresh = valid
    case .failure(let refusal): return refused(refusal.reasons)
    }
    // Without `watch` it isn't known whether the content of a file has changed.
    let isSame = fresh == configuration && configuration.watch && !hasChangedFiles
    let mark = builder.registry.mark
    do throws(ServerFailure) {
      resolveNames(fresh)
      let output = try openAccessLog(fresh.log)
      let build = try build(fresh)
      var adminSockets = try openAdmin(fresh)
      let table: ListenerTable
      do throws(ServerFailure) {
        table = try openListeners(fresh, with: &adminSockets)
      } catch {
        adminSockets.close(except: admin?.sockets)
        throw error
      }
      // After this, it can no longer be refused.
      listening = table
      let isMoved = fresh.process.pidFile != configuration.process.pidFile
      if isMoved { removeProcessID() }
      configuration = fresh
      if isMoved { writeProcessID() }
      let former = self.snapshot
      snapshot = takeUp(build)
      takeUpTicketKeys()
      listenForAdmin(on: adminSockets)
      log?.write(to: output)
      endExporter(of: former)
    } catch {
      builder.registry.forget(since: mark)
      builder.traffic.keep(configuration.metricsSubjects)
      names.watch(configuration, at: SystemClock.monotonic())
      lookups?.wake()
      return refused(error.messages)
    }
    reloads.acceptedCount += 1
    reloads.refusal = []
    reloads.wasLastSame = isSame
    reloads.inForceSince = Double(SystemClock.wall()) / 1e9
    for change in changesThatStay {
      logger.warning(
        "not applied: the change of this key needs an upgrade or a restart",
        metadata: ["key": "\(change.what)"])
    }
    configureProcessLog(fresh.log)
    for (index, worker) in workers.enumerated() {
      worker.inbox.post(installation(forWorker: index))
    }
    reloadDemo()
    forgetFormerBackends()
    builder.traffic.keep(fresh.metricsSubjects)
    watchOverload()
    warnOfDescriptors()
    updateAdmin()
    logger.notice(
      isSame
        ? "nothing has changed: the same configuration is in force"
        : "the new configuration is in force")
    noteAvailability()
  }

  /// The last step that can fail.
  private func openListeners(
    _ fresh: Configuration, with adminSockets: inout AdminSockets
  ) throws(ServerFailure) -> ListenerTable {
    let groups = adminSockets.groups + (admin?.sockets.groups ?? [])
    var table = try listening.opening(fresh, beside: groups.map(\.sockets))
    do throws(ServerFailure) {
      try listen(on: adminSockets)
      try table.listen(fresh)
      try takeName(of: &adminSockets, fresh)
    } catch {
      table.close(except: listening)
      throw error
    }
    return table
  }

  /// What is configured but not in force, since a process takes it up once, at its start.
  var changesThatStay: [Configuration.Change] {
    startConfiguration.changes(to: configuration).filter { change in
      guard change.needsRestart else { return false }
      // The number that there is may be that of the processors.
      return change.what != "workers" || configuration.workers.map { $0 != workers.count } ?? false
    }
  }

  private func refused(_ reasons: [String]) {
    reloads.refusedCount += 1
    reloads.refusal = reasons
    updateAdmin()
    for reason in reasons { logger.error("\(reason)") }
    logger.error("the new configuration is refused; the old one stays in force")
  }

  // MARK: Files

  /// The files of the configuration in force.
  func watchFiles() {
    var paths: Set<String> = []
    if configuration.watch {
      if let file = options.file { paths.insert(file) }
      paths.formUnion(configuration.errorPagePaths)
      for tls in configuration.listeners.compactMap(\.tls) {
        for files in tls.certificates { paths.formUnion([files.chain, files.key]) }
        paths.formUnion(tls.tickets?.keyFiles ?? [])
      }
      for tls in configuration.pools.compactMap(\.tls) {
        paths.formUnion(
          [tls.authority, tls.certificate?.chain, tls.certificate?.key].compactMap(\.self))
      }
      let admin = configuration.admin
      paths.formUnion(
        [admin.certificate?.chain, admin.certificate?.key, admin.clientCA, admin.tokenFile]
          .compactMap(\.self))
    }
    files.watch(paths, at: SystemClock.monotonic())
  }

  func lookAtFiles(at now: Instant) {
    let changed = files.look(at: now)
    if changed.isEmpty { return }
    logger.notice(
      "files have changed: reloading", metadata: ["files": "\(changed.joined(separator: ", "))"])
    reload(hasChangedFiles: true)
  }
}
