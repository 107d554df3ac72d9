// What the process as a whole has at its disposal: descriptors, connections, memory.

import Configuration
import Logging

extension Server {
  /// Logged once per configured limit, not at every reload.
  func warnOfDescriptors() {
    let wanted = configuration.limits.connections
    defer { warnedConnectionMax = wanted }
    if wanted <= builder.descriptors.clientMax || wanted == warnedConnectionMax { return }
    logger.warning(
      """
      limits.connections is \(wanted), but only \(builder.descriptors.clientMax) connections are \
      accepted: the process may have only \(descriptorMax) file descriptors (ulimit -n). A \
      connection needs up to two, and some are reserved, mostly for idle connections to backends
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

/// Limits of the process with a value to compare them with.
struct EffectiveLimits: Sendable {
  let connections: Int
  let idleUpstreams: Int
  let handshakes: Int
  /// In bytes; nil without a limit.
  let memory: Int?
}
