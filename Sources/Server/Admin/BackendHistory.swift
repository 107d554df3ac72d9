// The last two minutes of one backend: its conditions and its traffic. Also whether almost all
// requests or connections to the backends of a pool fail.
//
// For the dashboard and `martlet top`. The admin thread takes a sample each second.

import Balancing
import Metrics
import Primitives

struct BackendHistory {
  /// Consecutive seconds in the same condition.
  struct Run {
    let condition: BackendCondition
    var seconds: Int
  }

  /// The number of seconds for rates and quantiles.
  static let recentSeconds = 10

  /// The oldest first; together at most `History.secondCount`.
  private(set) var runs: [Run] = []
  private var seconds = 0
  /// One per second, the newest last.
  private var readings: [TrafficReading] = []

  mutating func sample(_ condition: BackendCondition) {
    if let last = runs.indices.last, runs[last].condition == condition {
      runs[last].seconds += 1
    } else {
      runs.append(Run(condition: condition, seconds: 1))
    }
    seconds += 1
    guard seconds > History.secondCount else { return }
    seconds -= 1
    runs[0].seconds -= 1
    if runs[0].seconds == 0 { runs.removeFirst() }
  }

  mutating func sample(_ reading: TrafficReading) {
    readings.append(reading)
    if readings.count > Self.recentSeconds + 1 { readings.removeFirst() }
  }

  var isSampled: Bool { !readings.isEmpty }

  /// The counts of the last second; nil before there are two samples.
  var lastSecond: RecentTraffic? {
    guard readings.count > 1 else { return nil }
    return RecentTraffic(readings[readings.count - 1], since: readings[readings.count - 2])
  }

  /// The number of seconds after which failures of all requests are an alarm.
  static let alarmSeconds = 2
  /// Fewer failures of a pool are no alarm.
  static let alarmFailureMin = 5

  /// The counts of the last seconds, for the alarm of a pool; nil before there are two samples.
  var latest: RecentTraffic? {
    guard let last = readings.last, readings.count > 1 else { return nil }
    return RecentTraffic(last, since: readings[max(0, readings.count - 1 - Self.alarmSeconds)])
  }

  /// In the same time: connections that their backend reset after its first bytes. Many programs
  /// end a connection so.
  fileprivate var latestResets: UInt64 {
    guard let last = readings.last, readings.count > 1 else { return 0 }
    let first = readings[max(0, readings.count - 1 - Self.alarmSeconds)]
    let word = CounterWord(FailureWord.relayReset)
    return last.failureCount(word) &- first.failureCount(word)
  }

  /// The counts of the last ten seconds, or since the start, with the number of seconds.
  var recent: (traffic: RecentTraffic, seconds: Int)? {
    guard let first = readings.first, let last = readings.last, readings.count > 1 else {
      return nil
    }
    return (RecentTraffic(last, since: first), readings.count - 1)
  }
}

extension Collection<BackendHistory> {
  /// Of a pool: whether at least 95 % of the attempts of the last seconds failed, or
  /// got a response with a status 5xx. Health checks and ejections need more time to notice it, and
  /// the last available backend is never ejected. A pool of connections has no responses: an
  /// attempt that has not failed is a good one, since it may last for days.
  func isFailing(countsResponses: Bool) -> Bool {
    var (good, bad) = (UInt64(0), UInt64(0))
    for history in self {
      guard let traffic = history.latest else { continue }
      guard countsResponses else {
        let failures = traffic.failures - Swift.min(traffic.failures, history.latestResets)
        good += traffic.attempts - Swift.min(traffic.attempts, failures)
        bad += failures
        continue
      }
      good += traffic.responses[1] + traffic.responses[2] + traffic.responses[3]
      // A status that is retried counts as both.
      bad += Swift.max(traffic.failures, traffic.responses[4])
    }
    return bad >= BackendHistory.alarmFailureMin && bad >= 19 * good
  }
}
