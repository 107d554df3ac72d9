// Faults for tests of clients and of alarms: a share of a route's requests is delayed, or gets an
// error instead of a response. Both are stages; the log and the metrics name them.

import Metrics
import Primitives
import Proxy
import Reactor

/// What a route does to its requests on purpose.
struct Fault: Sendable, Equatable {
  var delay: TimeSpan?
  var delayPercent = 100
  /// The status of the error.
  var abort: UInt16?
  var abortPercent = 100

  /// How many requests each worker delays at a time. Further ones aren't delayed: a fault must not
  /// become an outage.
  static var delayedMax: Int { 100 }
}

extension Worker where IO: ~Copyable {
  mutating func injectDelay(_ handle: Handle) -> StageVerdict {
    guard let fault = exchanges[handle].route?.fault, let delay = fault.delay,
      delayed.count < Fault.delayedMax, isDrawn(fault.delayPercent)
    else { return .next }
    metrics.add(.faultDelays)
    delayed.insert(handle)
    return .wait(until: min(now + delay, stageWaitEnd(handle)))
  }

  mutating func injectAbort(_ handle: Handle) -> StageVerdict {
    guard let fault = exchanges[handle].route?.fault, let status = fault.abort,
      isDrawn(fault.abortPercent)
    else { return .next }
    metrics.add(.faultAborts)
    // A call of gRPC-Web gets the status of one.
    if exchanges[handle].stages.request.contains(.grpcWeb) { _ = translateGRPCWebRequest(handle) }
    return .answer(LocalAnswer(error: status), .faultInjected)
  }

  private mutating func isDrawn(_ percent: Int) -> Bool {
    generator.next(below: 100) < percent
  }
}
