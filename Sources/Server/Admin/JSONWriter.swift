// Writes JSON, value after value, with the commas where they belong. For the admin interface.

import Primitives

struct JSONWriter: ~Copyable {
  private var text = ByteBuffer()
  private var needsComma = false

  var bytes: [UInt8] { text.array(0..<text.count) }

  mutating func object(_ body: (inout JSONWriter) -> Void) { nest("{", "}", body) }
  mutating func array(_ body: (inout JSONWriter) -> Void) { nest("[", "]", body) }

  mutating func object(_ name: StaticString, _ body: (inout JSONWriter) -> Void) {
    key(name)
    object(body)
  }

  mutating func array(_ name: StaticString, _ body: (inout JSONWriter) -> Void) {
    key(name)
    array(body)
  }

  mutating func member(_ name: StaticString, _ value: String?) {
    key(name)
    string(value)
  }

  mutating func member(_ name: StaticString, _ value: Int?) {
    key(name)
    number(value)
  }

  mutating func member(_ name: StaticString, _ value: UInt64) { member(name, Int(clamping: value)) }

  mutating func member(_ name: StaticString, _ value: Bool) {
    key(name)
    separate()
    text.append(value ? "true" : "false")
  }

  /// With three digits behind the point.
  mutating func member(_ name: StaticString, _ value: Double?) {
    key(name)
    number(value)
  }

  mutating func string(_ value: String?) {
    separate()
    guard let value else { return text.append("null") }
    text.appendJSONString(Array(value.utf8).span)
  }

  mutating func number(_ value: Int?) {
    separate()
    guard let value else { return text.append("null") }
    text.append(string: "\(value)")
  }

  mutating func number(_ value: Double?) {
    separate()
    guard let value, value.isFinite else { return text.append("null") }
    let thousandths = Int((value * 1000).rounded())
    if thousandths < 0 { text.append(0x2D) }
    text.append(decimal: UInt64(thousandths.magnitude) / 1000)
    let rest = Int(thousandths.magnitude % 1000)
    if rest > 0 { text.append(string: ".\(rest / 100)\(rest / 10 % 10)\(rest % 10)") }
  }

  private mutating func key(_ name: StaticString) {
    separate()
    text.append("\"")
    text.append(name)
    text.append("\":")
    needsComma = false
  }

  private mutating func nest(
    _ opening: StaticString, _ closing: StaticString, _ body: (inout JSONWriter) -> Void
  ) {
    separate()
    text.append(opening)
    needsComma = false
    body(&self)
    text.append(closing)
    needsComma = true
  }

  private mutating func separate() {
    if needsComma { text.append(",") }
    needsComma = true
  }
}
