// A table of a fixed number of plain values, in memory of its own.
//
// For tables that are read and written on the request path. An Array checks on each write that it
// is the only owner of its storage, and an InlineArray inside another type is copied on access.

/// `count` values of a plain type, by index. Every access is checked.
@safe public struct FixedTable<Element: BitwiseCopyable>: ~Copyable, @unchecked Sendable {
  // Sendable because it is the sole owner of its memory and can't be copied.
  @usableFromInline internal let base: UnsafeMutablePointer<Element>
  public let count: Int

  public init(repeating element: Element, count: Int) {
    precondition(count > 0)
    unsafe base = .allocate(capacity: count)
    unsafe base.initialize(repeating: element, count: count)
    self.count = count
  }

  deinit { unsafe base.deallocate() }

  @inlinable @inline(__always)
  public subscript(index: Int) -> Element {
    get {
      precondition(index >= 0 && index < count)
      return unsafe base[index]
    }
    set {
      precondition(index >= 0 && index < count)
      unsafe base[index] = newValue
    }
  }
}
