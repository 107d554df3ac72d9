// How often a client may send TLS records without data in them: KeyUpdate, requests to renegotiate,
// warning alerts, empty records. Each costs a decryption, some also cost new keys, and no client
// needs many of them.
//
// It only counts. TLSSession recognises these records.

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
