// HPACK beyond the RFC's examples: refused input, the tables, and what is never indexed.

import HTTP
import Primitives
import Testing

@testable import HTTP2

@Suite struct HPACKTests {
  // MARK: Refusals

  @Test(arguments: [
    ("80", "badHPACKIndex"), ("be", "badHPACKIndex"), ("7e01610161", "badHPACKIndex"),
    ("ff", "truncatedFieldBlock"), ("ffff", "truncatedFieldBlock"),
    ("ff8080808080", "badHPACKInteger"), ("ffffffffff7f", "badHPACKInteger"),
    ("40", "truncatedFieldBlock"), ("4003", "truncatedFieldBlock"),
    ("400161", "truncatedFieldBlock"), ("40016105616263", "truncatedFieldBlock"),
    // Huffman: a whole byte of padding, padding of zeros, and a code for the end of the string.
    ("04821fff", "badHuffman"), ("048118", "badHuffman"), ("0484ffffffff", "badHuffman"),
    // Size updates: above our setting, and after a field.
    ("3fe21f", "badTableSizeUpdate"), ("823f01", "badTableSizeUpdate"),
  ])
  func whatBreaksTheCompressionIsRefusedByName(block: String, error: String) {
    var bench = DecoderBench()
    #expect(bench.outcome(bytes(hex: block)) == error)
  }

  @Test func everyPrefixOfABlockIsRefusedOrAShorterList() {
    let block = bytes(
      hex: "828684418cf1e3c2e5f23a6ba0ab90f4ff408825a849e95ba97d7f8925a849e95bb8e8b4bf")
    for count in 0..<block.count {
      var bench = DecoderBench()
      let outcome = bench.outcome(Array(block[..<count]))
      #expect(
        outcome == "truncatedFieldBlock" || outcome.isEmpty || outcome.hasPrefix(":"), "\(count)")
    }
  }

  @Test func aBombIsNotUnpacked() {
    // An entry of 4,000 bytes, and 60,000 references to it.
    let value = String(repeating: "x", count: 4000)
    let block =
      [0x40] + Wire.string("a") + Wire.string(value) + [UInt8](repeating: 0xBE, count: 60_000)
    #expect(throws: HTTP2Error.fieldListBomb) {
      var bench = DecoderBench()
      _ = try bench.decode(block, listByteCountMax: 128 * 1024)
    }
  }

  // MARK: Strings

  @Test func everyByteGoesThroughTheHuffmanCode() throws {
    var random = RandomGenerator(seed: 7)
    for count in 0..<600 {
      let input = (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
      let all = count == 0 ? (0...255).map { UInt8($0) } : input
      var encoded = ByteBuffer()
      let byteCount = HuffmanCode.encodedByteCount(all.span)
      HuffmanCode.encode(all.span, byteCount: byteCount, into: &encoded)
      #expect(encoded.count == byteCount)
      var decoded = ByteBuffer()
      try HuffmanCode.decode(encoded.bytes, into: &decoded)
      #expect(bytes(of: decoded) == all)
    }
  }

  @Test(arguments: [0, 1, 30, 31, 32, 127, 128, 1337, 65_535, 1 << 24, Int(UInt32.max)])
  func integersComeBack(value: Int) throws {
    for prefix in UInt8(4)...7 {
      var output = ByteBuffer()
      PrefixInteger.encode(value, prefixBits: prefix, pattern: 0, into: &output)
      var position = 0
      #expect(try PrefixInteger.decode(output.bytes, &position, prefixBits: prefix) == value)
      #expect(position == output.count)
    }
  }

  // MARK: Tables

  @Test func aTableThatIsNotUsedCostsNothing() {
    let bench = DecoderBench()
    #expect(bench.decoder.storedByteCount == 0)
  }

  @Test func anEntryThatIsTooLargeEmptiesTheTable() throws {
    var bench = DecoderBench(tableByteCountMax: 64)
    _ = try bench.decode(bytes(hex: "4001610162"))
    #expect(bench.decoder.tableCount == 1)
    _ = try bench.decode([0x40] + Wire.string("a") + Wire.string(String(repeating: "x", count: 40)))
    #expect(bench.decoder.tableCount == 0)
  }

  @Test func aNameMayComeFromTheEntryThatItsInsertionEvicts() throws {
    var bench = DecoderBench(tableByteCountMax: 48)
    _ = try bench.decode([0x40] + Wire.string("name") + Wire.string("first"))
    let fields = try bench.decode([0x7E] + Wire.string("second"))
    #expect(fields.map(\.description) == ["name: second"])
    #expect(bench.decoder.tableCount == 1)
    let again = try bench.decode([0xBE])
    #expect(again.map(\.description) == ["name: second"])
  }

  @Test func aSmallerTableMustBeAnnouncedByThePeer() {
    var bench = DecoderBench()
    bench.decoder.setTableByteCountMax(100)
    #expect(bench.outcome([0x82]) == "badTableSizeUpdate")
    bench = DecoderBench()
    bench.decoder.setTableByteCountMax(100)
    #expect(bench.outcome(bytes(hex: "3f4582")) == ":method: GET")
  }

  @Test func anEncoderAnnouncesTheSmallestAndTheLastSize() throws {
    var bench = EncoderBench()
    let field = FieldList.Entry(name: "server", value: "martlet")
    _ = bench.encode([field])
    bench.encoder.setTableByteCountMax(0)
    bench.encoder.setTableByteCountMax(200)
    let block = bench.encode([field])
    #expect(hex(Array(block.prefix(4))) == "203fa901")
    var decoder = DecoderBench()
    #expect(try decoder.decode(block) == [field])
  }

  @Test func aRepeatedFieldCostsOneByte() throws {
    var bench = EncoderBench()
    let fields = [
      FieldList.Entry(name: "server", value: "martlet"),
      FieldList.Entry(name: "x-custom", value: "some value"),
    ]
    _ = bench.encode(fields)
    #expect(bench.encode(fields).count == 2)
  }

  // MARK: Secrets

  @Test(arguments: [
    ("authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), ("proxy-authorization", "x"),
    ("cookie", "id=1"), ("set-cookie", "id=1"),
  ])
  func secretsAreNeverIndexed(name: String, value: String) throws {
    for isShared in [false, true] {
      var bench = EncoderBench(isShared: isShared)
      let block = bench.encode([FieldList.Entry(name: name, value: value)])
      #expect(bench.encoder.tableCount == 0)
      var decoder = DecoderBench()
      #expect(try decoder.decode(block).first?.isNeverIndexed == true)
    }
  }

  @Test func aLongCookieIsNotIndexedEither() throws {
    var bench = EncoderBench()
    _ = bench.encode([
      FieldList.Entry(name: "cookie", value: String(repeating: "c", count: 100))
    ])
    #expect(bench.encoder.tableCount == 0)
  }

  @Test func neverIndexedFieldsAreForwardedAsSuch() throws {
    var bench = EncoderBench()
    let field = FieldList.Entry(name: "x-token", value: "secret", isNeverIndexed: true)
    let block = bench.encode([field])
    #expect(bench.encoder.tableCount == 0)
    var decoder = DecoderBench()
    #expect(try decoder.decode(block) == [field])
  }

  @Test func onASharedConnectionOnlyHarmlessFieldsAreIndexed() throws {
    var bench = EncoderBench(isShared: true)
    _ = bench.encode([
      FieldList.Entry(name: "x-api-key", value: "0123456789abcdef0123"),
      FieldList.Entry(name: "origin", value: "https://private.example"),
    ])
    #expect(bench.encoder.tableCount == 0)
    _ = bench.encode([FieldList.Entry(name: "user-agent", value: "curl/8.0")])
    #expect(bench.encoder.tableCount == 1)
  }

  @Test func randomListsComeBackThroughOneTable() throws {
    var random = RandomGenerator(seed: 11)
    let names = [
      "server", "x-a", "x-b", "accept", "user-agent", "etag", "vary", "x-long-name-here",
    ]
    for isShared in [false, true] {
      var encoder = EncoderBench(tableByteCountCap: 300, isShared: isShared)
      var decoder = DecoderBench()
      for _ in 0..<2000 {
        if random.chance(1, in: 20) {
          encoder.encoder.setTableByteCountMax(random.next(below: 400))
        }
        let fields = (0..<random.next(below: 6)).map { _ in
          FieldList.Entry(
            name: names[random.next(below: names.count)],
            value: String(
              repeating: random.chance(1, in: 2) ? "v" : "é", count: random.next(below: 40)))
        }
        let decoded = try decoder.decode(encoder.encode(fields))
        #expect(decoded == fields)
        #expect(decoder.decoder.tableByteCount == encoder.encoder.tableByteCount)
      }
    }
  }
}
