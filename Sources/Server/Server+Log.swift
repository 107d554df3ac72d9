// Opening the access log, as the configuration wants it.

import Configuration
import Logging
import Reactor

extension Server {
  func startLog() throws(ServerFailure) {
    guard configuration.log.access != .off else { return }
    let target = OutputTarget(configuration.log.target)
    do throws(SystemError) {
      log = try AccessLogWriter(target: target, producerCount: builder.workerCount) {
        [logger] event in
        switch event {
        case .failed(let error):
          logger.error("the access log can't be written; lines will be dropped: \(error)")
        case .recovered:
          logger.notice("the access log can be written again")
        case .reopenFailed(let error):
          logger.error("the access log can't be opened anew: \(error)")
        }
      }
    } catch {
      throw ServerFailure("can't open the access log \(configuration.log.target): \(error)")
    }
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
