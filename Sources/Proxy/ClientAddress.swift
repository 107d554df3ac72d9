// Who the client is, when there may be proxies in front of us.
//
// A forwarding field is only as true as whoever wrote it. So it is read from its end, which our
// own peer wrote, towards its beginning, and only as long as each address is a trusted proxy: the
// first one that isn't is the client. Whatever stands to the left of it anybody may have made up.

public import HTTP
public import Primitives

/// The address of the client behind `peer`.
///
/// X-Forwarded-For is read, and Forwarded (RFC 7239) where there is none. An entry that is no
/// address ends the walk at the proxy that passed it on.
public func clientAddress(
  peer: IPAddress, fields: borrowing FieldBlock, trusted: [AddressRange]
) -> IPAddress {
  guard isTrusted(peer, trusted) else { return peer }
  let known: KnownField = fields.contains(.xForwardedFor) ? .xForwardedFor : .forwarded
  var client = peer
  var index = fields.count
  while index > 0 {
    index -= 1
    let field = fields[index]
    if field.known != known || field.isRemoved { continue }
    var elements = ListElements(field.value)
    while let element = elements.last(in: fields) {
      let text = fields.bytes(of: element)
      let address = known == .forwarded ? forwardedFor(text) : nodeAddress(text)
      guard let address else { return client }
      client = address
      if !isTrusted(address, trusted) { return client }
    }
  }
  return client
}

func isTrusted(_ address: IPAddress, _ trusted: [AddressRange]) -> Bool {
  for range in trusted where range.contains(address) { return true }
  return false
}

private let forParameter: StaticString = "for="

/// The `for` parameter of one element of Forwarded (RFC 7239 4). Nil also when its quotes don't
/// pair up, or hold a backslash: then it may be the inside of a string that a client chose.
private func forwardedFor(_ element: Span<UInt8>) -> IPAddress? {
  var client: IPAddress?
  var isQuoted = false
  var start = 0
  for index in 0...element.count {
    if index < element.count {
      if element[index] == 0x5C { return nil }
      if element[index] == 0x22 { isQuoted.toggle() }
      if isQuoted || element[index] != 0x3B { continue }
    }
    let pair = trimmed(element.extracting(start..<index))
    start = index + 1
    guard pair.count > 4, pair.extracting(..<4).equalsIgnoringCase(forParameter.bytes) else {
      continue
    }
    var value = pair.extracting(4...)
    if value.count >= 2 && value[0] == 0x22 && value[value.count - 1] == 0x22 {
      value = value.extracting(1..<(value.count - 1))
    }
    client = nodeAddress(value)
  }
  return isQuoted ? nil : client
}

@_lifetime(copy text)
private func trimmed(_ text: Span<UInt8>) -> Span<UInt8> {
  var range = 0..<text.count
  while !range.isEmpty && text[range.lowerBound].isBlank { range.removeFirst() }
  while !range.isEmpty && text[range.upperBound - 1].isBlank { range.removeLast() }
  return text.extracting(range)
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:80`.
private func nodeAddress(_ text: Span<UInt8>) -> IPAddress? {
  if text.count > 0 && text[0] == 0x5B {
    let end = text.firstIndex(of: 0x5D, in: 0..<text.count)
    return end < text.count ? IPAddress(text.extracting(1..<end)) : nil
  }
  if let address = IPAddress(text) { return address }
  let colon = text.firstIndex(of: 0x3A, in: 0..<text.count)
  return colon < text.count ? IPAddress(text.extracting(..<colon)) : nil
}
