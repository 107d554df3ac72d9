// The client's address, and whether the client uses TLS, when there may be proxies in front of
// Martlet.
//
// A forwarding field is only as trustworthy as the proxy that wrote it. So it is read from its end,
// which our own peer wrote, for as long as each address is a trusted proxy. The first address that
// isn't one is the client; clients can fake everything to its left. Only the field that the trusted
// proxies write is read, since they pass the other one on as the client sent it.

public import HTTP
public import Primitives

/// The field in which the trusted proxies name the client.
public enum ForwardingField: Sendable {
  /// X-Forwarded-For, together with X-Forwarded-Proto and the like.
  case xForwardedFor
  /// Forwarded (RFC 7239).
  case forwarded
  /// Both are written; X-Forwarded-For is read.
  case both

  var readsForwarded: Bool { self == .forwarded }
}

/// Where a request comes from.
public struct RequestOrigin: Equatable, Sendable {
  /// The client behind the trusted proxies.
  public var client: IPAddress
  /// Whether the client uses TLS; nil if no trusted proxy says so.
  public var isTLS: Bool?

  /// The origin of a request that came from `peer`. An entry that is no address ends the search;
  /// the client is then the proxy that wrote this entry.
  public init(peer: IPAddress, fields: borrowing FieldBlock, policy: ForwardingPolicy) {
    client = peer
    guard isTrusted(peer, policy.trustedProxies) else { return }
    if policy.field.readsForwarded {
      walk(fields, .forwarded, policy.trustedProxies)
    } else {
      walk(fields, .xForwardedFor, policy.trustedProxies)
      isTLS = fields.statedProtocol
    }
  }

  private mutating func walk(
    _ fields: borrowing FieldBlock, _ known: KnownField, _ trusted: [AddressRange]
  ) {
    guard fields.contains(known) else { return }
    var index = fields.count
    while index > 0 {
      index -= 1
      let field = fields[index]
      if field.known != known || field.isRemoved { continue }
      var elements = ListElements(field.value)
      while let element = elements.last(in: fields) {
        let text = fields.bytes(of: element)
        let hop = known == .forwarded ? Hop(forwarded: text) : Hop(from: nodeAddress(text))
        if let isTLS = hop.isTLS { self.isTLS = isTLS }
        guard let address = hop.from else { return }
        client = address
        if !isTrusted(address, trusted) { return }
      }
    }
  }
}

func isTrusted(_ address: IPAddress, _ trusted: [AddressRange]) -> Bool {
  for range in trusted where range.contains(address) { return true }
  return false
}

extension FieldBlock {
  /// The last element of X-Forwarded-Proto, which our peer wrote.
  fileprivate var statedProtocol: Bool? {
    guard contains(.xForwardedProto) else { return nil }
    var stated: Bool?
    for index in 0..<count where self[index].known == .xForwardedProto && !self[index].isRemoved {
      var elements = ListElements(self[index].value)
      if let element = elements.last(in: self) { stated = isTLSProtocol(bytes(of: element)) }
    }
    return stated
  }
}

/// Nil for anything but HTTP and HTTPS.
private func isTLSProtocol(_ name: Span<UInt8>) -> Bool? {
  if name.equalsIgnoringCase(("https" as StaticString).bytes) { return true }
  if name.equalsIgnoringCase(("wss" as StaticString).bytes) { return true }
  if name.equalsIgnoringCase(("http" as StaticString).bytes) { return false }
  return name.equalsIgnoringCase(("ws" as StaticString).bytes) ? false : nil
}

/// What a proxy states about the previous hop.
private struct Hop {
  var from: IPAddress?
  var isTLS: Bool?

  init(from address: IPAddress?) { from = address }

  /// One element of Forwarded (RFC 7239 4). It is ignored if it contains an unpaired quote or a
  /// backslash: then it may be a part of a string that a client chose.
  init(forwarded element: Span<UInt8>) {
    var isQuoted = false
    var start = 0
    var hop = Hop(from: nil)
    for index in 0...element.count {
      if index < element.count {
        if element[index] == 0x5C { return }
        if element[index] == 0x22 { isQuoted.toggle() }
        if isQuoted || element[index] != 0x3B { continue }
      }
      let pair = trimmed(element.extracting(start..<index))
      start = index + 1
      if let value = pair.value(of: "for") { hop.from = nodeAddress(value) }
      if let value = pair.value(of: "proto") { hop.isTLS = isTLSProtocol(value) }
    }
    if !isQuoted { self = hop }
  }
}

extension Span where Element == UInt8 {
  /// The value of the parameter with this name, without quotes.
  @_lifetime(copy self)
  fileprivate func value(of name: StaticString) -> Span<UInt8>? {
    let end = name.bytes.count
    guard count > end + 1, self[end] == 0x3D,
      extracting(first: end).equalsIgnoringCase(name.bytes)
    else { return nil }
    let value = extracting((end + 1)...)
    guard value.count >= 2, value[0] == 0x22, value[value.count - 1] == 0x22 else { return value }
    return value.extracting(1..<(value.count - 1))
  }
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
