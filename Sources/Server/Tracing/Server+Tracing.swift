// Starting and ending the thread that sends spans, as the configuration wants it.

import Configuration
import Logging
import Primitives
import Reactor

extension Server {
  /// For this configuration: the one that is running, if it would do the same, or another. Nil when
  /// nothing is traced.
  func spanExporter(for configuration: Configuration) throws(ServerFailure) -> SpanExporter? {
    guard let tracing = configuration.tracing else { return nil }
    let settings = SpanExporter.Settings(
      collector: tracing.endpoint, serviceName: tracing.serviceName, version: options.version)
    if let running = snapshot.settings.tracing?.exporter, running.settings == settings {
      return running
    }
    do throws(SystemError) {
      return try SpanExporter(settings, producerCount: builder.workerCount) { [logger] event in
        switch event {
        case .failed(let reason):
          logger.error(
            "traces can't be sent", metadata: ["to": "\(tracing.endpoint)", "error": "\(reason)"])
        case .recovered:
          logger.notice("traces can be sent again", metadata: ["to": "\(tracing.endpoint)"])
        }
      }
    } catch {
      throw ServerFailure("can't start the thread for traces: \(error)")
    }
  }

  /// What no worker uses any more sends what it has, and ends by itself.
  func endExporter(of former: Snapshot) {
    let exporter = former.settings.tracing?.exporter
    if exporter !== snapshot.settings.tracing?.exporter { exporter?.stop(atMost: .zero) }
  }
}
