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
          logger.error("the access log can't be written; lines will be dropped: \(error)")
        case .stalled:
          logger.error("nothing reads the access log; lines will be dropped")
        case .recovered:
          logger.notice("the access log can be written again")
        case .reopenFailed(let error):
          logger.error("the access log can't be opened anew: \(error)")
        }
      }
    } catch {
      throw ServerFailure("can't start the access log: \(error)")
    }
  }

  /// Nil while the log is off.
  func openAccessLog(_ log: Configuration.Log) throws(ServerFailure) -> OutputFile? {
    if log.access == .off { return nil }
    do throws(SystemError) {
      return try OutputFile(OutputTarget(log.target))
    } catch {
      throw ServerFailure("can't open the access log \(log.target): \(error)")
    }
  }

  /// By hand, until the next reload. Nil for what is configured.
  func setLogLevel(_ level: Configuration.Log.Level?) -> AdminDocument {
    let level = level ?? configuration.log.level
    options.logLevel.current = level
    logger.notice("the log level is \(level.rawValue)")
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

extension OutputTarget {
  init(_ target: Configuration.Log.Target) {
    self =
      switch target {
      case .stdout: .standardOutput
      case .stderr: .standardError
      case .file(let path): .file(path: path)
      }
  }
}
