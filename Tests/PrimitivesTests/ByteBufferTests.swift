// ByteBuffer: a byte queue that moves and grows without losing or adding bytes.

import Primitives
import Testing

@Suite struct ByteBufferTests {
  @Test func aBufferWithoutStorageIsEmptyAndGrowsOnDemand() {
    var buffer = ByteBuffer()
    let (hadStorage, count, spanCount) = (buffer.hasStorage, buffer.count, buffer.bytes.count)
    #expect(!hadStorage && count == 0 && spanCount == 0)
    buffer.append(0x41)
    let text = String(decoding: buffer)
    #expect(text == "A")
  }

  @Test func consumingTakesFromTheFront() {
    var buffer = ByteBuffer(capacity: 8)
    buffer.append("abcdef")
    buffer.consume(2)
    let rest = String(decoding: buffer)
    #expect(rest == "cdef")
    buffer.consume(4)
    let (isEmpty, free) = (buffer.isEmpty, buffer.freeCount)
    #expect(isEmpty && free == 8)
  }

  @Test func reservingMovesTheBytesToTheFrontBeforeItGrows() {
    var buffer = ByteBuffer(capacity: 8)
    buffer.append("abcdefgh")
    buffer.consume(5)
    buffer.reserve(5)
    let (text, capacity, free) = (String(decoding: buffer), buffer.capacity, buffer.freeCount)
    #expect(text == "fgh" && capacity == 8 && free == 5)
    buffer.reserve(6)
    let (kept, larger, room) = (String(decoding: buffer), buffer.capacity, buffer.freeCount)
    #expect(kept == "fgh" && larger >= 16 && room >= 6)
  }

  @Test func truncatingDropsFromTheEnd() {
    var buffer = ByteBuffer(capacity: 8)
    buffer.append("abcdef")
    buffer.consume(1)
    buffer.truncate(to: 2)
    let text = String(decoding: buffer)
    #expect(text == "bc")
  }

  @Test func bytesCanBeChangedInPlace() {
    var buffer = ByteBuffer(capacity: 8)
    buffer.append("xabc")
    buffer.consume(1)
    var bytes = buffer.mutableBytes
    bytes[2] = 0x21
    let text = String(decoding: buffer)
    #expect(text == "ab!")
  }

  @Test(arguments: [
    (0, "0"), (9, "9"), (10, "10"), (65_535, "65535"), (UInt64.max, "18446744073709551615"),
  ] as [(UInt64, String)])
  func decimalsAreWrittenInFull(value: UInt64, expected: String) {
    var buffer = ByteBuffer()
    buffer.append(decimal: value)
    let text = String(decoding: buffer)
    #expect(text == expected)
  }

  @Test(arguments: [
    (0, "000"), (7, "007"), (42, "042"), (999, "999"), (1000, "1000"),
  ] as [(UInt64, String)])
  func decimalsAreFilledUpWithZeros(value: UInt64, expected: String) {
    var buffer = ByteBuffer()
    buffer.append(decimal: value, digits: 3)
    let text = String(decoding: buffer)
    #expect(text == expected)
  }

  @Test(arguments: [
    (0, "0"), (15, "f"), (16, "10"), (0xABC, "abc"), (UInt64.max, "ffffffffffffffff"),
  ] as [(UInt64, String)])
  func hexadecimalsHaveNoLeadingZeros(value: UInt64, expected: String) {
    var buffer = ByteBuffer()
    buffer.append(hexadecimal: value)
    let text = String(decoding: buffer)
    #expect(text == expected)
  }

  @Test func fillAppendsWhatTheBodyWrote() {
    var buffer = ByteBuffer(capacity: 4)
    buffer.append("a")
    let offered = buffer.fill { output in
      output.append(0x62)
      output.append(0x63)
      return output.freeCapacity
    }
    let text = String(decoding: buffer)
    #expect(text == "abc" && offered == 1)
  }

  @Test func fillAddsNothingWhenTheBodyThrows() {
    struct Stop: Error {}
    var buffer = ByteBuffer(capacity: 4)
    buffer.append("a")
    do {
      try buffer.fill { output throws(Stop) in
        output.append(0x62)
        throw Stop()
      }
      Issue.record("should have thrown")
    } catch {}
    let text = String(decoding: buffer)
    #expect(text == "a")
  }

  @Test func fillWithoutStorageOffersNoRoom() {
    var buffer = ByteBuffer()
    let offered = buffer.fill { $0.freeCapacity }
    #expect(offered == 0)
  }

  @Test func takingMoreThanIsThereTraps() async {
    await #expect(processExitsWith: .failure) {
      var buffer = ByteBuffer(capacity: 8)
      buffer.append("abc")
      buffer.consume(4)
    }
  }

  @Test func itBehavesLikeAPlainArray() {
    var generator = RandomGenerator(seed: 7)
    for _ in 0..<50 {
      var buffer = ByteBuffer(capacity: generator.next(below: 20))
      var model: [UInt8] = []
      for _ in 0..<200 {
        switch generator.next(below: 5) {
        case 0:
          let byte = UInt8(truncatingIfNeeded: generator.next())
          buffer.append(byte)
          model.append(byte)
        case 1:
          let count = generator.next(below: 40)
          let piece = (0..<count).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
          buffer.append(piece.span)
          model += piece
        case 2:
          let count = generator.next(below: model.count + 1)
          buffer.consume(count)
          model.removeFirst(count)
        case 3:
          let count = generator.next(below: model.count + 1)
          if generator.chance(1, in: 4) {
            buffer.truncate(to: count)
            model.removeLast(model.count - count)
          }
        default:
          let count = generator.next(below: 100)
          buffer.reserve(count)
          let room = buffer.freeCount
          #expect(room >= count)
        }
        let content = contents(of: buffer)
        #expect(content == model)
      }
    }
  }
}

func contents(of buffer: borrowing ByteBuffer) -> [UInt8] {
  let bytes = buffer.bytes
  return bytes.indices.map { bytes[$0] }
}
