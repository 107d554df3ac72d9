// Taking up another configuration: asked for by a signal or a command, or because a file changed.

import Configuration
import Logging
import Primitives
import Reactor

/// Why a configuration was not taken up, in words for people.
public struct RefusedConfiguration: Error {
  public let reasons: [String]

  public init(_ reasons: [String]) { self.reasons = reasons }
}

extension Server {
  func reload() {
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
    files.takeUp()
    // Refused or not: what is wrong with a file is not said again until it is another one.
    defer { watchFiles() }
    let fresh: Configuration
    switch options.reload() {
    case .success(let valid): fresh = valid
    case .failure(let refusal): return refused(refusal.reasons)
    }
    do throws(ServerFailure) {
      resolveNames(fresh)
      let output = try openAccessLog(fresh.log)
      let snapshot = try build(fresh)
      listening = try listening.opening(fresh)
      let isMoved = fresh.process.pidFile != configuration.process.pidFile
      if isMoved { removeProcessID() }
      configuration = fresh
      if isMoved { writeProcessID() }
      takeUpTicketKeys()
      let former = self.snapshot
      self.snapshot = snapshot
      log?.write(to: output)
      endExporter(of: former)
    } catch {
      names.watch(configuration)
      lookups?.wake()
      for message in error.messages { logger.error("\(message)") }
      return refused(error.messages)
    }
    reloads.acceptedCount += 1
    reloads.refusal = []
    reloads.inForceSince = Double(SystemClock.wall()) / 1e9
    if fresh.workers != nil && fresh.workers != workers.count {
      logger.warning("the number of workers stays \(workers.count) until an upgrade or a restart")
    }
    options.logLevel.current = fresh.log.level
    for (index, worker) in workers.enumerated() {
      worker.inbox.post(installation(forWorker: index))
    }
    watchOverload()
    warnOfDescriptors()
    updateAdmin()
    logger.notice("the new configuration is in force")
  }

  private func refused(_ reasons: [String]) {
    reloads.refusedCount += 1
    reloads.refusal = reasons
    updateAdmin()
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
      let admin = configuration.admin
      paths.formUnion(
        [admin.certificate?.chain, admin.certificate?.key, admin.clientCA].compactMap(\.self))
    }
    files.watch(paths, at: SystemClock.monotonic())
  }

  func lookAtFiles(at now: Instant) {
    let changed = files.look(at: now)
    if changed.isEmpty { return }
    logger.notice("changed: \(changed.joined(separator: ", "))")
    reload()
  }
}
