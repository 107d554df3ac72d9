// What a UDP listener does with datagrams: the pool, the limits of its sessions, and when they end.

import Configuration
import Primitives

/// A class, so that a session keeps the rules it began under by reference.
final class SessionRules: Sendable {
  /// Index in the snapshot's pools.
  let pool: Int
  /// Open sessions of all workers, by client too.
  let admission: Admission
  let sessionMax: Int
  let sessionsPerClientMax: Int?
  let idle: TimeSpan
  /// Replies to each datagram; nil if replies don't end a session.
  let responses: Int?
  /// Whether each datagram selects a member.
  let perDatagram: Bool

  init(
    pool: Int, admission: Admission = Admission(), sessionMax: Int = 10_000,
    sessionsPerClientMax: Int? = nil, idle: TimeSpan = .seconds(120), responses: Int? = nil,
    perDatagram: Bool = false
  ) {
    self.pool = pool
    self.admission = admission
    self.sessionMax = sessionMax
    self.sessionsPerClientMax = sessionsPerClientMax
    self.idle = idle
    self.responses = responses
    self.perDatagram = perDatagram
  }
}

extension SnapshotBuilder {
  func sessionRules(
    of listener: Configuration.Listener, _ pools: [String: Int]
  ) -> SessionRules {
    SessionRules(
      // The configuration has checked that the pool exists.
      pool: listener.pool.flatMap { pools[$0] } ?? 0,
      admission: tcpAdmissions.admission(of: listener.name),
      sessionMax: listener.sessions.max, sessionsPerClientMax: listener.sessions.maxPerClient,
      idle: listener.sessions.idleTime, responses: listener.sessions.responses,
      perDatagram: listener.sessions.perDatagram)
  }
}
