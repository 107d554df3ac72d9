// A worker's pool of free buffers, last in, first out, so that recently used blocks are still in
// the cache.
//
// There are two sizes: large blocks move data, small ones hold what remains for a stalled or slow
// peer. The pool never refuses a buffer. The connection limit, and the limit of each connection,
// bound how many are in use.

/// Lends buffers of two sizes and takes them back.
public struct BufferPool: ~Copyable {
  /// 64 KiB for one receive, plus room for a head or for TLS record overhead around it.
  public static let largeByteCount = 68 * 1024
  /// One page: most heads fit, and 10,000 slow senders cost 40 MB.
  public static let smallByteCount = 4 * 1024

  private var large = Stack<ByteBuffer>(capacity: retainedMax)
  private var small = Stack<ByteBuffer>(capacity: retainedMax)

  /// The most free blocks of one size; further ones are deallocated.
  private static let retainedMax = 1024

  public init() {}

  public mutating func takeLarge() -> ByteBuffer {
    large.pop() ?? ByteBuffer(capacity: Self.largeByteCount)
  }

  public mutating func takeSmall() -> ByteBuffer {
    small.pop() ?? ByteBuffer(capacity: Self.smallByteCount)
  }

  /// Deallocates all free blocks.
  public mutating func trim() {
    large = Stack(capacity: Self.retainedMax)
    small = Stack(capacity: Self.retainedMax)
  }

  /// Takes a buffer back and empties it, so that no byte of one connection reaches another. A
  /// buffer of another size is deallocated.
  public mutating func give(_ buffer: consuming ByteBuffer) {
    buffer.removeAll()
    if buffer.capacity == Self.largeByteCount {
      large.push(buffer)
    } else if buffer.capacity == Self.smallByteCount {
      small.push(buffer)
    }
  }

  /// Takes the storage of `buffer` if it is empty, and replaces a nearly empty large block by a
  /// small one. Call it when a connection becomes idle, so that idle connections hold no block.
  public mutating func settle(_ buffer: inout ByteBuffer) {
    if !buffer.hasStorage { return }
    if buffer.isEmpty {
      var out = ByteBuffer()
      swap(&out, &buffer)
      give(out)
    } else if buffer.capacity >= Self.largeByteCount && buffer.count <= Self.smallByteCount {
      var out = takeSmall()
      out.append(buffer.bytes)
      swap(&out, &buffer)
      give(out)
    }
  }

  /// Moves the content of `buffer` to a large block.
  public mutating func enlarge(_ buffer: inout ByteBuffer) {
    if buffer.capacity >= Self.largeByteCount { return }
    var out = takeLarge()
    out.append(buffer.bytes)
    swap(&out, &buffer)
    give(out)
  }
}
