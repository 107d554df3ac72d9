// Replacing the running binary without a gap (SIGUSR2).
//
// A new process is started with the very same listening sockets, all of them, since closing one
// would reset what waits in its queue. Both accept for a moment; when the new one serves, this one
// drains and ends. As long as it doesn't, this one serves as if nothing had happened.

import Balancing
import Configuration
import Logging
import Primitives
import Reactor
import TLS

extension Server {
  /// Starts the successor.
  func upgrade() {
    switch stage {
    case .upgrading(let successor):
      logger.notice(
        "an upgrade is already in progress", metadata: ["process": "\(successor.process.id)"])
      return
    case .draining:
      logger.notice("no upgrade: this process is stopping")
      return
    case .serving where CurrentProcess.id == 1:
      // When the first process of a container ends, all others are ended.
      logger.error("no upgrade: process 1 of a container can't be replaced; replace the container")
      return
    case .serving:
      break
    }
    var handover = Handover()
    handover.sockets = listening.handover + (admin?.sockets.handover ?? [])
    handover.ticketRings = builder.ticketRings.states
    handover.cookieKey = builder.cookieKey
    handover.backends = builder.registry.states
    handover.names = names.handover
    do throws(SystemError) {
      let successor = try Successor(handover, within: configuration.limits.upgrade) {
        [inbox] report in inbox.post(.successor(report))
      }
      stage = .upgrading(successor)
      logger.notice(
        "upgrading: started the new process", metadata: ["process": "\(successor.process.id)"])
    } catch {
      upgradeFailed("the new process can't be started: \(error)")
    }
  }

  func successorReported(_ report: Successor.Report) {
    switch (stage, report) {
    case (.upgrading(let successor), .ready):
      logger.notice(
        "the new process has taken over; this process finishes its active requests, then exits",
        metadata: ["process": "\(successor.process.id)"])
      stage = .draining(isAsked: false)
      handOverSessions(to: successor)
      drainsAt = SystemClock.monotonic()
      tell(.replaced(by: successor.process.id))
      // Who asks from now on is answered by the new process.
      admin?.end()
      admin = nil
    case (.upgrading(let successor), .ended(let ending, let reason)):
      stage = .serving
      if successor.isOverdue {
        upgradeFailed("the new process did not serve in time, and was ended")
      } else if reason.isEmpty {
        upgradeFailed("the new process ended (\(ending)) before it served")
      } else {
        upgradeFailed("the new process does not serve: \(reason)")
      }
      if successor.reloadsAfter { reload() }
    case (.serving, _), (.draining, _):
      abandoned = nil
    }
  }

  /// Ends a successor that takes too long; its end is reported like any other.
  func checkSuccessor(at now: Instant) {
    guard case .upgrading(var successor) = stage, !successor.isOverdue,
      now >= successor.givesUpAt
    else { return }
    successor.isOverdue = true
    successor.process.kill()
    stage = .upgrading(successor)
  }

  private func upgradeFailed(_ reason: String) {
    logger.error(
      "the upgrade failed; this process continues", metadata: ["reason": "\(reason)"])
    // Anew, so that whoever waits for the outcome sees that there is one.
    writeProcessID()
  }

  // MARK: The process id's file

  /// Written by whoever serves, at the end of each upgrade, be it a success or not.
  func writeProcessID() {
    guard let path = configuration.process.pidFile else { return }
    do throws(SystemError) {
      try File.replace(path, with: "\(CurrentProcess.id)\n")
    } catch {
      logger.error(
        "can't write process.pid-file", metadata: ["path": "\(path)", "error": "\(error)"])
    }
  }

  /// Takes the file away, unless another process has written it since.
  func removeProcessID() {
    guard let path = configuration.process.pidFile, let bytes = try? File.read(path, limit: 64)
    else { return }
    if String(decoding: bytes, as: UTF8.self) == "\(CurrentProcess.id)\n" { File.remove(path) }
  }
}
