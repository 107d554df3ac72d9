// How a transport fills its buffers, and makes room in them. Transport.swift decides when.
//
// These functions are static, with each part passed on its own, so that the session and the buffers
// it works between are distinct accesses to the compiler.

import Primitives
import Reactor

extension Transport {
  /// The most that is received in one call: a body of 64 KiB with its head, which fit encrypted
  /// into one block, so that a block comes in and goes out in one call each.
  private static let receiveMax = 66 * 1024

  static func receive<IO: InputOutput & ~Copyable>(
    from socket: Socket, into buffer: inout ByteBuffer, _ io: inout IO
  ) -> (ReceiveResult, offered: Int) {
    let offered = min(buffer.freeCount, receiveMax)
    let result = buffer.fill(upTo: receiveMax) { output in
      io.receive(from: socket, into: &output)
    }
    return (result, offered)
  }

  /// Makes free room in `buffer`; false when it is full of bytes that were not taken yet.
  static func makeRoom(in buffer: inout ByteBuffer, _ buffers: inout BufferPool) -> Bool {
    if !buffer.hasStorage {
      buffer = buffers.takeLarge()
    } else if buffer.freeCount < smallestReceive {
      buffers.enlarge(&buffer)
      let free = buffer.capacity - buffer.count
      if free == 0 { return false }
      buffer.reserve(min(free, smallestReceive))
    }
    return true
  }

  /// Below this much free room a buffer is compacted or enlarged before the next receive.
  static let smallestReceive = 16 * 1024

  static func append(
    _ bytes: Span<UInt8>, to buffer: inout ByteBuffer, _ buffers: inout BufferPool
  ) {
    if !buffer.hasStorage {
      buffer =
        bytes.count <= BufferPool.smallByteCount ? buffers.takeSmall() : buffers.takeLarge()
    } else if buffer.count + bytes.count > buffer.capacity {
      buffers.enlarge(&buffer)
    }
    buffer.append(bytes)
  }
}
