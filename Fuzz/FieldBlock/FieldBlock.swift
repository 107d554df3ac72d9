// HPACK field blocks. Properties for any input:
//
// - Decoding ends with fields or with a specific error, and the table stays within its limit.
// - A block that decompresses to more than the limit is refused, and the work for it is bounded.
// - Decoded fields that are encoded again decode to the same fields, with tables of any size.

import FuzzSupport
import HTTP
import Primitives

@testable import HTTP2

private struct Fields: FieldSink {
  struct Entry: Equatable {
    var name: [UInt8]
    var value: [UInt8]
    var isNeverIndexed: Bool
  }

  var entries: [Entry] = []

  mutating func take(
    _ kind: FieldKind, name: Span<UInt8>, value: Span<UInt8>, isNeverIndexed: Bool
  ) {
    entries.append(
      Entry(
        name: name.indices.map { name[$0] }, value: value.indices.map { value[$0] },
        isNeverIndexed: isNeverIndexed))
  }
}

/// The input is a sequence of blocks. A byte before each one contains its length.
@c(LLVMFuzzerTestOneInput)
public func fuzzFieldBlock(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  guard let input = FuzzInput(start, count) else { return 0 }
  let tableSize = [0, 64, 300, 4096][Int(input.control & 3)]
  var decoder = HPACKDecoder(tableByteCountMax: tableSize)
  var encoder = HPACKEncoder(
    tableByteCountCap: [0, 100, 4096][Int(input.control >> 2) % 3],
    isShared: input.control & 0x80 != 0)
  var again = HPACKDecoder(tableByteCountMax: 4096)
  var scratch = ByteBuffer()
  var rest = input.bytes[...]
  while let length = rest.popFirst() {
    let block = Array(rest.prefix(Int(length)))
    rest = rest.dropFirst(Int(length))
    var fields = Fields()
    do throws(HTTP2Error) {
      try decoder.decode(block.span, listByteCountMax: 20_000, scratch: &scratch, into: &fields)
    } catch {
      require(error.isOfConnection, "\(error) is no error of compression")
      return 0
    }
    require(decoder.tableByteCount <= tableSize, "the table holds \(decoder.tableByteCount)")
    let size = fields.entries.reduce(0) { $0 + $1.name.count + $1.value.count + 32 }
    require(size <= 20_000, "\(size) bytes were unpacked")
    check(fields, &encoder, &again, &scratch)
  }
  return 0
}

private func check(
  _ fields: Fields, _ encoder: inout HPACKEncoder, _ decoder: inout HPACKDecoder,
  _ scratch: inout ByteBuffer
) {
  var output = ByteBuffer()
  encoder.begin(into: &output)
  for field in fields.entries {
    let name = field.name.map(\.lowercased)
    encoder.encode(
      KnownField(name.span), name: name.span, value: field.value.span,
      isNeverIndexed: field.isNeverIndexed, into: &output)
  }
  var decoded = Fields()
  do throws(HTTP2Error) {
    try decoder.decode(output.bytes, listByteCountMax: 1 << 30, scratch: &scratch, into: &decoded)
  } catch {
    require(false, "our own block is refused: \(error)")
  }
  require(decoded.entries.count == fields.entries.count, "\(decoded) for \(fields)")
  for (new, old) in zip(decoded.entries, fields.entries) {
    require(new.name == old.name.map(\.lowercased) && new.value == old.value, "\(new) for \(old)")
    require(new.isNeverIndexed || !old.isNeverIndexed, "a secret may be indexed: \(old)")
  }
}
