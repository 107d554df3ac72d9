// Identifies a request in all systems that handle it: X-Request-ID, which is set here if the client
// sent none, and its trace (W3C Trace Context), which is only read here.

public import HTTP
public import Primitives

/// Keeps the client's X-Request-ID if it is valid; otherwise sets one of 128 random bits.
public func identifyRequest(_ fields: inout FieldBlock, using generator: inout RandomGenerator) {
  fields.removeLookalikes(of: .identity)
  if fields.hasRequestID { return }
  fields.removeAll(of: .xRequestID)
  fields.beginField(.xRequestID)
  fields.appendValue(digits: generator.next())
  fields.appendValue(digits: generator.next())
  fields.endField()
}

extension KnownFieldSet {
  fileprivate static let identity: KnownFieldSet = [.xRequestID]
}

extension FieldBlock {
  /// The trace id in a valid `traceparent` field.
  public var traceID: Slice? {
    guard let value = first(.traceparent), bytes(of: value).isTraceParent else { return nil }
    return Slice(start: value.start + 3, count: 32)
  }

  /// Whether there is exactly one field, with a valid id.
  fileprivate var hasRequestID: Bool {
    guard let index = firstIndex(of: .xRequestID) else { return false }
    return bytes(of: self[index].value).isRequestID
      && nextIndex(of: .xRequestID, after: index) == nil
  }
}

extension Span where Element == UInt8 {
  /// 1 to 128 visible characters, which backends can log unchanged.
  var isRequestID: Bool {
    guard (1...128).contains(count) else { return false }
    for index in 0..<count where self[index] <= 0x20 || self[index] >= 0x7F { return false }
    return true
  }

  /// W3C Trace Context 3.2: version, trace, parent and flags, all in lower-case hexadecimal. Future
  /// versions may append more.
  fileprivate var isTraceParent: Bool {
    guard count >= 55, self[2] == 0x2D, self[35] == 0x2D, self[52] == 0x2D else { return false }
    let isFirstVersion = self[0] == 0x30 && self[1] == 0x30
    if isFirstVersion ? count != 55 : count > 55 && self[55] != 0x2D { return false }
    if self[0] == 0x66 && self[1] == 0x66 { return false }
    return hasDigits(0..<2) && hasDigits(3..<35) && hasDigits(36..<52) && hasDigits(53..<55)
      && !isZero(3..<35) && !isZero(36..<52)
  }

  private func hasDigits(_ range: Range<Int>) -> Bool {
    for index in range {
      let byte = self[index]
      if !(0x30...0x39).contains(byte) && !(0x61...0x66).contains(byte) { return false }
    }
    return true
  }

  private func isZero(_ range: Range<Int>) -> Bool {
    for index in range where self[index] != 0x30 { return false }
    return true
  }
}
