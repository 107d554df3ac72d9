// Max-Forwards (RFC 9110 7.6.2): how many more proxies a TRACE or OPTIONS may pass. Each proxy
// subtracts one, and answers itself if the value is 0. For other methods the field has no meaning
// and isn't changed.

public import HTTP
import Primitives

extension RequestHead {
  /// The value is 0: answer the request here, as if this were the origin server.
  public var endsHere: Bool { forwardsLeft == 0 }

  /// Subtracts one before the request goes to a backend.
  mutating func countForward() {
    guard let left = forwardsLeft, left > 0 else { return }
    fields.removeAll(of: .maxForwards)
    fields.beginField(.maxForwards)
    fields.appendValue(decimal: left - 1)
    fields.endField()
  }

  /// Nil if there is no field with a valid number. Of several fields the smallest number counts.
  private var forwardsLeft: UInt64? {
    guard method == .trace || method == .options, fields.contains(.maxForwards) else { return nil }
    var left: UInt64?
    for index in 0..<fields.count
    where fields[index].known == .maxForwards && !fields[index].isRemoved {
      var elements = ListElements(fields[index].value)
      while let element = elements.next(in: fields) {
        guard let number = fields.bytes(of: element).forwards else { continue }
        left = min(left ?? number, number)
      }
    }
    return left
  }
}

/// Larger numbers are replaced by this one.
private let forwardsMax: UInt64 = 1 << 32

extension Span where Element == UInt8 {
  /// The value of these digits, at most `forwardsMax`.
  fileprivate var forwards: UInt64? {
    for index in 0..<count where !self[index].isDigit { return nil }
    return isEmpty ? nil : min(decimalValue ?? forwardsMax, forwardsMax)
  }
}
