// The limits that refuse a client's connection when it begins. Each refusal is counted, for the
// process and for the listener, and some are logged.

import Metrics
import Primitives
import Reactor

enum ConnectionLimit: Int, CaseIterable {
  /// Of the process.
  case all, address
  /// Of a TCP listener.
  case listener, listenerAndAddress

  /// The key in the configuration, as logs and metrics have it.
  var name: StaticString {
    switch self {
    case .all: "connections"
    case .address: "connections-per-address"
    case .listener: "max-connections"
    case .listenerAndAddress: "max-connections-per-client"
    }
  }

  fileprivate var metric: Metric {
    switch self {
    case .all: .connectionsRefusedInAll
    case .address: .connectionsRefusedByAddress
    case .listener: .connectionsRefusedByListener
    case .listenerAndAddress: .connectionsRefusedByListenerAndAddress
    }
  }

  fileprivate var counter: TrafficCounter {
    switch self {
    case .all: .refusedInAll
    case .address: .refusedByAddress
    case .listener: .refusedByListener
    case .listenerAndAddress: .refusedByListenerAndAddress
    }
  }
}

extension Worker where IO: ~Copyable {
  /// A connection is not admitted; the caller closes it.
  mutating func noteRefusal(_ limit: ConnectionLimit, of peer: SocketAddress, listener: Int) {
    metrics.add(limit.metric)
    listeners[listener].traffic?.add(limit.counter)
    events.connectionRefused(limit, from: peer, listener: listeners[listener].name, at: now)
  }
}
