// The part of a backend's record that an upgrade passes to the new process.
//
// It has separate fields instead of HealthState's word, because the two processes may have
// different versions. Counts are not passed on: the old process still counts its own exchanges.

public import Primitives

public struct BackendState: Equatable, Sendable {
  public var identity: BackendIdentity
  /// Checks mark it as down.
  public var isDown: Bool
  /// Consecutive ejections; 0 when it isn't ejected.
  public var ejections: Int
  /// On the machine's monotonic clock, which both processes use.
  public var ejectedUntil: Instant
  public var changedAt: Instant
  public var admin: AdminState
  /// The weight override of an operator.
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
