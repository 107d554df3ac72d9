// The keys of session tickets: from files that several nodes share, or made here and made anew.

import Configuration
import Logging
import Primitives
import Reactor
import TLS

extension Server {
  /// What a configuration wants of the rings, its key files read.
  func ticketPlans(
    of configuration: Configuration
  ) throws(ServerFailure) -> [String: TicketRings.Plan] {
    var plans: [String: TicketRings.Plan] = [:]
    for listener in configuration.listeners {
      guard let tickets = listener.tls?.tickets else { continue }
      plans[listener.name] = TicketRings.Plan(
        secrets: try readSecrets(tickets.keyFiles), rotation: tickets.rotation)
    }
    return plans
  }

  private func readSecrets(_ files: [String]) throws(ServerFailure) -> [[UInt8]] {
    var secrets: [[UInt8]] = []
    for file in files {
      do throws(SystemError) {
        secrets.append(try File.read(file, limit: 4096))
      } catch {
        throw ServerFailure("ticket key \(file): \(error.ofFile)")
      }
    }
    if !files.isEmpty && TicketKeys(secrets: secrets) == nil {
      throw ServerFailure(
        "ticket keys \(files.joined(separator: ", ")): each must be 48 or 80 bytes long")
    }
    return secrets
  }

  func takeUpTicketKeys() {
    builder.ticketRings.takeUp(ticketPlans, at: SystemClock.monotonic())
  }

  func rotateTickets(at now: Instant) {
    do throws(TLSFailure) {
      try builder.ticketRings.rotate(at: now)
    } catch {
      logger.error(
        "can't make a new key for session tickets; the old key stays in use",
        metadata: ["error": "\(error)"])
    }
  }
}
