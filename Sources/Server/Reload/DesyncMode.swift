// What a listener does about request heads that the RFCs call invalid but that can be repaired
// without moving a boundary (HTTP1/Tolerance.swift). Everything else is refused in every mode.

enum DesyncMode: Sendable {
  /// Refuses them too.
  case strict
  /// Repairs them, counts them, and closes the connection after the answer.
  case defensive
  /// The same, and names in the log what strict would have refused.
  case monitor

  var tolerates: Bool { self != .strict }
}
