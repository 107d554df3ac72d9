// The time of day as the lines of a log have it. A second is put into words once, for all the lines
// that are written within it. What time it is, is the caller's to say, in nanoseconds since 1970.

import Primitives

struct LogClock: ~Copyable {
  /// Since 1970; what both texts say.
  private var second = UInt64.max
  private var dateTime = ByteBuffer()
  private var localTime = ByteBuffer()

  /// `2026-01-02T03:04:05.678Z` (RFC 3339).
  mutating func writeTime(_ wall: UInt64, to line: inout ByteBuffer) {
    update(wall)
    line.append(dateTime.bytes)
    line.append(0x2E)
    line.append(decimal: wall / 1_000_000 % 1000, digits: 3)
    line.append(0x5A)
  }

  /// `02/Jan/2026:03:04:05 +0000`, as nginx has it.
  mutating func writeLocalTime(_ wall: UInt64, to line: inout ByteBuffer) {
    update(wall)
    line.append(localTime.bytes)
  }

  private mutating func update(_ wall: UInt64) {
    if wall / 1_000_000_000 == second { return }
    second = wall / 1_000_000_000
    let (year, month, day) = civilDate(daysSinceEpoch: Int(second / 86_400))
    dateTime.removeAll()
    dateTime.append(decimal: UInt64(year))
    dateTime.append(0x2D)
    dateTime.append(decimal: UInt64(month), digits: 2)
    dateTime.append(0x2D)
    dateTime.append(decimal: UInt64(day), digits: 2)
    dateTime.append(0x54)
    Self.writeClock(second % 86_400, to: &dateTime)
    localTime.removeAll()
    localTime.append(decimal: UInt64(day), digits: 2)
    localTime.append(0x2F)
    localTime.append(monthNames[month - 1])
    localTime.append(0x2F)
    localTime.append(decimal: UInt64(year))
    localTime.append(0x3A)
    Self.writeClock(second % 86_400, to: &localTime)
    localTime.append(" +0000")
  }

  private static func writeClock(_ seconds: UInt64, to text: inout ByteBuffer) {
    text.append(decimal: seconds / 3600, digits: 2)
    text.append(0x3A)
    text.append(decimal: seconds / 60 % 60, digits: 2)
    text.append(0x3A)
    text.append(decimal: seconds % 60, digits: 2)
  }
}
