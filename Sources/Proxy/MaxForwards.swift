// Max-Forwards (RFC 9110 7.6.2): how many more proxies a TRACE or OPTIONS may pass. Each proxy
// subtracts one, and answers itself if the value is 0. For other methods the field has no meaning
// and isn't changed.

public import HTTP
import Primitives

extension RequestHead {
  /// The value is 0: answer the request here, as if this were the origin server.
  public var endsHere: Bool { countsForwards && forwardsLeft == 0 }

  /// Subtracts one before the request goes to a backend.
  mutating func countForward() {
    guard countsForwards, let left = forwardsLeft, left > 0 else { return }
    fields.removeAll(of: .maxForwards)
    fields.beginField(.maxForwards)
    fields.appendValue(decimal: left - 1)
    fields.endField()
  }

  /// Whether the field has a meaning for this method.
  @inline(__always)
  private var countsForwards: Bool {
    switch method {
    case .trace, .options: true
    case .get, .head, .post, .put, .delete, .connect, .patch, .other: false
    }
  }

  /// Nil if there is no field with a valid number. Of several fields the smallest number counts.
  private var forwardsLeft: UInt64? {
    var next = fields.firstIndex(of: .maxForwards)
    var left: UInt64?
    while let index = next {
      next = fields.nextIndex(of: .maxForwards, after: index)
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
