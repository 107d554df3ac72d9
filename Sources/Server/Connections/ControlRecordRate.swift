// How often a client may send TLS records without data in them: KeyUpdate, requests to renegotiate,
// warning alerts, empty records. Each costs a decryption and some of them new keys, and gets the
// client nothing.
//
// It only counts; how the records are told from others is TLSSession's business.

import Primitives

struct ControlRecordRate {
  /// HAProxy's limit, which was found with clients in the field: some update their keys in bursts.
  static let maxPerSecond = 100

  /// When the second began in which `count` came.
  private var second = Instant.origin
  private var count = 0

  /// Counts `more`; true when there are too many.
  mutating func isTooHigh(with more: Int, at now: Instant) -> Bool {
    if now - second >= .seconds(1) {
      second = now
      count = 0
    }
    count += more
    return count > Self.maxPerSecond
  }
}
