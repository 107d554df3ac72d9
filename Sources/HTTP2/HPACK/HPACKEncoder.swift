// Encodes fields (RFC 7541 6) with a small dynamic table.
//
// Two things decide what goes into the table: how likely the same value is sent again, and who
// could learn something from it. An attacker who can add fields to a block and sees its size can
// guess the table's content (RFC 7541 7.1). So secrets are never indexed. Connections to backends
// are shared by several clients; there, only fields without secrets are indexed. Names are always
// sent as an index if there is one.

import HTTP
import Primitives

/// How a field's value may be encoded.
enum IndexingRule {
  /// Stored in the table, so that the next occurrence costs one byte.
  case indexed
  /// Written as a literal.
  case literal
  /// A literal that no later hop may index either (RFC 7541 6.2.3).
  case never
}

struct HPACKEncoder: ~Copyable {
  private var table: DynamicTable
  /// The largest table that we use, whatever the peer offers.
  private let tableByteCountCap: Int
  /// Whether several clients share the connection, as all connections to backends are.
  private let isShared: Bool
  /// The smallest size that was set since the last block, and whether the next block must announce
  /// it.
  private var smallest: Int
  private var mustAnnounce: Bool

  /// The default of RFC 7541, which applies until settings change it.
  private static let defaultTableByteCount = 4096

  init(tableByteCountCap: Int, isShared: Bool) {
    self.tableByteCountCap = min(tableByteCountCap, Self.defaultTableByteCount)
    self.isShared = isShared
    smallest = self.tableByteCountCap
    mustAnnounce = self.tableByteCountCap < Self.defaultTableByteCount
    table = DynamicTable(byteCountMax: self.tableByteCountCap)
  }

  var storedByteCount: Int { table.storedByteCount }
  var tableCount: Int { table.count }
  var tableByteCount: Int { table.byteCount }

  /// Applies the peer's SETTINGS_HEADER_TABLE_SIZE.
  mutating func setTableByteCountMax(_ byteCount: Int) {
    let wanted = min(byteCount, tableByteCountCap)
    guard wanted != table.byteCountMax else { return }
    smallest = min(smallest, wanted)
    mustAnnounce = true
    table.resize(to: wanted)
  }

  /// Must be called at the start of each block: it announces a new table size (RFC 7541 4.2).
  mutating func begin(into output: inout ByteBuffer) {
    guard mustAnnounce else { return }
    if smallest < table.byteCountMax {
      PrefixInteger.encode(smallest, prefixBits: 5, pattern: 0x20, into: &output)
    }
    PrefixInteger.encode(table.byteCountMax, prefixBits: 5, pattern: 0x20, into: &output)
    smallest = table.byteCountMax
    mustAnnounce = false
  }

  /// A field whose name and value are in the static table.
  func encode(staticIndex index: Int, into output: inout ByteBuffer) {
    PrefixInteger.encode(index, prefixBits: 7, pattern: 0x80, into: &output)
  }

  /// A field whose name is in the static table, such as `:path`. The caller handles exact matches
  /// of the static table.
  mutating func encode(
    nameIndex: Int, value: Span<UInt8>, _ rule: IndexingRule, into output: inout ByteBuffer
  ) {
    if rule == .indexed {
      let hash = Self.hash(seed: UInt64(nameIndex), value)
      let name = StaticTable.name(nameIndex).bytes
      if let place = find(hash, name, value) {
        return encode(staticIndex: place, into: &output)
      }
      table.insert(StaticTable.kind(nameIndex), name: name, value: value, hash: hash)
    }
    beginLiteral(nameIndex, rule, into: &output)
    encode(string: value, into: &output)
  }

  /// Any other field. `name` is in lower case.
  mutating func encode(
    _ known: KnownField?, name: Span<UInt8>, value: Span<UInt8>, isNeverIndexed: Bool,
    into output: inout ByteBuffer
  ) {
    let rule = isNeverIndexed ? .never : rule(known, value)
    var index = known.map { StaticTable.index($0) } ?? StaticTable.index(name)
    if index > 0 {
      if index == Self.acceptEncoding && value.equals(StaticTable.value(index).bytes) {
        return encode(staticIndex: index, into: &output)
      }
      return encode(nameIndex: index, value: value, rule, into: &output)
    }
    if rule == .indexed {
      let hash = Self.hash(seed: UInt64(Self.hash(seed: 0, name)), value)
      if let place = find(hash, name, value) {
        return encode(staticIndex: place, into: &output)
      }
      index = find(name: name) ?? 0
      table.insert(known.map { FieldKind($0) } ?? .other, name: name, value: value, hash: hash)
    } else {
      index = find(name: name) ?? 0
    }
    beginLiteral(index, rule, into: &output)
    if index == 0 { encode(string: name, into: &output) }
    encode(string: value, into: &output)
  }

  private static let acceptEncoding = 16

  private func beginLiteral(_ index: Int, _ rule: IndexingRule, into output: inout ByteBuffer) {
    switch rule {
    case .indexed: PrefixInteger.encode(index, prefixBits: 6, pattern: 0x40, into: &output)
    case .literal: PrefixInteger.encode(index, prefixBits: 4, pattern: 0x00, into: &output)
    case .never: PrefixInteger.encode(index, prefixBits: 4, pattern: 0x10, into: &output)
    }
  }

  /// Writes the shorter of the two forms to clients. Towards backends, which are near, some bytes
  /// cost less than the Huffman code of each request's own values.
  private func encode(string: Span<UInt8>, into output: inout ByteBuffer) {
    let huffmanCount = isShared ? string.count : HuffmanCode.encodedByteCount(string)
    if huffmanCount < string.count {
      PrefixInteger.encode(huffmanCount, prefixBits: 7, pattern: 0x80, into: &output)
      HuffmanCode.encode(string, byteCount: huffmanCount, into: &output)
    } else {
      PrefixInteger.encode(string.count, prefixBits: 7, pattern: 0x00, into: &output)
      output.append(string)
    }
  }

  // MARK: The table

  /// The index on the wire of an entry with this name and value.
  private func find(_ hash: UInt32, _ name: Span<UInt8>, _ value: Span<UInt8>) -> Int? {
    for place in 0..<table.count {
      let entry = table[place]
      guard entry.hash == hash, table.value(entry).equals(value), table.name(entry).equals(name)
      else { continue }
      return place + StaticTable.count + 1
    }
    return nil
  }

  /// The index of an entry of the dynamic table with this name.
  private func find(name: Span<UInt8>) -> Int? {
    for place in 0..<table.count {
      let entry = table[place]
      if Int(entry.nameCount) == name.count && table.name(entry).equals(name) {
        return place + StaticTable.count + 1
      }
    }
    return nil
  }

  private static func hash(seed: UInt64, _ text: Span<UInt8>) -> UInt32 {
    var state = seed &* 0x9E37_79B9_7F4A_7C15 &+ UInt64(text.count)
    var index = 0
    while text.count - index >= 8 {
      state = (state ^ text.word(at: index)) &* 0x9E37_79B9_7F4A_7C15
      state ^= state >> 29
      index += 8
    }
    while index < text.count {
      state = (state ^ UInt64(text[index])) &* 0x9E37_79B9_7F4A_7C15
      state ^= state >> 29
      index += 1
    }
    return UInt32(truncatingIfNeeded: state >> 32)
  }

  // MARK: Indexing

  /// Shorter values can be guessed piece by piece (RFC 7541 7.1.3).
  private static let shortSecretByteCount = 20

  private func rule(_ known: KnownField?, _ value: Span<UInt8>) -> IndexingRule {
    // A large entry would evict more useful ones.
    let isLarge = value.count > table.byteCountMax / 4
    guard let known else { return isShared || isLarge ? .literal : .indexed }
    switch known {
    case .authorization, .proxyAuthorization: return .never
    case .cookie, .setCookie:
      if value.count < Self.shortSecretByteCount { return .never }
      return .literal
    case _ where isLarge: return .literal
    case _ where Self.changing.contains(known): return .literal
    case _ where isShared: return Self.harmless.contains(known) ? .indexed : .literal
    default: return .indexed
    }
  }

  /// Fields whose values differ in each message.
  private static let changing: KnownFieldSet = [
    .contentLength, .age, .etag, .ifNoneMatch, .ifModifiedSince, .lastModified, .location, .range,
    .retryAfter, .xRequestID, .traceparent, .tracestate, .xForwardedFor, .xRealIP, .forwarded,
    .secWebSocketKey, .secWebSocketAccept, .referer,
  ]

  /// Fields that may be indexed on shared connections: most clients send the same values.
  private static let harmless: KnownFieldSet = [
    .accept, .acceptEncoding, .userAgent, .te, .contentType, .cacheControl, .xForwardedProto,
    .xForwardedPort, .xForwardedHost, .via, .maxForwards, .secWebSocketVersion,
    .secWebSocketProtocol, .secWebSocketExtensions, .host, .contentEncoding,
  ]
}
