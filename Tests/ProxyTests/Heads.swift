// Builds and reads heads for the tests of this target, without a codec.

import HTTP
import Primitives
import Proxy

/// A request of `GET /path?query` with these fields.
func request(
  _ fields: [(String, String)] = [], version: HTTPVersion = .http11, host: String = "",
  path: String = "/", query: String? = nil
) -> RequestHead {
  var head = RequestHead()
  head.version = version
  if !host.isEmpty {
    let authority = Array(host.utf8)
    head.authority = head.fields.store(authority.span)
    if let parts = Authority(authority.span) {
      let start = Int(head.authority.start)
      head.host = Slice((start + parts.host.lowerBound)..<(start + parts.host.upperBound))
      head.port = parts.port
    }
  }
  head.path = head.fields.store(Array(path.utf8).span)
  if let query { head.query = head.fields.store(Array(query.utf8).span) }
  append(fields, to: &head.fields)
  return head
}

func response(_ fields: [(String, String)], version: HTTPVersion = .http11) -> ResponseHead {
  var head = ResponseHead()
  head.version = version
  append(fields, to: &head.fields)
  return head
}

func append(_ fields: [(String, String)], to block: inout FieldBlock) {
  for (name, value) in fields {
    let isValid = block.append(name: Array(name.utf8).span, value: Array(value.utf8).span)
    precondition(isValid, "\(name): \(value)")
  }
}

/// The fields that are part of the message, as `name: value`.
func lines(_ block: borrowing FieldBlock) -> [String] {
  var lines: [String] = []
  for index in 0..<block.count where !block[index].isRemoved {
    let name = String(decoding: block.bytes(of: block[index].name))
    lines.append("\(name): \(String(decoding: block.bytes(of: block[index].value)))")
  }
  return lines
}

extension [String] {
  /// The values of the fields of this name.
  func values(of name: String) -> [String] {
    filter { $0.hasPrefix("\(name): ") }.map { String($0.dropFirst(name.count + 2)) }
  }
}

func address(_ text: String) -> IPAddress { IPAddress(text) ?? .anyV6 }
