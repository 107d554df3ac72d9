// One connection through a TCP listener, as both of its ends have seen it.
//
// The client's stream begins with the number of the flow, the backend's with the number of its
// connection. So each side says whom it talks to, and bytes of another connection are found. What
// is wrong at once is a fault at once; ReferenceModel+TCP judges the rest.

import Primitives

final class FlowRecord {
  let plan: TCPFlowPlan
  /// The client's end.
  var endpoint: SimulatedEndpoint?
  /// The connection to a backend over which it goes.
  private(set) var connection: SimulatedTCPConnection?
  /// When the client has sent its FIN.
  var finishedAt: Instant?
  /// When it has left by itself in another way.
  var leftAt: Instant?
  /// What it has seen of the end.
  var sawEnd = false
  var sawReset = false
  /// The connect failed.
  var wasRefused = false
  var endedAt = Instant.never
  /// Bytes of the backend's pattern.
  var receivedCount = 0

  init(plan: TCPFlowPlan) { self.plan = plan }

  var headerCount: Int { plan.header?.bytes.count ?? 0 }

  /// The backend's connection and the flow have found each other.
  func link(_ connection: SimulatedTCPConnection, _ ledger: Ledger) {
    if self.connection === connection { return }
    if let other = self.connection {
      ledger.faultOfFlow(
        plan.id, "is on connection \(connection.id) of a backend, and on \(other.id)")
    } else if let other = connection.flow {
      ledger.faultOfFlow(plan.id, "and flow \(other.plan.id) are on connection \(connection.id)")
    } else {
      self.connection = connection
      connection.flow = self
      if let endpoint {
        ledger.network.peer(of: endpoint).whenClosed = { [unowned connection] in
          connection.noteClosing()
        }
      }
      ledger.network.note("flow \(plan.id) is on connection \(connection.id)")
      if plan.header?.isValid == false {
        ledger.faultOfFlow(plan.id, "was forwarded behind a header that is not valid")
      }
    }
  }
}

/// The first bytes of a stream: who sends it.
enum FlowPreamble {
  static let byteCount = 8

  static func bytes(_ id: Int, isClient: Bool) -> [UInt8] {
    let number = UInt16(truncatingIfNeeded: id)
    let check = mix(UInt64(number) << 1 | (isClient ? 1 : 0))
    return [isClient ? 0xC1 : 0xB1, UInt8(number >> 8), UInt8(number & 0xFF)]
      + (0..<5).map { UInt8(truncatingIfNeeded: check >> (8 * $0)) }
  }

  /// Nil if it is none.
  static func id(_ bytes: [UInt8], isClient: Bool) -> Int? {
    let id = Int(bytes[1]) << 8 | Int(bytes[2])
    return bytes == self.bytes(id, isClient: isClient) ? id : nil
  }
}

extension Ledger {
  func faultOfFlow(_ id: Int, _ text: @autoclosure () -> String) {
    network.fault("flow \(id): \(text())")
  }

  /// The flow that a backend was told of.
  func flow(from source: SocketAddress) -> FlowRecord? {
    flows.values.first { $0.plan.source == source }
  }
}
