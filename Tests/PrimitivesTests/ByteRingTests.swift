// The ring between one writer and one reader: whole lines or nothing, in order, across the end.

import Primitives
import Testing

@Suite struct ByteRingTests {
  private func append(_ text: String, to ring: ByteRing) -> Bool {
    ring.append(Array(text.utf8).span)
  }

  private func takeAll(_ ring: ByteRing) -> String {
    var text = ""
    while ring.take(
      atMost: .max,
      { bytes in
        text += String(decoding: bytes)
        return bytes.count
      }) > 0
    {}
    return text
  }

  @Test func linesComeOutInTheOrderInWhichTheyWentIn() {
    let ring = ByteRing(capacity: 64)
    #expect(append("one\n", to: ring))
    #expect(append("two\n", to: ring))
    #expect(ring.count == 8)
    #expect(takeAll(ring) == "one\ntwo\n")
    #expect(ring.count == 0)
  }

  @Test func aLineThatDoesNotFitIsLeftOutWhole() {
    let ring = ByteRing(capacity: 8)
    #expect(append("12345", to: ring))
    #expect(!append("6789", to: ring))
    #expect(append("678", to: ring))
    #expect(!append("9", to: ring))
    #expect(append("", to: ring))
    #expect(takeAll(ring) == "12345678")
    #expect(!append("123456789", to: ring))
  }

  @Test(arguments: 0..<16)
  func aLineSurvivesTheEndOfTheRingWhereverItLies(offset: Int) {
    let ring = ByteRing(capacity: 16)
    #expect(append(String(repeating: ".", count: offset), to: ring))
    _ = takeAll(ring)
    #expect(append("0123456789abcdef", to: ring))
    #expect(takeAll(ring) == "0123456789abcdef")
  }

  @Test func onlyWhatIsAcceptedIsTaken() {
    struct Refusal: Error {}
    let ring = ByteRing(capacity: 8)
    #expect(append("abcdef", to: ring))
    #expect(ring.take(atMost: 4) { bytes in bytes.count - 1 } == 3)
    #expect(throws: Refusal.self) {
      try ring.take(atMost: .max) { bytes throws(Refusal) in throw Refusal() }
    }
    #expect(takeAll(ring) == "def")
  }

  @Test func nothingIsLostOrTornBetweenTwoThreads() async {
    let ring = ByteRing(capacity: 256)
    let appending = Task.detached {
      for number in 0..<20_000 {
        let line = Array("\(number)\n".utf8)
        while !ring.append(line.span) { await Task.yield() }
      }
    }
    var pending: [UInt8] = []
    var next = 0
    while next < 20_000 {
      ring.take(atMost: .max) { bytes in
        for index in bytes.indices { pending.append(bytes[index]) }
        return bytes.count
      }
      while let end = pending.firstIndex(of: 0x0A) {
        #expect(String(decoding: pending[..<end], as: UTF8.self) == "\(next)")
        pending.removeSubrange(...end)
        next += 1
      }
      if ring.count == 0 { await Task.yield() }
    }
    await appending.value
    #expect(ring.count == 0)
  }
}
