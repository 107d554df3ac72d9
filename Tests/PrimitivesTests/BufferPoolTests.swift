// BufferPool: a buffer from the pool is empty, whatever its last user left in it.

import Primitives
import Testing

@Suite struct BufferPoolTests {
  @Test func buffersComeInTwoSizesAndEmpty() {
    var pool = BufferPool()
    let large = pool.takeLarge()
    let small = pool.takeSmall()
    let sizes = (large.capacity, large.count, small.capacity, small.count)
    #expect(sizes == (BufferPool.largeByteCount, 0, BufferPool.smallByteCount, 0))
  }

  @Test func aBufferThatWasGivenBackFullIsTakenEmpty() {
    var pool = BufferPool()
    var large = pool.takeLarge()
    large.append("secret of the first")
    pool.give(large)
    var small = pool.takeSmall()
    small.append("secret of the second")
    pool.give(small)
    let again = pool.takeLarge()
    let andAgain = pool.takeSmall()
    let counts = (again.count, andAgain.count)
    #expect(counts == (0, 0))
  }

  @Test func aBufferOfForeignSizeIsNotKept() {
    var pool = BufferPool()
    pool.give(ByteBuffer(capacity: 100))
    let large = pool.takeLarge()
    let small = pool.takeSmall()
    let sizes = (large.capacity, small.capacity)
    #expect(sizes == (BufferPool.largeByteCount, BufferPool.smallByteCount))
  }

  @Test func settlingAnEmptyBufferGivesItsStorageBack() {
    var pool = BufferPool()
    var buffer = pool.takeLarge()
    pool.settle(&buffer)
    let hasStorage = buffer.hasStorage
    #expect(!hasStorage)
  }

  @Test func settlingANearlyEmptyLargeBufferShrinksItAndKeepsItsBytes() {
    var pool = BufferPool()
    var buffer = pool.takeLarge()
    buffer.append("remaining")
    pool.settle(&buffer)
    let (capacity, text) = (buffer.capacity, String(decoding: buffer))
    #expect(capacity == BufferPool.smallByteCount && text == "remaining")
    let next = pool.takeLarge()
    let count = next.count
    #expect(count == 0)
  }

  @Test func settlingKeepsAWellFilledBuffer() {
    var pool = BufferPool()
    var buffer = pool.takeLarge()
    for _ in 0...BufferPool.smallByteCount { buffer.append(0x2A) }
    pool.settle(&buffer)
    let (capacity, count) = (buffer.capacity, buffer.count)
    #expect(capacity == BufferPool.largeByteCount && count == BufferPool.smallByteCount + 1)
  }

  @Test func enlargingKeepsAllBytes() {
    var pool = BufferPool()
    var buffer = pool.takeSmall()
    buffer.append("head so far")
    pool.enlarge(&buffer)
    let (capacity, text) = (buffer.capacity, String(decoding: buffer))
    #expect(capacity == BufferPool.largeByteCount && text == "head so far")
    let next = pool.takeSmall()
    let count = next.count
    #expect(count == 0)
  }
}
