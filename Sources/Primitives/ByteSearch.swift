// Searches bytes sixteen at a time, and reads literals as bytes.
//
// The pure targets scan spans byte by byte if a table decides about each byte. In long stretches of
// ordinary bytes (field values, targets) they jump to the next special byte with the searches
// below. Loads are unaligned and stay within the checked range.

extension Span where Element == UInt8 {
  /// The position of the first control (0x00-0x1F or 0x7F) in `range`, or the end of `range`.
  @inlinable @inline(__always)
  public func firstControl(in range: Range<Int>) -> Int {
    let space = SIMD16<UInt8>(repeating: 0x20)
    let delete = SIMD16<UInt8>(repeating: 0x7F)
    var index = range.lowerBound
    precondition(index >= 0 && range.upperBound <= count)
    while range.upperBound - index >= 16 {
      let block = unsafe self.block(at: index)
      if let offset = firstTrue((block .< space) .| (block .== delete)) { return index + offset }
      index += 16
    }
    while index < range.upperBound {
      let byte = self[index]
      if byte < 0x20 || byte == 0x7F { return index }
      index += 1
    }
    return range.upperBound
  }

  /// The position of the first `byte` in `range`, or the end of `range`.
  @inlinable @inline(__always)
  public func firstIndex(of byte: UInt8, in range: Range<Int>) -> Int {
    let wanted = SIMD16<UInt8>(repeating: byte)
    var index = range.lowerBound
    precondition(index >= 0 && range.upperBound <= count)
    while range.upperBound - index >= 16 {
      let block = unsafe self.block(at: index)
      if let offset = firstTrue(block .== wanted) { return index + offset }
      index += 16
    }
    while index < range.upperBound {
      if self[index] == byte { return index }
      index += 1
    }
    return range.upperBound
  }

  /// The position of the first byte in `range` that must be escaped in a JSON string (RFC 8259
  /// section 7) or that isn't ASCII, or the end of `range`.
  @inlinable @inline(__always)
  public func firstNotPlain(in range: Range<Int>) -> Int {
    var index = range.lowerBound
    precondition(index >= 0 && range.upperBound <= count)
    while range.upperBound - index >= 16 {
      let block = unsafe self.block(at: index)
      let space = SIMD16<UInt8>(repeating: 0x20)
      let delete = SIMD16<UInt8>(repeating: 0x7F)
      let quote = SIMD16<UInt8>(repeating: 0x22)
      let backslash = SIMD16<UInt8>(repeating: 0x5C)
      let isSpecial =
        (block .< space) .| (block .>= delete) .| (block .== quote) .| (block .== backslash)
      if let offset = firstTrue(isSpecial) { return index + offset }
      index += 16
    }
    while index < range.upperBound {
      let byte = self[index]
      if byte < 0x20 || byte >= 0x7F || byte == 0x22 || byte == 0x5C { return index }
      index += 1
    }
    return range.upperBound
  }

  /// Eight bytes from `index` on, all of which must exist, as one number to compare.
  @inlinable
  public func word(at index: Int) -> UInt64 {
    precondition(index >= 0 && index <= count - 8)
    return unsafe withUnsafeBytes {
      unsafe $0.loadUnaligned(fromByteOffset: index, as: UInt64.self)
    }
  }

  /// The same with four bytes.
  @inlinable
  public func halfWord(at index: Int) -> UInt32 {
    precondition(index >= 0 && index <= count - 4)
    return unsafe withUnsafeBytes {
      unsafe $0.loadUnaligned(fromByteOffset: index, as: UInt32.self)
    }
  }

  /// Sixteen bytes from `index` on, all of which must exist.
  @unsafe @inlinable @inline(__always)
  internal func block(at index: Int) -> SIMD16<UInt8> {
    unsafe withUnsafeBytes {
      unsafe $0.loadUnaligned(fromByteOffset: index, as: SIMD16<UInt8>.self)
    }
  }

  @inlinable @inline(__always)
  internal func firstTrue(_ mask: SIMDMask<SIMD16<Int8>>) -> Int? {
    // A lane of a mask is 0x00 or 0xFF, so the lowest set bit is in the first lane that is true.
    let halves = unsafe unsafeBitCast(mask, to: SIMD2<UInt64>.self)
    if halves[0] != 0 { return halves[0].trailingZeroBitCount / 8 }
    if halves[1] != 0 { return 8 + halves[1].trailingZeroBitCount / 8 }
    return nil
  }
}

extension StaticString {
  /// The bytes of the literal, which are valid as long as the program runs.
  public var bytes: Span<UInt8> {
    @_lifetime(immortal)
    get {
      let span = unsafe Span(_unsafeStart: utf8Start, count: utf8CodeUnitCount)
      return unsafe _overrideLifetime(span, copying: ())
    }
  }
}
