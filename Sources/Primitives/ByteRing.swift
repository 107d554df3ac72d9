// Lines from one thread to another without a lock: a ring of bytes with two counters.
//
// One thread appends, one other thread takes. Each counter has one writer and only grows, so
// `written - taken` is what is readable, and a release store by one side that is acquired by the
// other hands over the bytes between. A line goes in whole or not at all, so whoever has taken all
// that was there at some moment stands between two lines.

import Synchronization

/// A bounded byte queue between one appending and one taking thread.
@safe public final class ByteRing: @unchecked Sendable {
  // Sendable because the two sides touch disjoint parts of the memory, as the counters say.
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

  /// Appends all of `line`, or nothing and returns false when there isn't enough room. One thread.
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

  /// Shows `body` the oldest bytes, as many as lie in one piece and `limit` at the most, and takes
  /// as many of them as it returns; none on a throw. One thread, another than that which appends.
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
