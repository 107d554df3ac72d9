// Max-Forwards (RFC 9110 7.6.2): how many more proxies a TRACE or an OPTIONS may pass. Each takes
// one off, and the one that finds nothing left answers itself. For all other methods the field
// means nothing, and stays as it is.

public import HTTP
import Primitives

extension RequestHead {
  /// Nothing is left: the request must be answered here, as if this were the last server.
  public var endsHere: Bool { countsForwards && forwardsLeft == 0 }

  /// Takes one off, on the way to a backend.
  mutating func countForward() {
    guard countsForwards, let left = forwardsLeft, left > 0 else { return }
    fields.removeAll(of: .maxForwards)
    fields.beginField(.maxForwards)
    fields.appendValue(decimal: left - 1)
    fields.endField()
  }

  /// Does the field mean anything in this request?
  @inline(__always)
  private var countsForwards: Bool {
    switch method {
    case .trace, .options: true
    case .get, .head, .post, .put, .delete, .connect, .patch, .other: false
    }
  }

  /// Nil where nothing is said, or nothing that is a number. Of several the smallest counts.
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

/// The largest number that we count down from.
private let forwardsMax: UInt64 = 1 << 32

extension Span where Element == UInt8 {
  /// The number that these digits spell, `forwardsMax` for a larger one.
  fileprivate var forwards: UInt64? {
    for index in 0..<count where !self[index].isDigit { return nil }
    return isEmpty ? nil : min(decimalValue ?? forwardsMax, forwardsMax)
  }
}
