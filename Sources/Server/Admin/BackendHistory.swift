// The last two minutes of one backend: in what condition it was, and what it did of late.
//
// For the dashboard and `martlet top`. The admin thread takes a sample each second.

import Metrics
import Primitives

struct BackendHistory {
  /// Seconds in a row in the same condition.
  struct Run {
    let condition: BackendCondition
    var seconds: Int
  }

  /// Rates and quantiles are taken over so many seconds.
  static let recentSeconds = 10

  /// The oldest first; together no more than `History.secondCount`.
  private(set) var runs: [Run] = []
  private var seconds = 0
  /// One a second, the newest last.
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

  /// What was counted within the last second; nil before there are two samples.
  var lastSecond: RecentTraffic? {
    guard readings.count > 1 else { return nil }
    return RecentTraffic(readings[readings.count - 1], since: readings[readings.count - 2])
  }

  /// What was counted within the last ten seconds, or since the start, with the number of seconds.
  var recent: (traffic: RecentTraffic, seconds: Int)? {
    guard let first = readings.first, let last = readings.last, readings.count > 1 else {
      return nil
    }
    return (RecentTraffic(last, since: first), readings.count - 1)
  }
}
