// The keys of session tickets: from files that several nodes share, or made here and made anew.

import Configuration
import Logging
import Primitives
import Reactor
import TLS

extension Server {
  func readTicketKeys(of configuration: Configuration) throws(ServerFailure) {
    let lists = configuration.listeners.compactMap { $0.tls?.tickets?.keyFiles }
    for files in lists where !files.isEmpty { try readTicketKeys(files) }
    if lists.allSatisfy(\.isEmpty) { builder.ticketKeys.stopSharing() }
  }

  private func readTicketKeys(_ files: [String]) throws(ServerFailure) {
    var secrets: [[UInt8]] = []
    for file in files {
      do throws(SystemError) {
        secrets.append(try File.read(file, limit: 4096))
      } catch {
        throw ServerFailure("ticket key \(file): \(error)")
      }
    }
    guard builder.ticketKeys.replace(secrets: secrets) else {
      throw ServerFailure(
        "ticket keys \(files.joined(separator: ", ")): each must be 48 or 80 bytes long")
    }
  }

  /// At the start and at a reload, which never puts off what is due: where there are many, no key
  /// would ever be made anew.
  func scheduleTicketRotation() {
    let intervals = configuration.listeners.compactMap { $0.tls?.tickets?.rotation }
    let next = intervals.min().map { SystemClock.monotonic() + $0 } ?? .never
    rotatesTicketsAt = next == .never ? .never : min(rotatesTicketsAt, next)
  }

  func rotateTickets() {
    rotatesTicketsAt = .never
    scheduleTicketRotation()
    do throws(TLSFailure) {
      try builder.ticketKeys.rotate()
    } catch {
      logger.error("can't make a new ticket key: \(error)")
    }
  }
}
