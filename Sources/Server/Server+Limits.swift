// What the process as a whole has at its disposal: descriptors, connections, memory.

import Configuration
import Logging

extension Server {
  /// Once for each limit that is configured, not with every reload.
  func warnOfDescriptors() {
    let wanted = configuration.limits.connections
    defer { warnedConnectionMax = wanted }
    if wanted <= builder.descriptors.clientMax || wanted == warnedConnectionMax { return }
    logger.warning(
      """
      limits.connections is \(wanted), but only \(builder.descriptors.clientMax) connections are \
      accepted: the process may have only \(descriptorMax) file descriptors (ulimit -n), and a \
      connection needs up to two
      """)
  }

  /// The limits of the configuration in force.
  func watchOverload() {
    overload.configure(
      configuration.limits,
      connectionMax: min(configuration.limits.connections, builder.descriptors.clientMax))
  }

  var effectiveLimits: EffectiveLimits {
    EffectiveLimits(
      connections: min(configuration.limits.connections, builder.descriptors.clientMax),
      idleUpstreams: builder.descriptors.idleUpstreamMax * builder.workerCount,
      handshakes: snapshot.settings.handshakeMax * builder.workerCount,
      memory: overload.ceiling)
  }
}

/// Limits of the whole process that have a use to be compared with.
struct EffectiveLimits: Sendable {
  let connections: Int
  let idleUpstreams: Int
  let handshakes: Int
  /// Bytes; nil where nothing limits it.
  let memory: Int?
}
