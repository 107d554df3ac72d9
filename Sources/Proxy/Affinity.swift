// Reads the key by which a request belongs to a backend: a field, a cookie or a query parameter.
//
// The text counts as it was sent, without decoding, so that every node hashes the same bytes. Of
// several with the name the first one counts.

public import Balancing
public import HTTP
import Primitives

extension AffinityKey {
  /// The hash of the key in a request; 0 if it has none, or if the key isn't part of a request.
  public func hash(in head: borrowing RequestHead) -> UInt64 {
    switch self {
    case .source, .twoTuple, .threeTuple, .fiveTuple: return 0
    case .header(let name):
      guard let value = head.fields.first(named: name.span) else { return 0 }
      return Self.hash(of: head.bytes(of: value))
    case .cookie(let name):
      var cookies = CookieValues(named: name)
      guard let value = cookies.next(in: head.fields) else { return 0 }
      return Self.hash(of: head.bytes(of: value))
    case .query(let name):
      guard let query = head.query,
        let value = Self.parameter(name.span, in: head.bytes(of: query))
      else { return 0 }
      return Self.hash(of: head.bytes(of: query).extracting(value))
    }
  }

  /// Where the value of `name=value` is, between ampersands.
  private static func parameter(_ name: Span<UInt8>, in query: Span<UInt8>) -> Range<Int>? {
    var start = 0
    while start < query.count {
      let end = query.firstIndex(of: 0x26, in: start..<query.count)
      let equals = start + name.count
      if equals < end && query[equals] == 0x3D
        && query.extracting(start..<equals).equals(name)
      {
        return (equals + 1)..<end
      }
      start = end + 1
    }
    return nil
  }
}
