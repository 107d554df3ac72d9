// `InputOutput` over arrays, for tests of one connection.

import Primitives
import Reactor

/// The test sets what one socket receives and how much it accepts.
struct MemoryIO: QuietIO {
  let now = Instant.origin
  /// The input, in pieces: no call returns bytes of two pieces.
  var incoming: [[UInt8]] = []
  /// The result of a receive when all input has been taken.
  var ending = ReceiveResult.wouldBlock
  /// How many bytes the socket accepts before it is full.
  var capacity = Int.max
  var sendFailure: SystemError?

  private(set) var sent: [UInt8] = []
  /// The number of bytes that each call offered.
  private(set) var offers: [Int] = []
  private(set) var receiveCount = 0

  mutating func receive(from socket: Socket, into output: inout OutputSpan<UInt8>) -> ReceiveResult
  {
    receiveCount += 1
    if incoming.isEmpty { return ending }
    let count = min(incoming[0].count, output.freeCapacity)
    for byte in incoming[0].prefix(count) { output.append(byte) }
    incoming[0].removeFirst(count)
    if incoming[0].isEmpty { incoming.removeFirst() }
    return .received(count)
  }

  mutating func send(to socket: Socket, _ first: Span<UInt8>, _ second: Span<UInt8>) -> SendResult {
    offers.append(first.count + second.count)
    if let sendFailure { return .failed(sendFailure) }
    let count = min(capacity, first.count + second.count)
    if count == 0 { return .wouldBlock }
    for index in 0..<min(count, first.count) { sent.append(first[index]) }
    for index in 0..<max(0, count - first.count) { sent.append(second[index]) }
    capacity -= count
    return .sent(count)
  }
}
