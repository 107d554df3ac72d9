// A block of memory with a readable range: bytes are appended at its end and removed at its front.
//
// The pure targets have raw pointers only here and in ByteRing.swift, Slab.swift and Stack.swift.
// Every access is checked against the readable or the free range, so a wrong count traps here and
// doesn't read other bytes. A buffer without storage is valid and empty, and costs nothing.

/// An owned, growable byte queue.
@safe public struct ByteBuffer: ~Copyable, @unchecked Sendable {
  // Sendable because it is the sole owner of its memory and can't be copied.
  // Everything is inlinable: a head is some hundred small appends, and calls across targets took a
  // third of the user time of a request.
  @usableFromInline internal var base: UnsafeMutablePointer<UInt8>?
  public internal(set) var capacity: Int
  /// Offset of the first readable byte.
  @usableFromInline internal var start: Int
  /// Offset after the last readable byte.
  @usableFromInline internal var end: Int

  public init() {
    unsafe base = nil
    capacity = 0
    start = 0
    end = 0
  }

  public init(capacity: Int) {
    precondition(capacity >= 0)
    unsafe base = capacity == 0 ? nil : .allocate(capacity: capacity)
    self.capacity = capacity
    start = 0
    end = 0
  }

  deinit { unsafe base?.deallocate() }

  @inlinable
  public var count: Int { end - start }
  @inlinable
  public var isEmpty: Bool { end == start }
  /// Free bytes after the readable ones, without moving them.
  @inlinable
  public var freeCount: Int { capacity - end }
  @inlinable
  public var hasStorage: Bool { capacity != 0 }

  /// The readable bytes.
  public var bytes: Span<UInt8> {
    @_lifetime(borrow self)
    @inlinable
    get {
      let span = unsafe Span(
        _unsafeStart: UnsafePointer(base ?? Self.nowhere) + start, count: end - start)
      return unsafe _overrideLifetime(span, borrowing: self)
    }
  }

  /// The readable bytes, for changes in place.
  public var mutableBytes: MutableSpan<UInt8> {
    @_lifetime(&self)
    mutating get {
      let span = unsafe MutableSpan(
        _unsafeStart: (base ?? Self.nowhere) + start, count: end - start)
      return unsafe _overrideLifetime(span, mutating: &self)
    }
  }

  /// Removes `count` bytes at the front.
  @inlinable
  public mutating func consume(_ count: Int) {
    precondition(count >= 0 && count <= end - start, "consuming more than is there")
    start += count
    if start == end {
      start = 0
      end = 0
    }
  }

  @inlinable
  public mutating func removeAll() {
    start = 0
    end = 0
  }

  /// Removes bytes at the end until `count` are left.
  public mutating func truncate(to count: Int) {
    precondition(count >= 0 && count <= end - start)
    end = start + count
  }

  /// Makes room for `count` more bytes after the readable ones: moves them to the front if that is
  /// enough, else to a block of at least twice the size.
  @inlinable @inline(__always)
  public mutating func reserve(_ count: Int) {
    if capacity - end < count { makeRoom(count) }
  }

  @usableFromInline
  internal mutating func makeRoom(_ count: Int) {
    let readable = end - start
    if capacity - readable >= count {
      if let base = unsafe base, readable > 0 {
        unsafe base.update(from: base + start, count: readable)
      }
    } else {
      let larger = max(capacity * 2, readable + count, 64)
      let block = UnsafeMutablePointer<UInt8>.allocate(capacity: larger)
      if let base = unsafe base {
        unsafe block.update(from: base + start, count: readable)
        unsafe base.deallocate()
      }
      unsafe base = block
      capacity = larger
    }
    start = 0
    end = readable
  }

  @inlinable @inline(__always)
  public mutating func append(_ byte: UInt8) {
    if end == capacity { reserve(1) }
    // Not nil: `reserve` leaves room for one byte.
    unsafe base.unsafelyUnwrapped[end] = byte
    end += 1
  }

  public mutating func append(_ source: Span<UInt8>) {
    let count = source.count
    if count == 0 { return }
    reserve(count)
    unsafe source.withUnsafeBytes { pointer in
      // Neither is nil: both spans contain at least one byte.
      unsafe Self.copy(
        pointer.baseAddress.unsafelyUnwrapped, to: .init(base.unsafelyUnwrapped + end), count)
    }
    end += count
  }

  /// Most pieces of a head are shorter than two vectors, and then a call of memcpy costs more than
  /// the copying. Two loads and two stores, which may overlap, are enough.
  @unsafe @inline(__always)
  private static func copy(
    _ source: UnsafeRawPointer, to target: UnsafeMutableRawPointer, _ count: Int
  ) {
    if count > 32 {
      unsafe target.copyMemory(from: source, byteCount: count)
    } else if count >= 16 {
      unsafe copyEnds(SIMD16<UInt8>.self, source, to: target, count)
    } else if count >= 8 {
      unsafe copyEnds(UInt64.self, source, to: target, count)
    } else if count >= 4 {
      unsafe copyEnds(UInt32.self, source, to: target, count)
    } else {
      for index in 0..<count {
        let byte = unsafe source.load(fromByteOffset: index, as: UInt8.self)
        unsafe target.storeBytes(of: byte, toByteOffset: index, as: UInt8.self)
      }
    }
  }

  /// Copies the first and the last word. If two words are at least `count` bytes, that is
  /// everything.
  @unsafe @inline(__always)
  private static func copyEnds<Word: BitwiseCopyable>(
    _ type: Word.Type, _ source: UnsafeRawPointer, to target: UnsafeMutableRawPointer, _ count: Int
  ) {
    let last = count - MemoryLayout<Word>.size
    let head = unsafe source.loadUnaligned(as: type)
    let tail = unsafe source.loadUnaligned(fromByteOffset: last, as: type)
    unsafe target.storeBytes(of: head, as: type)
    unsafe target.storeBytes(of: tail, toByteOffset: last, as: type)
  }

  /// Appends the bytes of another buffer, when the lifetime of a span would be a problem.
  @inlinable
  public mutating func append(_ source: borrowing ByteBuffer, _ range: Range<Int>) {
    append(source.bytes.extracting(range))
  }

  /// Appends a copy of some of the readable bytes.
  public mutating func appendOwn(_ range: Range<Int>) {
    precondition(range.lowerBound >= 0 && range.upperBound <= count)
    if range.isEmpty { return }
    reserve(range.count)
    // Not nil: there are readable bytes. They don't overlap the free space after them.
    let base = unsafe base.unsafelyUnwrapped
    unsafe (base + end).update(from: base + start + range.lowerBound, count: range.count)
    end += range.count
  }

  /// A copy of some of the readable bytes. It allocates.
  public func array(_ range: Range<Int>) -> [UInt8] {
    let source = bytes.extracting(range)
    return [UInt8](capacity: source.count) { output in
      for index in source.indices { output.append(source[index]) }
    }
  }

  // For a literal, whose length is known, this compiles to a few moves.
  @inlinable @inline(__always)
  public mutating func append(_ text: StaticString) {
    let count = text.utf8CodeUnitCount
    if count == 0 { return }
    reserve(count)
    unsafe (base.unsafelyUnwrapped + end).update(from: text.utf8Start, count: count)
    end += count
  }

  /// For start-up, tests and rare messages. The label keeps literals on the request path from
  /// becoming Strings instead of StaticStrings.
  public mutating func append(string text: String) {
    for byte in text.utf8 { append(byte) }
  }

  /// Appends `value` in decimal, with leading zeros up to `digits`, which is at most three.
  public mutating func append(decimal value: UInt64, digits: Int = 1) {
    // Octets of addresses, statuses, and most other numbers.
    if value < 1000 { return append(small: UInt32(truncatingIfNeeded: value), digits: digits) }
    var digits = InlineArray<20, UInt8>(repeating: 0)
    var position = 20
    var rest = value
    while rest > 0 {
      position -= 1
      digits[position] = UInt8(truncatingIfNeeded: rest % 10) &+ 0x30
      rest /= 10
    }
    append(digits.span.extracting(position..<20))
  }

  /// Appends a number below 1000: computes all three digits at once, then shifts out unwanted
  /// leading zeros.
  mutating func append(small value: UInt32, digits: Int = 1) {
    let word = 0x30_3030 | value / 100 | (value / 10 % 10) << 8 | (value % 10) << 16
    let count = max(value < 10 ? 1 : value < 100 ? 2 : 3, digits)
    store(word >> (UInt32(3 - count) * 8), count: count)
  }

  /// Appends the first `count` bytes of a word, lowest first.
  @inline(__always)
  private mutating func store<Word: FixedWidthInteger & BitwiseCopyable>(_ word: Word, count: Int) {
    let size = Word.bitWidth / 8
    precondition(count <= size)
    reserve(size)
    // Not nil: there is room for a whole word.
    unsafe UnsafeMutableRawPointer(base.unsafelyUnwrapped + end)
      .storeBytes(of: word.littleEndian, as: Word.self)
    end += count
  }

  /// Appends `value` in lower-case hexadecimal without leading zeros.
  public mutating func append(hexadecimal value: UInt64) {
    let digitCount = max(1, (64 - value.leadingZeroBitCount + 3) / 4)
    for digit in stride(from: digitCount - 1, through: 0, by: -1) {
      let nibble = UInt8(truncatingIfNeeded: value >> UInt64(digit * 4)) & 0xF
      append(nibble < 10 ? 0x30 + nibble : 0x57 + nibble)
    }
  }

  /// Appends all 16 digits of `value` in lower-case hexadecimal.
  public mutating func append(digits value: UInt64) {
    store(Self.hexadecimalDigits(UInt32(truncatingIfNeeded: value >> 32)), count: 8)
    store(Self.hexadecimalDigits(UInt32(truncatingIfNeeded: value)), count: 8)
  }

  /// The eight digits of `value`, the most significant in the lowest byte: the half-bytes are
  /// spread over eight bytes, and then converted to characters at once.
  private static func hexadecimalDigits(_ value: UInt32) -> UInt64 {
    var spread = UInt64(value)
    spread = (spread | spread << 16) & 0x0000_FFFF_0000_FFFF
    spread = (spread | spread << 8) & 0x00FF_00FF_00FF_00FF
    spread = (spread | spread << 4) & 0x0F0F_0F0F_0F0F_0F0F
    // One in each byte above 9. These are letters, 0x27 after the character that a digit would get.
    let letters = (spread &+ 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101
    return (spread &+ 0x3030_3030_3030_3030 &+ letters &* 0x27).byteSwapped
  }

  /// Lets `body` write into the free space after the readable bytes, at most `limit` bytes. What it
  /// has written becomes readable. Call `reserve` first: the buffer doesn't grow here. If `body`
  /// throws, nothing is added.
  @inlinable @inline(__always)
  public mutating func fill<Result, Failure: Error>(
    upTo limit: Int = .max, _ body: (inout OutputSpan<UInt8>) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    guard let base = unsafe base else {
      var empty = OutputSpan<UInt8>()
      return try body(&empty)
    }
    let room = min(capacity - end, limit)
    let free = unsafe UnsafeMutableBufferPointer(start: base + end, count: room)
    var output = unsafe OutputSpan(buffer: free, initializedCount: 0)
    let result = try body(&output)
    let added = unsafe output.finalize(for: free)
    end += added
    return result
  }

  /// A valid address for empty spans, since the span of a buffer without storage also needs one.
  @usableFromInline
  nonisolated(unsafe) internal static let nowhere =
    UnsafeMutablePointer<UInt8>.allocate(capacity: 1)
}

extension String {
  /// The readable bytes as text; invalid UTF-8 is replaced. For logs, tests and messages.
  public init(decoding buffer: borrowing ByteBuffer) {
    self.init(decoding: buffer.bytes)
  }

  public init(decoding bytes: Span<UInt8>) {
    self = unsafe bytes.withUnsafeBufferPointer { pointer in
      unsafe String(decoding: pointer, as: UTF8.self)
    }
  }
}
