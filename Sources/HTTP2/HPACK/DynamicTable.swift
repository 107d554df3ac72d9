// The dynamic table of RFC 7541 2.3.2: the fields that a connection sent recently, newest first.
//
// The text is one queue of bytes; a ring of small entries stores where each field is in it. Both
// allocate nothing before the first insertion and grow with their content, so a connection that
// doesn't use its table needs no memory for it.

import HTTP
import Primitives

struct DynamicTable: ~Copyable {
  struct Entry {
    /// Where the name begins, counted from the first byte that was ever inserted.
    fileprivate var start: UInt32
    fileprivate(set) var nameCount: UInt16
    fileprivate(set) var valueCount: UInt16
    fileprivate(set) var kind: FieldKind
    /// An encoder compares this before the text; 0 in a decoder.
    fileprivate(set) var hash: UInt32

    fileprivate var byteCount: Int { Int(nameCount) + Int(valueCount) + Self.overhead }

    /// What each entry counts in addition to its text (RFC 7541 4.1).
    static let overhead = 32
  }

  private var text = ByteBuffer()
  /// A ring; its size is a power of two.
  private var entries: [Entry] = []
  private var oldest = 0
  private(set) var count = 0
  /// The sum of the entries' sizes as RFC 7541 4.1 counts.
  private(set) var byteCount = 0
  private(set) var byteCountMax: Int
  /// How many bytes of text were removed from the front.
  private var evictedByteCount: UInt32 = 0

  /// The largest size of a table: sizes of entries have 16 bits.
  static let byteCountLimit = 65_535

  init(byteCountMax: Int) {
    self.byteCountMax = min(byteCountMax, Self.byteCountLimit)
  }

  /// The memory of the table in bytes.
  var storedByteCount: Int { text.capacity + entries.count * MemoryLayout<Entry>.stride }

  mutating func resize(to byteCountMax: Int) {
    self.byteCountMax = min(byteCountMax, Self.byteCountLimit)
    evict(until: self.byteCountMax)
    if self.byteCountMax == 0 {
      text = ByteBuffer()
      entries = []
      oldest = 0
      evictedByteCount = 0
    }
  }

  /// The entry at `index`, 0 for the newest.
  @inline(__always)
  subscript(index: Int) -> Entry {
    entries[(oldest &+ count &- 1 &- index) & (entries.count - 1)]
  }

  @_lifetime(borrow self)
  func name(_ entry: Entry) -> Span<UInt8> {
    let start = Int(entry.start &- evictedByteCount)
    return text.bytes.extracting(start..<(start + Int(entry.nameCount)))
  }

  @_lifetime(borrow self)
  func value(_ entry: Entry) -> Span<UInt8> {
    let start = Int(entry.start &- evictedByteCount) + Int(entry.nameCount)
    return text.bytes.extracting(start..<(start + Int(entry.valueCount)))
  }

  /// Inserts a field. A field larger than the table empties it, which is no error (RFC 7541 4.4).
  mutating func insert(
    _ kind: FieldKind, name: Span<UInt8>, value: Span<UInt8>, hash: UInt32 = 0
  ) {
    let size = name.count + value.count + Entry.overhead
    guard size <= byteCountMax else { return evict(until: 0) }
    evict(until: byteCountMax - size)
    if count == entries.count { grow() }
    // The sizes fit into 16 bits, since the entry is not larger than the table.
    let entry = Entry(
      start: evictedByteCount &+ UInt32(text.count), nameCount: UInt16(name.count),
      valueCount: UInt16(value.count), kind: kind, hash: hash)
    text.append(name)
    text.append(value)
    entries[(oldest &+ count) & (entries.count - 1)] = entry
    count += 1
    byteCount += size
  }

  private mutating func evict(until wanted: Int) {
    while byteCount > wanted {
      let entry = entries[oldest]
      let textCount = Int(entry.nameCount) + Int(entry.valueCount)
      text.consume(textCount)
      evictedByteCount &+= UInt32(textCount)
      byteCount -= entry.byteCount
      oldest = (oldest + 1) & (entries.count - 1)
      count -= 1
    }
  }

  private mutating func grow() {
    var larger: [Entry] = []
    larger.reserveCapacity(max(8, entries.count * 2))
    for index in 0..<count { larger.append(entries[(oldest + index) & (entries.count - 1)]) }
    let blank = Entry(start: 0, nameCount: 0, valueCount: 0, kind: .other, hash: 0)
    while larger.count < max(8, entries.count * 2) { larger.append(blank) }
    entries = larger
    oldest = 0
  }
}
