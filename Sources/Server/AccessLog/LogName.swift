// A name from the configuration, escaped once for the lines of the access log.

import Primitives

struct LogName: Sendable, ExpressibleByStringLiteral {
  static let empty = LogName("")

  let bytes: [UInt8]
  /// As a JSON string, with its quotes.
  let json: [UInt8]

  init(_ name: String) { self.init(Array(name.utf8)) }

  init(_ bytes: [UInt8]) {
    self.bytes = bytes
    var text = ByteBuffer()
    text.appendJSONString(bytes.span)
    json = text.array(0..<text.count)
  }

  init(stringLiteral name: String) { self.init(name) }
}
