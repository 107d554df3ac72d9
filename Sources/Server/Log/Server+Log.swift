// The two logs as the configuration wants them: where the access log goes, and what of the process
// log is shown.

import Configuration
import Logging
import Reactor

extension Server {
  /// The writer is there even while the log is off, since a reload may turn it on.
  func startLog() throws(ServerFailure) {
    let output = try openAccessLog(configuration.log)
    do throws(SystemError) {
      log = try AccessLogWriter(output, producerCount: builder.workerCount) { [logger] event in
        switch event {
        case .failed(let error):
          logger.error(
            "the access log can't be written; new lines are dropped when the buffer is full",
            metadata: ["error": "\(error)"])
        case .stalled:
          logger.error(
            "nothing reads the access log; new lines are dropped when the buffer is full")
        case .recovered:
          logger.notice("the access log can be written again")
        case .reopenFailed(let error):
          logger.error(
            "the access log can't be reopened; the old file stays in use",
            metadata: ["error": "\(error)"])
        }
      }
    } catch {
      throw ServerFailure("can't start the access log: \(error)")
    }
  }

  /// The level, the format and the target of the process log.
  func configureProcessLog(_ log: Configuration.Log) {
    options.log.setTarget(log.processTarget)
    options.log.level = log.level
    options.log.format = log.format
  }

  /// Nil while the log is off.
  func openAccessLog(_ log: Configuration.Log) throws(ServerFailure) -> LogOutput? {
    if log.access == .off { return nil }
    do throws(SystemError) {
      return try LogOutput(log.target)
    } catch {
      throw ServerFailure("can't open the access log \(log.target): \(error.ofFile)")
    }
  }

  /// By hand, until the next reload. Nil for what is configured.
  func setLogLevel(_ level: Configuration.Log.Level?) -> AdminDocument {
    let level = level ?? configuration.log.level
    options.log.level = level
    logger.notice("the log level was changed", metadata: ["level": "\(level.rawValue)"])
    return AdminDocument { $0.writeLogLevel(level, configured: configuration.log.level) }
  }
}

extension JSONWriter {
  mutating func writeLogLevel(
    _ level: Configuration.Log.Level, configured: Configuration.Log.Level
  ) {
    member("level", level.rawValue)
    member("configured", configured.rawValue)
  }
}
