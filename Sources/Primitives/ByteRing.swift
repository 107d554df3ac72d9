// Lines from one thread to another without a lock: a ring of bytes with two counters.
//
// One thread appends, one other thread takes. Each counter has one writer and only grows, so
// `written - taken` bytes are readable. A release store by one side and an acquiring load by the
// other hand over the bytes between. A line is appended completely or not at all, so a reader that
// has taken everything is always between two lines.

import Synchronization

/// A bounded byte queue from one thread to another.
@safe public final class ByteRing: @unchecked Sendable {
  // Sendable because the counters keep both sides in disjoint parts of the memory.
  private let base: UnsafeMutablePointer<UInt8>
  public let capacity: Int
  private let written = Atomic<Int>(0)
  private let taken = Atomic<Int>(0)

  /// `capacity` must be a power of two.
  public init(capacity: Int) {
    precondition(capacity > 0 && capacity & (capacity - 1) == 0, "not a power of two")
    self.capacity = capacity
    unsafe base = .allocate(capacity: capacity)
  }

  deinit { unsafe base.deallocate() }

  /// Appends all of `line`. If there isn't enough room, it appends nothing and returns false. Call
  /// it from one thread only.
  public func append(_ line: Span<UInt8>) -> Bool {
    let end = written.load(ordering: .relaxed)
    let room = capacity - (end &- taken.load(ordering: .acquiring))
    if line.count > room { return false }
    if line.isEmpty { return true }
    let offset = end & (capacity - 1)
    let first = min(line.count, capacity - offset)
    unsafe line.withUnsafeBufferPointer { line in
      // Not nil: the line isn't empty.
      let source = unsafe line.baseAddress.unsafelyUnwrapped
      unsafe (base + offset).update(from: source, count: first)
      unsafe base.update(from: source + first, count: line.count - first)
    }
    written.store(end &+ line.count, ordering: .releasing)
    return true
  }

  /// How many bytes can be taken now, at least.
  public var count: Int {
    written.load(ordering: .acquiring) &- taken.load(ordering: .acquiring)
  }

  /// Passes the oldest bytes to `body`, as many as are contiguous and at most `limit`. Removes as
  /// many as `body` returns; none if it throws. Call it from one thread only, and not from the one
  /// that appends.
  @discardableResult
  public func take<Failure: Error>(
    atMost limit: Int, _ body: (Span<UInt8>) throws(Failure) -> Int
  ) throws(Failure) -> Int {
    let start = taken.load(ordering: .relaxed)
    let readable = written.load(ordering: .acquiring) &- start
    let offset = start & (capacity - 1)
    let piece = min(readable, limit, capacity - offset)
    let bytes = unsafe Span(_unsafeStart: UnsafePointer(base + offset), count: piece)
    let count = try body(bytes)
    precondition(count >= 0 && count <= piece, "taking more than was shown")
    taken.store(start &+ count, ordering: .releasing)
    return count
  }
}
