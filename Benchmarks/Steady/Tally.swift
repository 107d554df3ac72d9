// The counters of a run, and their output as a line of JSON.

import Metrics
import Primitives

struct Tally {
  private let latencies = FineHistogram()
  private var answered = 0
  /// In microseconds.
  private var longest: UInt64 = 0
  private var lastAnswer = Instant.origin
  /// Requests that became due while every connection was busy.
  var lateCount = 0
  /// Connections that the server closed between two requests.
  var closedCount = 0

  /// A complete 200 for a request that was due at `due`.
  mutating func addAnswer(due: Instant, at now: Instant) {
    let microseconds = UInt64(max(0, (now - due).microseconds))
    latencies.add(microseconds: microseconds)
    longest = max(longest, microseconds)
    answered += 1
    lastAnswer = max(lastAnswer, now)
  }

  func line(_ schedule: Schedule) -> String {
    let requests = schedule.count - schedule.warmUpCount
    let start = schedule.due(schedule.warmUpCount)
    // The later of both: a slow server ends after the last request was due.
    let end = max(schedule.due(schedule.count), lastAnswer)
    let perSecond = Double(answered) / (Double((end - start).nanoseconds) / 1e9)
    let reading = FineHistogram.Reading(of: [latencies])
    let quantiles = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)]
    var fields = quantiles.map { name, share in
      "\"\(name)\":" + (reading.quantile(share).map { "\(Int($0))" } ?? "null")
    }
    fields.append("\"max\":" + (answered == 0 ? "null" : "\(longest)"))
    return "{\"requests\":\(requests),\"errors\":\(requests - answered + closedCount),"
      + "\"rate\":\(schedule.rate),\"achieved\":\((perSecond * 10).rounded() / 10),"
      + "\"microseconds\":{\(fields.joined(separator: ","))},\"late\":\(lateCount)}"
  }
}
