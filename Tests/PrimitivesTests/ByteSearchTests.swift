// Every special byte at every position, in spans around the width of one SIMD block.

import Primitives
import Testing

struct ByteSearchTests {
  private func expect(
    _ found: Int, _ wanted: Int, sourceLocation: SourceLocation = #_sourceLocation
  ) {
    #expect(found == wanted, sourceLocation: sourceLocation)
  }

  @Test func findsTheFirstControlAtEveryPosition() {
    for count in 0...40 {
      let plain = [UInt8](repeating: 0xFF, count: count)
      expect(plain.span.firstControl(in: 0..<count), count)
      for position in 0..<count {
        for control: UInt8 in [0x00, 0x0D, 0x1F, 0x7F] {
          var bytes = plain
          bytes[position] = control
          bytes[count - 1] = position == count - 1 ? control : 0x00
          expect(bytes.span.firstControl(in: 0..<count), position)
          expect(bytes.span.firstControl(in: 0..<position), position)
        }
      }
    }
  }

  @Test func everyByteIsAControlOrNot() {
    for byte in UInt8.min...UInt8.max {
      let isControl = byte < 0x20 || byte == 0x7F
      for count in [1, 16] {
        let bytes = [UInt8](repeating: byte, count: count)
        expect(bytes.span.firstControl(in: 0..<count), (isControl ? 0 : count))
      }
    }
  }

  @Test func everyByteIsClassifiedInAnyPosition() {
    for byte in UInt8.min...UInt8.max {
      let isPlain = (0x20..<0x7F).contains(byte) && byte != 0x22 && byte != 0x5C
      for position in [0, 15, 16, 20] {
        var bytes = [UInt8](repeating: 0x61, count: 21)
        bytes[position] = byte
        expect(bytes.span.firstNotPlain(in: 0..<21), isPlain ? 21 : position)
        expect(bytes.span.firstNotPlain(in: 0..<position), position)
      }
    }
  }

  @Test func findsTheFirstByteWithinTheRangeOnly() {
    var bytes = [UInt8](repeating: 0x61, count: 50)
    bytes[3] = 0x3A
    bytes[37] = 0x3A
    expect(bytes.span.firstIndex(of: 0x3A, in: 0..<50), 3)
    expect(bytes.span.firstIndex(of: 0x3A, in: 4..<50), 37)
    expect(bytes.span.firstIndex(of: 0x3A, in: 4..<37), 37)
    expect(bytes.span.firstIndex(of: 0x3A, in: 38..<50), 50)
  }

  @Test func aLiteralReadsAsItsBytes() {
    let text: StaticString = "chunked"
    let copy = String(decoding: text.bytes)
    #expect(copy == "chunked")
  }
}
