// What the process as a whole has at its disposal: descriptors, connections, memory.

import Configuration
import Logging

extension Server {
  func warnOfDescriptors() {
    if configuration.limits.connections <= builder.descriptors.clientMax { return }
    logger.warning(
      """
      limits.connections is \(configuration.limits.connections), but the process may have only \
      \(descriptorMax) file descriptors (ulimit -n), and each connection takes up to two: \
      \(builder.descriptors.clientMax) are accepted
      """)
  }

  /// The limits of the configuration in force.
  func watchOverload() {
    overload.configure(
      configuration.limits,
      connectionMax: min(configuration.limits.connections, builder.descriptors.clientMax))
  }
}
