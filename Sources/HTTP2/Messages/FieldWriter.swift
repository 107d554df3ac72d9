// Encodes heads and trailers into field blocks (RFC 9113 8).
//
// The writer owns what differs between HTTP/2 and HTTP/1: pseudo-fields come from the parts of the
// head, Host becomes `:authority`, names are in lower case, connection fields are left out (8.2.2),
// and content-length is written once, from an argument. Names in a FieldBlock are tokens and values
// contain no controls, so the output is always valid.

import HTTP
import Primitives

/// The scheme of requests to a backend.
public enum RequestScheme: Sendable {
  case http, https
}

struct FieldWriter: ~Copyable {
  /// Names in lower case.
  private var name = ByteBuffer()

  init() {}

  /// Fields that the writer writes itself, or that HTTP/2 doesn't have.
  private static let owned: KnownFieldSet = [
    .connection, .proxyConnection, .keepAlive, .transferEncoding, .upgrade, .http2Settings,
    .contentLength, .host, .te,
  ]
  /// A tunnel has no key: HTTP/2 needs no proof that the server knows the protocol (RFC 8441 5).
  private static let ownedInTunnels: KnownFieldSet = {
    var fields = owned
    fields.insert(.secWebSocketKey)
    return fields
  }()

  /// With `tunnel`, a slice of the head, it is an extended CONNECT for this protocol, whatever the
  /// method of the head.
  mutating func write(
    _ head: borrowing RequestHead, _ scheme: RequestScheme, _ body: BodyLength, tunnel: Slice,
    acceptsTrailers: Bool, _ encoder: inout HPACKEncoder, into output: inout ByteBuffer
  ) {
    encoder.begin(into: &output)
    switch head.method {
    case _ where !tunnel.isEmpty:
      encoder.encode(nameIndex: 2, value: Method.connect.name.bytes, .indexed, into: &output)
    case .get: encoder.encode(staticIndex: 2, into: &output)
    case .post: encoder.encode(staticIndex: 3, into: &output)
    case _ where head.methodName.isEmpty:
      encoder.encode(nameIndex: 2, value: head.method.name.bytes, .indexed, into: &output)
    default:
      encoder.encode(nameIndex: 2, value: head.bytes(of: head.methodName), .indexed, into: &output)
    }
    if head.targetForm != .authority {
      encoder.encode(staticIndex: scheme == .http ? 6 : 7, into: &output)
      writePath(head, &encoder, into: &output)
    }
    if !head.authority.isEmpty {
      encoder.encode(nameIndex: 1, value: head.bytes(of: head.authority), .indexed, into: &output)
    } else if let host = head.fields.first(.host) {
      encoder.encode(nameIndex: 1, value: head.bytes(of: host), .indexed, into: &output)
    }
    if tunnel.isEmpty {
      write(head.fields, except: Self.owned, &encoder, into: &output)
    } else {
      encoder.encode(
        nil, name: (":protocol" as StaticString).bytes, value: head.bytes(of: tunnel),
        isNeverIndexed: false, into: &output)
      write(head.fields, except: Self.ownedInTunnels, &encoder, into: &output)
    }
    if acceptsTrailers || head.fields.contains(token: "trailers", in: .te) {
      encoder.encode(
        .te, name: ("te" as StaticString).bytes, value: ("trailers" as StaticString).bytes,
        isNeverIndexed: false, into: &output)
    }
    if case .known(let count) = body { writeLength(count, &encoder, into: &output) }
  }

  /// `length` is the value of content-length, if there is one.
  mutating func write(
    _ head: borrowing ResponseHead, length: UInt64?, _ encoder: inout HPACKEncoder,
    into output: inout ByteBuffer
  ) {
    encoder.begin(into: &output)
    switch head.status {
    case 200: encoder.encode(staticIndex: 8, into: &output)
    case 204: encoder.encode(staticIndex: 9, into: &output)
    case 206: encoder.encode(staticIndex: 10, into: &output)
    case 304: encoder.encode(staticIndex: 11, into: &output)
    case 400: encoder.encode(staticIndex: 12, into: &output)
    case 404: encoder.encode(staticIndex: 13, into: &output)
    case 500: encoder.encode(staticIndex: 14, into: &output)
    default:
      name.removeAll()
      name.append(decimal: UInt64(head.status))
      encoder.encode(nameIndex: 8, value: name.bytes, .indexed, into: &output)
    }
    write(head.fields, except: Self.owned, &encoder, into: &output)
    if let length { writeLength(length, &encoder, into: &output) }
  }

  mutating func write(
    trailers: borrowing FieldBlock, _ encoder: inout HPACKEncoder, into output: inout ByteBuffer
  ) {
    encoder.begin(into: &output)
    write(trailers, except: .forbiddenInTrailers, &encoder, into: &output)
  }

  /// The size of a head's fields as the peer counts it (RFC 9113 6.5.2), with the maximum for the
  /// pseudo-fields.
  static func listByteCount(_ fields: borrowing FieldBlock) -> Int {
    var count = 0
    for index in 0..<fields.count where !fields[index].isRemoved {
      count += Int(fields[index].name.count) + Int(fields[index].value.count)
      count += DynamicTable.Entry.overhead
    }
    return count
  }

  private mutating func writePath(
    _ head: borrowing RequestHead, _ encoder: inout HPACKEncoder, into output: inout ByteBuffer
  ) {
    name.removeAll()
    if head.path.isEmpty { name.append(0x2F) }
    name.append(head.bytes(of: head.path))
    if let query = head.query {
      name.append(0x3F)
      name.append(head.bytes(of: query))
    }
    if name.count == 1 && name.bytes[0] == 0x2F {
      return encoder.encode(staticIndex: 4, into: &output)
    }
    // Paths differ, and may contain secrets.
    encoder.encode(nameIndex: 4, value: name.bytes, .literal, into: &output)
  }

  private mutating func writeLength(
    _ length: UInt64, _ encoder: inout HPACKEncoder, into output: inout ByteBuffer
  ) {
    name.removeAll()
    name.append(decimal: length)
    encoder.encode(
      nameIndex: StaticTable.index(.contentLength), value: name.bytes, .literal, into: &output)
  }

  private mutating func write(
    _ fields: borrowing FieldBlock, except omitted: KnownFieldSet, _ encoder: inout HPACKEncoder,
    into output: inout ByteBuffer
  ) {
    let namesOthers = fields.contains(.connection)
    for index in 0..<fields.count {
      let field = fields[index]
      if field.isRemoved { continue }
      if let known = field.known, omitted.contains(known) { continue }
      let text = fields.bytes(of: field.name)
      // RFC 9110 7.6.1: fields that Connection names also apply only to the connection.
      if namesOthers && fields.connectionNames(text) { continue }
      let value = fields.bytes(of: field.value).withoutBlanks
      if let known = field.known, StaticTable.index(known) > 0 {
        encoder.encode(
          known, name: text, value: value, isNeverIndexed: field.isNeverIndexed, into: &output)
        continue
      }
      name.removeAll()
      for index in 0..<text.count { name.append(text[index].lowercased) }
      encoder.encode(
        field.known, name: name.bytes, value: value, isNeverIndexed: field.isNeverIndexed,
        into: &output)
    }
  }
}

extension FieldBlock {
  fileprivate func connectionNames(_ name: Span<UInt8>) -> Bool {
    for index in 0..<count where self[index].known == .connection && !self[index].isRemoved {
      var elements = ListElements(self[index].value)
      while let element = elements.next(in: self) {
        if bytes(of: element).equalsIgnoringCase(name) { return true }
      }
    }
    return false
  }
}

extension Span where Element == UInt8 {
  /// Values that stages built may have blanks around them, which RFC 9113 8.2.1 forbids.
  fileprivate var withoutBlanks: Span<UInt8> {
    @_lifetime(copy self)
    get {
      var start = 0
      var end = count
      while start < end && self[start].isBlank { start += 1 }
      while start < end && self[end - 1].isBlank { end -= 1 }
      return extracting(start..<end)
    }
  }
}
