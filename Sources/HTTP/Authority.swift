// The host and port of a request: from Host, an absolute target, CONNECT or :authority.
//
// Stricter than RFC 3986 3.2.2: a host name contains unreserved characters only. Percent-encoding
// and the sub-delimiters (`!$&'()*+,;=`) occur in no DNS name. Two servers would decode or split
// them differently, and then a request reaches another site than the one that was checked. User
// information (`user@`) is refused for the same reason (RFC 9110 4.2.4).

import Primitives

/// The parts of `host [":" port]`, as positions in the text that was parsed.
public struct Authority: Equatable, Sendable {
  /// The longest host in bytes: DNS names (RFC 1035 2.3.4) and addresses are not longer.
  public static let hostByteCount = 255

  /// A name, an IPv4 address, or an IPv6 address with its brackets.
  public let host: Range<Int>
  /// 1-65535; nil when none is given, also for `example.org:`.
  public let port: UInt16?

  /// Nil when `text` is no authority, or when its host is empty or too long.
  public init?(_ text: Span<UInt8>) {
    let end = text.count
    var index = 0
    if end > 0 && text[0] == 0x5B {
      index = text.firstIndex(of: 0x5D, in: 0..<end)
      guard index < end else { return nil }
      // Only IPv6 addresses have brackets, also if the address is a mapped IPv4 one.
      let address = text.extracting(1..<index)
      guard IPAddress(address) != nil,
        address.firstIndex(of: 0x3A, in: 0..<address.count) < address.count
      else { return nil }
      index += 1
    } else {
      while index < end && text[index].isHostByte { index += 1 }
    }
    guard index > 0, index <= Self.hostByteCount else { return nil }
    host = 0..<index
    if index == end || (text[index] == 0x3A && index + 1 == end) {
      port = nil
      return
    }
    let digits = text.extracting((index + 1)..<end)
    guard text[index] == 0x3A, digits.count <= 5, let number = digits.decimalValue,
      number > 0, let port = UInt16(exactly: number)
    else { return nil }
    self.port = port
  }
}
