// What the process as a whole has at its disposal: descriptors, connections, memory.

import Configuration
import Logging

extension Server {
  /// How many client connections the descriptors suffice for: each may need one to a backend, and
  /// beyond that there are listeners, logs, probes and the workers' own.
  static func connectionMax(descriptors: Int, workers: Int) -> Int {
    max(1, (descriptors - 32 - 8 * workers) / 2)
  }

  func warnOfDescriptors() {
    if configuration.limits.connections <= builder.connectionMax { return }
    logger.warning(
      """
      limits.connections is \(configuration.limits.connections), but the process may have only \
      \(descriptorMax) file descriptors (ulimit -n), and each connection takes up to two: \
      \(builder.connectionMax) are accepted
      """)
  }

  /// The limits of the configuration in force.
  func watchOverload() {
    overload.configure(
      configuration.limits,
      connectionMax: min(configuration.limits.connections, builder.connectionMax))
  }
}
