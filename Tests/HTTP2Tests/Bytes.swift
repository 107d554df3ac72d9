// Writes bytes, frames and field blocks for tests, without any of the code under test.

import Primitives

/// Bytes from hexadecimal digits; blanks are ignored.
func bytes(hex text: String) -> [UInt8] {
  var digits = text.filter { !$0.isWhitespace }[...]
  var result: [UInt8] = []
  while let high = digits.popFirst(), let low = digits.popFirst() {
    result.append(UInt8(String([high, low]), radix: 16) ?? 0)
  }
  return result
}

func hex(_ bytes: [UInt8]) -> String {
  bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
}

func bytes(of buffer: borrowing ByteBuffer) -> [UInt8] { buffer.array(0..<buffer.count) }

func text(_ span: Span<UInt8>) -> String { String(decoding: span) }

/// Frame types and flags as RFC 9113 6 numbers them.
enum Wire {
  static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)
  static let data: UInt8 = 0
  static let headers: UInt8 = 1
  static let priority: UInt8 = 2
  static let reset: UInt8 = 3
  static let settings: UInt8 = 4
  static let push: UInt8 = 5
  static let ping: UInt8 = 6
  static let goAway: UInt8 = 7
  static let windowUpdate: UInt8 = 8
  static let continuation: UInt8 = 9
  static let priorityUpdate: UInt8 = 16

  static let endStream: UInt8 = 1
  static let ack: UInt8 = 1
  static let endHeaders: UInt8 = 4
  static let padded: UInt8 = 8
  static let priorityFlag: UInt8 = 32

  static func frame(
    _ type: UInt8, _ flags: UInt8 = 0, _ stream: UInt32, _ payload: [UInt8] = []
  ) -> [UInt8] {
    let count = payload.count
    return [UInt8(count >> 16), UInt8(count >> 8 & 255), UInt8(count & 255), type, flags]
      + number(stream) + payload
  }

  static func number(_ value: UInt32) -> [UInt8] {
    [UInt8(value >> 24), UInt8(value >> 16 & 255), UInt8(value >> 8 & 255), UInt8(value & 255)]
  }

  static func settings(_ pairs: [(UInt16, UInt32)] = []) -> [UInt8] {
    frame(
      settings, 0, 0,
      pairs.flatMap { [UInt8($0.0 >> 8), UInt8($0.0 & 255)] + number($0.1) })
  }

  static let settingsAck = frame(settings, ack, 0)

  static func windowUpdate(_ stream: UInt32, _ increment: UInt32) -> [UInt8] {
    frame(windowUpdate, 0, stream, number(increment))
  }

  static func reset(_ stream: UInt32, _ code: UInt32) -> [UInt8] {
    frame(reset, 0, stream, number(code))
  }

  static func data(_ stream: UInt32, _ text: String, ends: Bool = false) -> [UInt8] {
    frame(data, ends ? endStream : 0, stream, Array(text.utf8))
  }

  static func goAway(_ last: UInt32, _ code: UInt32) -> [UInt8] {
    frame(goAway, 0, 0, number(last) + number(code))
  }

  static func headers(
    _ stream: UInt32, _ fields: [(String, String)], ends: Bool = false
  ) -> [UInt8] {
    frame(headers, endHeaders | (ends ? endStream : 0), stream, block(fields))
  }

  /// Literals without indexing and without Huffman encoding.
  static func block(_ fields: [(String, String)]) -> [UInt8] {
    fields.flatMap { [0] + string($0.0) + string($0.1) }
  }

  static func string(_ text: String) -> [UInt8] {
    let utf8 = Array(text.utf8)
    return integer(utf8.count, prefix: 7, pattern: 0) + utf8
  }

  static func integer(_ value: Int, prefix: Int, pattern: UInt8) -> [UInt8] {
    let mask = (1 << prefix) - 1
    if value < mask { return [pattern | UInt8(value)] }
    var result = [pattern | UInt8(mask)]
    var rest = value - mask
    while rest >= 128 {
      result.append(UInt8(rest & 127) | 128)
      rest >>= 7
    }
    return result + [UInt8(rest)]
  }

  /// The pseudo-fields of a plain request, and additional fields.
  static func request(
    _ more: [(String, String)] = [], method: String = "GET", path: String = "/"
  ) -> [(String, String)] {
    [(":method", method), (":scheme", "https"), (":authority", "example.org"), (":path", path)]
      + more
  }
}
