// What of a backend's record goes along when a new process takes over from a running one.
//
// Fields, and not the word of HealthState, because the two processes may be of different versions.
// Counts stay behind: what an old process still has under way it counts itself.

public import Primitives

public struct BackendState: Equatable, Sendable {
  public var identity: BackendIdentity
  /// The checks say that it is down.
  public var isDown: Bool
  /// Ejections in a row; 0 when exchanges have nothing against it.
  public var ejections: Int
  /// On the machine's monotonic clock, which both processes read.
  public var ejectedUntil: Instant
  public var changedAt: Instant
  public var admin: AdminState
  /// Set by hand in place of the configured one.
  public var weight: Int?

  public init(
    identity: BackendIdentity, isDown: Bool = false, ejections: Int = 0,
    ejectedUntil: Instant = .origin, changedAt: Instant = .origin, admin: AdminState = .enabled,
    weight: Int? = nil
  ) {
    self.identity = identity
    self.isDown = isDown
    self.ejections = ejections
    self.ejectedUntil = ejectedUntil
    self.changedAt = changedAt
    self.admin = admin
    self.weight = weight
  }
}
