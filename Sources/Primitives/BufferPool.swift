// The worker's stock of buffers, last in, first out, so that the hot block stays in the cache.
//
// Two sizes: large blocks move data, small ones hold what a stalled or slow peer has left over.
// The pool never refuses; how many buffers may be out is bounded by the connection limit and by
// what each connection may hold.

/// Lends buffers of two sizes and takes them back.
public struct BufferPool: ~Copyable {
  /// 64 KiB for one receive, plus room for a head or for TLS record overhead around it.
  public static let largeByteCount = 68 * 1024
  /// A page: most heads fit, and 10,000 slow senders cost 40 MB.
  public static let smallByteCount = 4 * 1024

  private var large = Stack<ByteBuffer>(capacity: retainedMax)
  private var small = Stack<ByteBuffer>(capacity: retainedMax)

  /// The most blocks of one size that are kept for later; beyond it they are freed.
  private static let retainedMax = 1024

  public init() {}

  public mutating func takeLarge() -> ByteBuffer {
    large.pop() ?? ByteBuffer(capacity: Self.largeByteCount)
  }

  public mutating func takeSmall() -> ByteBuffer {
    small.pop() ?? ByteBuffer(capacity: Self.smallByteCount)
  }

  /// Frees what is kept for later.
  public mutating func trim() {
    large = Stack(capacity: Self.retainedMax)
    small = Stack(capacity: Self.retainedMax)
  }

  /// Takes a buffer back and forgets what it holds, so that no byte of one connection reaches the
  /// next; one of a foreign size is freed.
  public mutating func give(_ buffer: consuming ByteBuffer) {
    buffer.removeAll()
    if buffer.capacity == Self.largeByteCount {
      large.push(buffer)
    } else if buffer.capacity == Self.smallByteCount {
      small.push(buffer)
    }
  }

  /// Gives `buffer`'s storage back if it is empty; shrinks a nearly empty large one to a small one.
  /// Called when a connection comes to rest, so that idle connections hold no block.
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

  /// Gives `buffer` storage of a large block, keeping its bytes.
  public mutating func enlarge(_ buffer: inout ByteBuffer) {
    if buffer.capacity >= Self.largeByteCount { return }
    var out = takeLarge()
    out.append(buffer.bytes)
    swap(&out, &buffer)
    give(out)
  }
}
