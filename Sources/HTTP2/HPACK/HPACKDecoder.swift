// Decodes field blocks (RFC 7541 6) into a sink, field by field.
//
// A block is decoded to its end even if its message is refused, since the table must match the
// peer's. Only errors in the compression itself, or a block that decompresses to a multiple of the
// limit, end the connection. A decoded field is in a table, or in a scratch buffer of the worker.
// The work for a block is linear in its bytes plus the bytes passed to the sink.

import HTTP
import Primitives

/// Where decoded fields go.
protocol FieldSink: ~Copyable {
  /// `name` and `value` are borrowed for the call. A sink can't stop the decoder: it remembers an
  /// error.
  mutating func take(
    _ kind: FieldKind, name: Span<UInt8>, value: Span<UInt8>, isNeverIndexed: Bool)
}

struct HPACKDecoder: ~Copyable {
  private var table: DynamicTable
  /// The largest size that the peer may choose, from our settings (RFC 7541 4.2).
  private var tableByteCountMax: Int
  /// Our settings made the table smaller, so the next block must begin with a size update.
  private var mustShrink = false

  /// The default of RFC 7541, which applies until the peer knows our settings.
  static let defaultTableByteCount = 4096

  /// `initial` is the table's size before the peer changes it.
  init(tableByteCountMax: Int, initial: Int = defaultTableByteCount) {
    self.tableByteCountMax = min(tableByteCountMax, DynamicTable.byteCountLimit)
    table = DynamicTable(byteCountMax: min(self.tableByteCountMax, initial))
  }

  var storedByteCount: Int { table.storedByteCount }
  var tableCount: Int { table.count }
  var tableByteCount: Int { table.byteCount }

  /// Applies a setting of ours that the peer has acknowledged.
  mutating func setTableByteCountMax(_ byteCount: Int) {
    tableByteCountMax = min(byteCount, DynamicTable.byteCountLimit)
    if table.byteCountMax > tableByteCountMax { mustShrink = true }
  }

  /// Decodes a whole block. `listByteCountMax` limits its decompressed size: names, values and 32
  /// for each field (RFC 9113 10.5.1). `scratch` is overwritten.
  mutating func decode<Sink: FieldSink & ~Copyable>(
    _ block: Span<UInt8>, listByteCountMax: Int, scratch: inout ByteBuffer, into sink: inout Sink
  ) throws(HTTP2Error) {
    var position = 0
    var listByteCount = 0
    var isFirst = true
    while position < block.count {
      let byte = block[position]
      if byte & 0xE0 == 0x20 {
        guard isFirst else { throw .badTableSizeUpdate }
        let size = try PrefixInteger.decode(block, &position, prefixBits: 5)
        guard size <= tableByteCountMax else { throw .badTableSizeUpdate }
        table.resize(to: size)
        mustShrink = false
        continue
      }
      if mustShrink { throw .badTableSizeUpdate }
      isFirst = false
      if byte & 0x80 != 0 {
        let index = try PrefixInteger.decode(block, &position, prefixBits: 7)
        listByteCount += try takeIndexed(index, &sink)
      } else {
        listByteCount += try takeLiteral(block, &position, byte, &scratch, &sink)
      }
      if listByteCount > listByteCountMax { throw .fieldListBomb }
    }
    if mustShrink { throw .badTableSizeUpdate }
  }

  /// An indexed field (6.1). Returns its size.
  private func takeIndexed<Sink: FieldSink & ~Copyable>(
    _ index: Int, _ sink: inout Sink
  ) throws(HTTP2Error) -> Int {
    if index <= StaticTable.count {
      guard index > 0 else { throw .badHPACKIndex }
      let name = StaticTable.name(index).bytes
      let value = StaticTable.value(index).bytes
      sink.take(StaticTable.kind(index), name: name, value: value, isNeverIndexed: false)
      return name.count + value.count + DynamicTable.Entry.overhead
    }
    let place = index - StaticTable.count - 1
    guard place < table.count else { throw .badHPACKIndex }
    let entry = table[place]
    sink.take(
      entry.kind, name: table.name(entry), value: table.value(entry), isNeverIndexed: false)
    return Int(entry.nameCount) + Int(entry.valueCount) + DynamicTable.Entry.overhead
  }

  /// A literal field: added to the table (6.2.1), not added (6.2.2), never indexed (6.2.3).
  private mutating func takeLiteral<Sink: FieldSink & ~Copyable>(
    _ block: Span<UInt8>, _ position: inout Int, _ pattern: UInt8, _ scratch: inout ByteBuffer,
    _ sink: inout Sink
  ) throws(HTTP2Error) -> Int {
    let isIndexed = pattern & 0x40 != 0
    let isNeverIndexed = pattern & 0xF0 == 0x10
    let index = try PrefixInteger.decode(block, &position, prefixBits: isIndexed ? 6 : 4)
    scratch.removeAll()
    // Name and value are copied to the scratch buffer, even if the name is from an entry: an
    // insertion may evict the entry that the name comes from (RFC 7541 4.4).
    let kind: FieldKind
    if index == 0 {
      try Self.appendString(block, &position, to: &scratch)
      kind = FieldKind(scratch.bytes)
    } else if index <= StaticTable.count {
      kind = StaticTable.kind(index)
      scratch.append(StaticTable.name(index).bytes)
    } else {
      let place = index - StaticTable.count - 1
      guard place < table.count else { throw .badHPACKIndex }
      let entry = table[place]
      kind = entry.kind
      scratch.append(table.name(entry))
    }
    let nameCount = scratch.count
    try Self.appendString(block, &position, to: &scratch)
    let name = scratch.bytes.extracting(0..<nameCount)
    let value = scratch.bytes.extracting(nameCount..<scratch.count)
    sink.take(kind, name: name, value: value, isNeverIndexed: isNeverIndexed)
    if isIndexed { table.insert(kind, name: name, value: value) }
    return scratch.count + DynamicTable.Entry.overhead
  }

  /// Appends a string literal (5.2).
  private static func appendString(
    _ block: Span<UInt8>, _ position: inout Int, to output: inout ByteBuffer
  ) throws(HTTP2Error) {
    guard position < block.count else { throw .truncatedFieldBlock }
    let isHuffman = block[position] & 0x80 != 0
    let count = try PrefixInteger.decode(block, &position, prefixBits: 7)
    guard count <= block.count - position else { throw .truncatedFieldBlock }
    let text = block.extracting(position..<(position + count))
    position += count
    if isHuffman {
      try HuffmanCode.decode(text, into: &output)
    } else {
      output.append(text)
    }
  }
}
