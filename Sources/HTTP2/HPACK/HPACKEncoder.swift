// Encodes fields (RFC 7541 6) with a small dynamic table.
//
// What goes into the table is chosen by how likely the same value comes again, and by who could
// learn something from it: one who can put fields of his own into a block, and sees its size, can
// guess at what the table holds (RFC 7541 7.1). So secrets are never indexed anywhere, and on a
// connection that several clients share, which is every one to a backend, only fields that carry no
// secret are. Names always go by index where one exists.

import HTTP
import Primitives

/// What may be done with a field's value.
enum IndexingRule {
  /// Kept in the table, so that the next one costs a byte.
  case indexed
  /// Written as it is.
  case literal
  /// The same, and no hop behind may index it either (RFC 7541 6.2.3).
  case never
}

struct HPACKEncoder: ~Copyable {
  private var table: DynamicTable
  /// What we use at most, whatever the peer offers.
  private let tableByteCountCap: Int
  /// Every client behind a connection to a backend shares it.
  private let isShared: Bool
  /// The smallest size that was set since the last block, and whether the next block must tell.
  private var smallest: Int
  private var mustAnnounce: Bool

  /// RFC 7541's own default is in force until settings say otherwise.
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

  /// Takes the peer's SETTINGS_HEADER_TABLE_SIZE into force.
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

  /// A field that the static table holds whole.
  func encode(staticIndex index: Int, into output: inout ByteBuffer) {
    PrefixInteger.encode(index, prefixBits: 7, pattern: 0x80, into: &output)
  }

  /// A field whose name the static table holds, such as `:path`. Exact matches of the static table
  /// are the caller's.
  mutating func encode(
    nameIndex: Int, value: Span<UInt8>, _ rule: IndexingRule, into output: inout ByteBuffer
  ) {
    let hash = Self.hash(seed: UInt64(nameIndex), value)
    if rule == .indexed {
      let name = StaticTable.name(nameIndex).bytes
      if let place = find(hash, name, value) {
        return encode(staticIndex: place, into: &output)
      }
      table.insert(StaticTable.kind(nameIndex), name: name, value: value, hash: hash)
    }
    beginLiteral(nameIndex, rule, into: &output)
    Self.encode(string: value, into: &output)
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
    let hash = Self.hash(seed: UInt64(Self.hash(seed: 0, name)), value)
    if rule == .indexed, let place = find(hash, name, value) {
      return encode(staticIndex: place, into: &output)
    }
    index = find(name: name) ?? 0
    if rule == .indexed {
      table.insert(known.map { FieldKind($0) } ?? .other, name: name, value: value, hash: hash)
    }
    beginLiteral(index, rule, into: &output)
    if index == 0 { Self.encode(string: name, into: &output) }
    Self.encode(string: value, into: &output)
  }

  private static let acceptEncoding = 16

  private func beginLiteral(_ index: Int, _ rule: IndexingRule, into output: inout ByteBuffer) {
    switch rule {
    case .indexed: PrefixInteger.encode(index, prefixBits: 6, pattern: 0x40, into: &output)
    case .literal: PrefixInteger.encode(index, prefixBits: 4, pattern: 0x00, into: &output)
    case .never: PrefixInteger.encode(index, prefixBits: 4, pattern: 0x10, into: &output)
    }
  }

  /// Whichever form is shorter.
  private static func encode(string: Span<UInt8>, into output: inout ByteBuffer) {
    let huffmanCount = HuffmanCode.encodedByteCount(string)
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

  /// The index of an entry with this name, which is none of the static table.
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

  // MARK: What is indexed

  /// Values below this length can be guessed a part at a time (RFC 7541 7.1.3).
  private static let shortSecretByteCount = 20

  private func rule(_ known: KnownField?, _ value: Span<UInt8>) -> IndexingRule {
    // An entry that takes much of the table pushes out what is more useful.
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

  /// What differs from message to message.
  private static let changing: KnownFieldSet = [
    .contentLength, .age, .etag, .ifNoneMatch, .ifModifiedSince, .lastModified, .location, .range,
    .retryAfter, .xRequestID, .traceparent, .tracestate, .xForwardedFor, .xRealIP, .forwarded,
    .secWebSocketKey, .secWebSocketAccept, .referer,
  ]

  /// What may be indexed on a connection that clients share: the same for very many of them.
  private static let harmless: KnownFieldSet = [
    .accept, .acceptEncoding, .userAgent, .te, .contentType, .cacheControl, .xForwardedProto,
    .xForwardedPort, .xForwardedHost, .via, .maxForwards, .secWebSocketVersion,
    .secWebSocketProtocol, .secWebSocketExtensions, .host, .contentEncoding,
  ]
}
