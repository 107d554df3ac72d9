// The request heads of a worker. The codec fills one, and the exchange keeps it to its end, so that
// no head is copied, and none is allocated in steady state.

import HTTP
import Primitives
import Reactor

extension Worker where IO: ~Copyable {
  /// Spare heads; further ones are deallocated.
  private static var spareHeadMax: Int { 1024 }
  /// A head that had to grow beyond this is deallocated, so that a flood of large heads leaves
  /// nothing behind.
  private static var storedByteMax: Int { 16 * 1024 }

  /// The head that was filled last; the next one is parsed into another.
  mutating func takeHead() -> Handle {
    let head = nextHead
    nextHead = spareHeads.popLast() ?? heads.insert(RequestHead())
    return head
  }

  mutating func giveHead(_ handle: Handle) {
    let isLarge = heads[handle].fields.storedByteCount > Self.storedByteMax
    if isLarge || spareHeads.count == Self.spareHeadMax { return heads.drop(handle) }
    spareHeads.append(handle)
  }

  /// Deallocates all spare heads.
  mutating func trimHeads() {
    for handle in spareHeads { heads.drop(handle) }
    spareHeads = []
  }
}
