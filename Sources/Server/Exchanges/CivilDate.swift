// Dates for people and for HTTP, computed from seconds since 1970 without the C library's locales
// and time zones.

/// The Gregorian date of a day, by counting in eras of 400 years that begin in March.
func civilDate(daysSinceEpoch days: Int) -> (year: Int, month: Int, day: Int) {
  let shifted = days + 719_468
  let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
  let dayOfEra = shifted - era * 146_097
  let yearOfEra =
    (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
  let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
  let monthFromMarch = (5 * dayOfYear + 2) / 153
  let day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
  let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
  return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day)
}

/// By month, from January.
let monthNames: [StaticString] = [
  "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
]

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 5.6.7).
func httpDate(seconds: UInt64) -> [UInt8] {
  let days = Int(seconds / 86_400)
  let (year, month, day) = civilDate(daysSinceEpoch: days)
  let time = seconds % 86_400
  // 1970 began on a Thursday.
  let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][days % 7]
  let name = monthNames[month - 1]
  func padded(_ number: UInt64) -> String { number < 10 ? "0\(number)" : "\(number)" }
  let clock = "\(padded(time / 3600)):\(padded(time / 60 % 60)):\(padded(time % 60))"
  return Array("\(weekday), \(padded(UInt64(day))) \(name) \(year) \(clock) GMT".utf8)
}
