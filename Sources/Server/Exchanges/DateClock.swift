// The Date of responses, formatted once a second (RFC 9110 6.6.1). The caller passes the time.

struct DateClock {
  private var second = UInt64.max
  private var text: [UInt8] = []

  /// The date at `wall`, in nanoseconds since 1970.
  mutating func date(at wall: UInt64) -> [UInt8] {
    if wall / 1_000_000_000 != second {
      second = wall / 1_000_000_000
      text = httpDate(seconds: second)
    }
    return text
  }
}
