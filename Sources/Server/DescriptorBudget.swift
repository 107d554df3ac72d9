// How the descriptors of the process are shared out, so that clients can't take those by which
// backends are dialled and the process is steered.
//
// A client's connection may need one to a backend at the same time. Connections to backends that
// wait for reuse and those of the admin interface have shares of their own, which are small where
// there are plenty.

struct DescriptorBudget: Equatable, Sendable {
  /// Clients' connections of the whole process.
  var clientMax: Int
  /// Idle connections to backends, of one worker.
  var idleUpstreamMax: Int
  /// Connections of the admin interface.
  var adminMax: Int

  /// For tests.
  static let unlimited = DescriptorBudget(
    clientMax: .max, idleUpstreamMax: .max, adminMax: AdminLimits.connectionMax)

  private init(clientMax: Int, idleUpstreamMax: Int, adminMax: Int) {
    self.clientMax = clientMax
    self.idleUpstreamMax = idleUpstreamMax
    self.adminMax = adminMax
  }

  /// Of `descriptors` 32 are for files, logs and look-ups, and 8 a worker for its poller, listeners
  /// and health checks.
  init(descriptors: Int, workers: Int) {
    let free = max(0, descriptors - 32 - 8 * workers)
    adminMax = max(2, min(AdminLimits.connectionMax, free / 8))
    idleUpstreamMax = free / 8 / max(1, workers)
    clientMax = max(1, (free - adminMax - idleUpstreamMax * workers) / 2)
  }
}
