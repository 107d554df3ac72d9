// The priority of a response, as requested by the client (RFC 9218 4 and 5): a structured field
// with `u`, 0 to 7, and `i`.
//
// An invalid field is ignored, since a priority is only a hint (RFC 9218 4).

import HTTP
import Primitives

public struct StreamPriority: Equatable, Sendable {
  /// 0 first, 7 last.
  public var urgency: UInt8
  /// The response is useful in parts, so it may share bandwidth with others of its urgency.
  public var isIncremental: Bool

  /// Without a hint, responses share bandwidth. With the RFC's default, one after the other, a long
  /// download would block everything else.
  public static let unstated = StreamPriority(urgency: 3, isIncremental: true)

  public init(urgency: UInt8, isIncremental: Bool) {
    self.urgency = min(urgency, 7)
    self.isIncremental = isIncremental
  }

  /// Parses a Priority field, or a PRIORITY_UPDATE. Nil when it contains neither `u` nor `i`.
  public init?(_ text: Span<UInt8>) {
    var urgency: UInt8? = nil
    var isIncremental: Bool? = nil
    var start = 0
    while start < text.count {
      let end = text.firstIndex(of: 0x2C, in: start..<text.count)
      var first = start
      var last = end
      while first < last && text[first].isBlank { first += 1 }
      while last > first && text[last - 1].isBlank { last -= 1 }
      let member = text.extracting(first..<last)
      start = end + 1
      // Parameters of a member are unknown, and ignored.
      let count = member.firstIndex(of: 0x3B, in: 0..<member.count)
      if count == 3 && member[0] == 0x75 && member[1] == 0x3D && member[2] &- 0x30 < 8 {
        urgency = member[2] &- 0x30
      } else if count == 1 && member[0] == 0x69 {
        isIncremental = true
      } else if count == 4 && member[0] == 0x69 && member[1] == 0x3D && member[2] == 0x3F
        && member[3] &- 0x30 < 2
      {
        isIncremental = member[3] == 0x31
      }
    }
    if urgency == nil && isIncremental == nil { return nil }
    // If one of both is given, the default of RFC 9218 applies to the other.
    self.init(urgency: urgency ?? 3, isIncremental: isIncremental ?? false)
  }
}
