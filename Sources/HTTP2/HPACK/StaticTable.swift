// The static table of RFC 7541 appendix A.
//
// Indexes run from 1 to 61, as on the wire. The encoder searches in the other direction: by a known
// field, or by a name's text through a small hash table.

import HTTP
import Primitives

enum StaticTable {
  static let count = 61

  static func name(_ index: Int) -> StaticString {
    switch index {
    case 1: ":authority"
    case 2, 3: ":method"
    case 4, 5: ":path"
    case 6, 7: ":scheme"
    case 8...14: ":status"
    case 15: "accept-charset"
    case 16: "accept-encoding"
    case 17: "accept-language"
    case 18: "accept-ranges"
    case 19: "accept"
    case 20: "access-control-allow-origin"
    case 21: "age"
    case 22: "allow"
    case 23: "authorization"
    case 24: "cache-control"
    case 25: "content-disposition"
    case 26: "content-encoding"
    case 27: "content-language"
    case 28: "content-length"
    case 29: "content-location"
    case 30: "content-range"
    case 31: "content-type"
    case 32: "cookie"
    case 33: "date"
    case 34: "etag"
    case 35: "expect"
    case 36: "expires"
    case 37: "from"
    case 38: "host"
    case 39: "if-match"
    case 40: "if-modified-since"
    case 41: "if-none-match"
    case 42: "if-range"
    case 43: "if-unmodified-since"
    case 44: "last-modified"
    case 45: "link"
    case 46: "location"
    case 47: "max-forwards"
    case 48: "proxy-authenticate"
    case 49: "proxy-authorization"
    case 50: "range"
    case 51: "referer"
    case 52: "refresh"
    case 53: "retry-after"
    case 54: "server"
    case 55: "set-cookie"
    case 56: "strict-transport-security"
    case 57: "transfer-encoding"
    case 58: "user-agent"
    case 59: "vary"
    case 60: "via"
    case 61: "www-authenticate"
    default: ""
    }
  }

  static func value(_ index: Int) -> StaticString {
    switch index {
    case 2: "GET"
    case 3: "POST"
    case 4: "/"
    case 5: "/index.html"
    case 6: "http"
    case 7: "https"
    case 8: "200"
    case 9: "204"
    case 10: "206"
    case 11: "304"
    case 12: "400"
    case 13: "404"
    case 14: "500"
    case 16: "gzip, deflate"
    default: ""
    }
  }

  /// The kind of the name at `index`.
  static func kind(_ index: Int) -> FieldKind { FieldKind(rawValue: tables.kinds[index]) }

  /// The index of a known field's name, or 0.
  static func index(_ known: KnownField) -> Int { Int(tables.indexes[Int(known.rawValue)]) }

  /// The index of a name in lower case, or 0.
  static func index(_ name: Span<UInt8>) -> Int {
    guard name.count > 0 else { return 0 }
    var slot = Self.slot(name)
    while tables.slots[slot] != 0 {
      let index = Int(tables.slots[slot])
      if name.equals(Self.name(index).bytes) { return index }
      slot = (slot + 1) & 0xFF
    }
    return 0
  }

  private struct Tables {
    var kinds = InlineArray<62, UInt8>(repeating: 0)
    var indexes = InlineArray<64, UInt8>(repeating: 0)
    /// The first index of each name, at `slot` or at the next free slot after it.
    var slots = InlineArray<256, UInt8>(repeating: 0)

    init() {
      for index in 1...count {
        let name = StaticTable.name(index).bytes
        let kind = FieldKind(name)
        kinds[index] = kind.rawValue
        if let known = kind.known { indexes[Int(known.rawValue)] = UInt8(index) }
        if index > 1 && name.equals(StaticTable.name(index - 1).bytes) { continue }
        var slot = StaticTable.slot(name)
        while slots[slot] != 0 { slot = (slot + 1) & 0xFF }
        slots[slot] = UInt8(index)
      }
    }
  }

  private static let tables = Tables()

  @inline(__always)
  private static func slot(_ name: Span<UInt8>) -> Int {
    (name.count &* 25 &+ Int(name[0]) &* 30 &+ Int(name[name.count - 1])) & 0xFF
  }
}
