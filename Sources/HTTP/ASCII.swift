// Character classes of HTTP's grammar, and comparisons of short ASCII texts.
//
// Protocol elements are ASCII in every HTTP version, so everything here works on bytes: no String,
// no locale, no Unicode folding. A class is two 64-bit masks, one per half of ASCII. Bytes from
// 0x80 on are in no class.

import Primitives

extension UInt8 {
  /// A character of a token (RFC 9110 5.6.2): of method, field and transfer coding names.
  @inlinable public var isTokenByte: Bool {
    // !#$%&'*+-. 0-9 | A-Z ^_` a-z |~
    isIn(low: 0x03FF_6CFA_0000_0000, high: 0x57FF_FFFF_C7FF_FFFE)
  }

  /// What a request target may contain: every visible ASCII character except `#`, since clients
  /// never send a fragment (RFC 9110 4.2.5). This accepts more than RFC 3986 does, because clients
  /// send characters such as `|` and `"` unescaped.
  @inlinable public var isTargetByte: Bool {
    isIn(low: 0xFFFF_FFF6_0000_0000, high: 0x7FFF_FFFF_FFFF_FFFF)
  }

  /// A character of a host name: the unreserved characters of RFC 3986.
  @inlinable public var isHostByte: Bool {
    // -. 0-9 | A-Z _ a-z ~
    isIn(low: 0x03FF_6000_0000_0000, high: 0x47FF_FFFE_87FF_FFFE)
  }

  /// A character of a field name that all servers read in the same way: a letter, a digit or a
  /// hyphen.
  @inlinable public var isPlainNameByte: Bool {
    // - 0-9 | A-Z a-z
    isIn(low: 0x03FF_2000_0000_0000, high: 0x07FF_FFFE_07FF_FFFE)
  }

  @inlinable public var isDigit: Bool { self &- 0x30 < 10 }

  /// Optional white space (RFC 9110 5.6.3): space or tab.
  @inlinable public var isBlank: Bool { self == 0x20 || self == 0x09 }

  @inlinable public var lowercased: UInt8 { self &- 0x41 < 26 ? self | 0x20 : self }

  /// The value of a hexadecimal digit.
  @inlinable public var hexadecimalValue: UInt8? {
    if isDigit { return self &- 0x30 }
    let letter = (self | 0x20) &- 0x61
    return letter < 6 ? letter &+ 10 : nil
  }

  @inlinable @inline(__always)
  internal func isIn(low: UInt64, high: UInt64) -> Bool {
    let mask = self & 0x40 == 0 ? low : high
    return self < 0x80 && (mask >> UInt64(self & 0x3F)) & 1 == 1
  }
}

extension Span where Element == UInt8 {
  /// Whether these bytes are one token: at least one character, and token characters only.
  public var isToken: Bool {
    for index in 0..<count where !self[index].isTokenByte { return false }
    return count > 0
  }

  /// Whether these bytes are a valid field value (RFC 9110 5.5): no control character except tab.
  /// An empty value is valid.
  public var isFieldValue: Bool {
    var index = firstControl(in: 0..<count)
    while index < count {
      if self[index] != 0x09 { return false }
      index = firstControl(in: (index + 1)..<count)
    }
    return true
  }

  public func equals(_ other: Span<UInt8>) -> Bool {
    if count != other.count { return false }
    for index in 0..<count where self[index] != other[index] { return false }
    return true
  }

  /// Compares ASCII letters without case.
  public func equalsIgnoringCase(_ other: Span<UInt8>) -> Bool {
    if count != other.count { return false }
    // Most names arrive in their usual spelling, so comparing 8 bytes at a time succeeds. The last
    // 8 bytes may overlap the ones before.
    var start = 0
    while count - start >= 8 && word(at: start) == other.word(at: start) { start += 8 }
    if count >= 8 {
      if count - start < 8 && word(at: count - 8) == other.word(at: count - 8) { return true }
    } else if count >= 4 && halfWord(at: 0) == other.halfWord(at: 0)
      && halfWord(at: count - 4) == other.halfWord(at: count - 4)
    {
      return true
    }
    for index in start..<count {
      let difference = self[index] ^ other[index]
      // Most letters already match in case, so the case fold is tested second.
      if difference != 0 && (difference != 0x20 || (self[index] | 0x20) &- 0x61 >= 26) {
        return false
      }
    }
    return true
  }

  /// The value of these bytes as a decimal number, or nil if they contain anything but digits. Also
  /// nil from 2^63 on, so that the sum of two sizes can't overflow.
  public var decimalValue: UInt64? {
    if count == 0 || count > 19 { return nil }
    var value: UInt64 = 0
    for index in 0..<count {
      if !self[index].isDigit { return nil }
      value = value &* 10 &+ UInt64(self[index] &- 0x30)
    }
    return value >> 63 == 0 ? value : nil
  }
}
