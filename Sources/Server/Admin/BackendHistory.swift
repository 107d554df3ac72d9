// The last two minutes of one backend: its conditions and its traffic.
//
// For the dashboard and `martlet top`. The admin thread takes a sample each second.

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

  /// The counts of the last ten seconds, or since the start, with the number of seconds.
  var recent: (traffic: RecentTraffic, seconds: Int)? {
    guard let first = readings.first, let last = readings.last, readings.count > 1 else {
      return nil
    }
    return (RecentTraffic(last, since: first), readings.count - 1)
  }
}
