// Sends field lists through the HPACK decoder and encoder, as text.

import HTTP
import Primitives

@testable import HTTP2

/// One scalar per byte, so that no byte is lost.
func latin1(_ span: Span<UInt8>) -> String {
  var scalars = String.UnicodeScalarView()
  for index in span.indices { scalars.append(Unicode.Scalar(span[index])) }
  return String(scalars)
}

func bytes(latin1 text: String) -> [UInt8] {
  text.unicodeScalars.map { UInt8(truncatingIfNeeded: $0.value) }
}

/// Collects the decoded fields.
struct FieldList: FieldSink {
  struct Entry: Equatable, CustomStringConvertible {
    var name: String
    var value: String
    var isNeverIndexed = false
    var description: String { "\(name): \(value)\(isNeverIndexed ? " (never)" : "")" }
  }

  var entries: [Entry] = []

  mutating func take(
    _ kind: FieldKind, name: Span<UInt8>, value: Span<UInt8>, isNeverIndexed: Bool
  ) {
    entries.append(
      Entry(name: latin1(name), value: latin1(value), isNeverIndexed: isNeverIndexed))
  }
}

/// A decoder with its surroundings.
struct DecoderBench: ~Copyable {
  var decoder: HPACKDecoder
  var scratch = ByteBuffer()

  init(tableByteCountMax: Int = 4096) {
    decoder = HPACKDecoder(tableByteCountMax: tableByteCountMax)
  }

  mutating func decode(
    _ block: [UInt8], listByteCountMax: Int = 1 << 30
  ) throws(HTTP2Error) -> [FieldList.Entry] {
    var list = FieldList()
    try decoder.decode(
      block.span, listByteCountMax: listByteCountMax, scratch: &scratch, into: &list)
    return list.entries
  }

  mutating func outcome(_ block: [UInt8]) -> String {
    do throws(HTTP2Error) {
      return try decode(block).map(\.description).joined(separator: "\n")
    } catch {
      return "\(error)"
    }
  }
}

struct EncoderBench: ~Copyable {
  var encoder: HPACKEncoder

  init(tableByteCountCap: Int = 4096, isShared: Bool = false) {
    encoder = HPACKEncoder(tableByteCountCap: tableByteCountCap, isShared: isShared)
  }

  mutating func encode(_ fields: [FieldList.Entry]) -> [UInt8] {
    var output = ByteBuffer()
    encoder.begin(into: &output)
    for field in fields {
      let name = bytes(latin1: field.name)
      encoder.encode(
        KnownField(name.span), name: name.span, value: bytes(latin1: field.value).span,
        isNeverIndexed: field.isNeverIndexed, into: &output)
    }
    return bytes(of: output)
  }
}
