// Values with a grammar of their own: addresses, hosts, paths and fields.
//
// Host names are not resolved here; the server does that.

import Primitives

extension Form where Value == Configuration.ListenAddress {
  /// `127.0.0.1:8443`, `[::1]:8443`, `localhost:8443`, `*:443`.
  static var listenAddress: Form {
    let description = FormDescription(
      noun: "an address to listen on",
      allowed: "write \"127.0.0.1:8443\", \"[::1]:8443\", \"localhost:8443\" for both, or"
        + " \"*:8443\" for all addresses",
      kind: "address with port", schema: ["type": "string", "pattern": "^.+:[0-9]{1,5}$"])
    return Form(description) { json, decoder in
      if let address = json.text.flatMap(Value.init) { return address }
      let text = json.text ?? json.integer.map(String.init) ?? ""
      if decoder.refusesPort(of: text, at: json.origin) { return nil }
      let port = text.hasPrefix(":") ? String(text.dropFirst()) : text
      let suggestion = UInt16(port).map { "\"*:\($0)\"" }
      decoder.mismatch(json, description, suggestion: suggestion)
      return nil
    } write: {
      .string($0.text)
    }
  }
}

extension Form where Value == Configuration.BackendAddress {
  /// `10.0.0.1:80`, `[2001:db8::1]:80`, `https://app.internal:8443`, `unix:/run/app.sock`.
  static var backendAddress: Form {
    let description = FormDescription(
      noun: "the address of a backend",
      allowed: "write \"10.0.0.1:8080\", \"[2001:db8::1]:8080\", \"app.internal:8080\" or"
        + " \"unix:/run/app.sock\"",
      kind: "address, name or socket",
      schema: ["type": "string", "pattern": "^(https?://.+|unix:.+|.+:[0-9]{1,5})$"])
    return Form(description) { json, decoder in
      guard let text = json.text else {
        decoder.mismatch(json, description, suggestion: localEndpoint(json.integer))
        return nil
      }
      if text.hasPrefix("unix:") {
        let path = text.dropFirst(5)
        if isSocketPath(path) {
          return Configuration.BackendAddress(endpoint: .address(.unix(String(path))))
        }
        decoder.report(
          "\(json.brief): the path of a socket must have 1 to 107 bytes", at: json.origin)
        return nil
      }
      let scheme = backendScheme(of: text)
      let isHTTPS = scheme == .https
      let endpoint =
        isHTTPS ? parseEndpoint(String(text.dropFirst(8)), port: 443) : parseEndpoint(text)
      if let endpoint {
        if case .name = endpoint { decoder.refer(to: "\(endpoint)", at: json.origin) }
        return Configuration.BackendAddress(endpoint: endpoint, scheme: scheme)
      }
      if decoder.refusesPort(of: text, at: json.origin) { return nil }
      let isBare = !text.contains(":") && parseEndpoint(text + ":80") != nil
      let named = isBare ? "\(text):80" : asciiEndpoint(text)
      let port = text.hasPrefix(":") ? text.dropFirst() : text[...]
      let suggestion = named.map { JSON.quoted($0) } ?? localEndpoint(Int(port))
      decoder.mismatch(json, description, suggestion: suggestion)
      return nil
    } write: {
      .string($0.description)
    }
  }
}

extension Form where Value == Configuration.HostPattern {
  /// `www.example.com` or `*.example.com`.
  static var host: Form {
    Form(
      text: FormDescription(
        noun: "a host",
        allowed: "write a name such as \"www.example.com\", \"*.example.com\" for all its"
          + " subdomains, or an address, without a port",
        kind: "host", schema: ["type": "string", "minLength": 1])
    ) { text in
      let lower = text.lowercased()
      if lower.hasPrefix("*.") {
        let suffix = String(lower.dropFirst(2))
        return isHostName(suffix) ? .below(suffix) : nil
      }
      if let address = IPAddress(lower.bracketless) {
        return .exact(address.isV4 ? "\(address)" : "[\(address)]")
      }
      return isHostName(lower) ? .exact(lower) : nil
    } suggest: { text in
      if let host = withoutPort(text) { return host }
      let isPattern = text.hasPrefix("*.")
      return asciiHostName(isPattern ? text.dropFirst(2) : text[...]).map {
        isPattern ? "*.\($0)" : $0
      }
    } write: {
      $0.description
    }
  }
}

extension Form where Value == AddressRange {
  /// `10.0.0.0/8`, `2001:db8::/32`, `192.0.2.7`.
  static var addressRange: Form {
    Form(
      text: FormDescription(
        noun: "a block of addresses",
        allowed: "write \"10.0.0.0/8\", \"2001:db8::/32\" or one address; all bits after the"
          + " prefix must be 0",
        kind: "address or CIDR block", schema: ["type": "string", "minLength": 2]),
      parse: { AddressRange($0) }, suggest: network, write: { "\($0)" })
  }
}

extension Form where Value == String {
  /// The path of a request, `/` or a path without a slash at its end.
  static var path: Form {
    Form(
      text: FormDescription(
        noun: "a path",
        allowed: "write it as \"/api\": it must start with a slash, and contain no query, no"
          + " \"//\", no dot segments and no characters that need escapes",
        kind: "path", schema: ["type": "string", "pattern": "^/"])
    ) { text in
      guard text.hasPrefix("/"), text.utf8.allSatisfy(isPathByte) else { return nil }
      let segments = text.utf8.dropFirst().split(
        separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
      for (index, segment) in segments.enumerated() {
        // Only the last one may be empty: then the path ends with a slash.
        if segment.isEmpty && index < segments.count - 1 { return nil }
        if segment.elementsEqual(".".utf8) || segment.elementsEqual("..".utf8) { return nil }
      }
      return text
    } suggest: { text in
      // A prefix needs no wildcard.
      let prefix = text.hasSuffix("/*") ? String(text.dropLast(2)) : text
      let path = prefix.hasPrefix("/") ? prefix : "/" + prefix
      return path != text && path.utf8.allSatisfy(isPathByte) && !path.contains("*") ? path : nil
    } write: {
      $0
    }
  }

  /// A path with or without a query, as it is sent.
  static var target: Form {
    Form(
      text: FormDescription(
        noun: "a path", allowed: "write it as \"/status?full\": it must start with a slash,"
          + " and characters outside ASCII must be escaped",
        kind: "path", schema: ["type": "string", "pattern": "^/"])
    ) { text in
      let isVisible = text.utf8.allSatisfy {
        (0x21...0x7E).contains($0) && $0 != UInt8(ascii: "#") && $0 != UInt8(ascii: "\"")
      }
      return text.hasPrefix("/") && isVisible ? text : nil
    } suggest: { text in
      !text.isEmpty && text.utf8.allSatisfy(isPathByte) && !text.hasPrefix("/") ? "/" + text : nil
    } write: {
      $0
    }
  }

  /// A host name or an address, without port.
  static var hostName: Form {
    Form(
      text: FormDescription(
        noun: "the name of a host", allowed: "write one such as \"www.example.com\"",
        kind: "host", schema: ["type": "string", "minLength": 1])
    ) { text in
      let lower = text.lowercased()
      if let address = IPAddress(lower.bracketless) {
        return address.isV4 ? "\(address)" : "[\(address)]"
      }
      return isHostName(lower) ? lower : nil
    } suggest: {
      withoutPort($0) ?? asciiHostName($0[...])
    } write: {
      $0
    }
  }

  /// A protocol to upgrade to: a name, optionally with a slash and a version (RFC 9110 7.8).
  static var upgradeProtocol: Form {
    let description = FormDescription(
      noun: "a protocol", allowed: "write one such as \"websocket\" or \"SPDY/3.1\"",
      kind: "protocol", schema: ["type": "string", "minLength": 1])
    return Form(description) { json, decoder in
      let parts = json.text?.split(separator: "/", omittingEmptySubsequences: false) ?? []
      guard let text = json.text, let name = parts.first?.lowercased(), parts.count <= 2,
        parts.allSatisfy({ isToken(String($0)) })
      else {
        decoder.mismatch(json, description)
        return nil
      }
      // An asterisk is a valid token, but it is meant as a wildcard here.
      if text.utf8.contains(UInt8(ascii: "*")) {
        decoder.report(
          "\(json.brief) is not a wildcard; list each protocol, such as \"websocket\"",
          at: json.origin)
        return nil
      }
      if httpNames.contains(name) {
        decoder.report(
          "\(json.brief) is HTTP: its requests would bypass routes, limits and logs",
          at: json.origin)
        return nil
      }
      return text.lowercased()
    } write: {
      .string($0)
    }
  }

  /// The name of a cookie, a token (RFC 6265 4.1.1).
  static var cookieName: Form {
    Form(
      text: FormDescription(
        noun: "a token", allowed: "write the cookie's name, such as \"backend\"", kind: "name",
        schema: ["type": "string", "minLength": 1])
    ) { text in
      isToken(text) && text.utf8.count <= 64 ? text : nil
    } write: {
      $0
    }
  }

  /// The name of a field that a route may change.
  static var fieldName: Form {
    let description = FormDescription(
      noun: "the name of a field", allowed: "write one such as \"X-Frame-Options\"",
      kind: "field name", schema: ["type": "string", "minLength": 1])
    return Form(description) { json, decoder in
      guard let text = json.text, isToken(text) else {
        decoder.mismatch(json, description)
        return nil
      }
      if framingFields.contains(text.lowercased()) {
        decoder.report(
          "\(json.brief) controls framing or routing, so only Martlet may set it",
          at: json.origin)
        return nil
      }
      return text
    } write: {
      .string($0)
    }
  }
}

extension Form where Value == [Configuration.Field] {
  /// An object of field names and their values.
  static var fields: Form {
    let description = FormDescription(
      noun: "an object", allowed: "each key must be the name of a field, each value a string",
      kind: "object of texts",
      schema: ["type": "object", "additionalProperties": ["type": "string"]])
    let text = Form<String>.text(maxByteCount: 4096, example: "DENY")
    return Form(description) { json, decoder in
      guard case .object(let members) = json.value else {
        decoder.mismatch(json, description)
        return nil
      }
      return members.compactMap { member in
        decoder.within(member.name, member.value) { decoder in
          let nameAsValue = JSON(.string(member.name), origin: member.nameOrigin)
          guard let name = Form<String>.fieldName.read(nameAsValue, &decoder),
            let value = text.read(member.value, &decoder)
          else { return nil }
          if value.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F || $0 == 0x09 }) {
            return Configuration.Field(name: name, value: value)
          }
          decoder.report(
            "\(member.value.brief) contains a control character, which is not allowed",
            at: member.value.origin)
          return nil
        }
      }
    } write: {
      .object($0.map { ($0.name, .string($0.value)) })
    }
  }
}

// MARK: Grammar

/// What an address begins with.
private func backendScheme(of text: String) -> Configuration.BackendAddress.Scheme? {
  let lower = text.lowercased()
  return lower.hasPrefix("https://") ? .https : lower.hasPrefix("http://") ? .http : nil
}

/// An address with its port, or nil. With `http://` in front, or if there is a default, the port is
/// optional.
func parseEndpoint(_ text: String, port standard: UInt16? = nil) -> Configuration.Endpoint? {
  var rest = text[...]
  var port = standard
  if port == nil && rest.lowercased().hasPrefix("http://") {
    rest = rest.dropFirst(7)
    port = 80
  }
  if port != nil && rest.hasSuffix("/") { rest = rest.dropLast() }
  var host = rest
  if let colon = rest.lastIndex(of: ":"), !rest.hasSuffix("]") {
    host = rest[..<colon]
    port = parsePort(rest[rest.index(after: colon)...])
  }
  guard let port, port > 0 else { return nil }
  if let address = parseHostAddress(host) { return .address(.ip(address, port: port)) }
  let name = host.lowercased()
  // Keep the final dot of an absolute name (RFC 1034 3.1) for the lookup.
  return isHostName(name.hasSuffix(".") ? String(name.dropLast()) : name)
    ? .name(name, port: port) : nil
}

extension Configuration.ListenAddress {
  /// Nil if the text isn't an address with a port.
  public init?(_ text: String) {
    guard let colon = text.lastIndex(of: ":"),
      let port = parsePort(text[text.index(after: colon)...])
    else { return nil }
    let host = text[..<colon]
    let hosts: [IPAddress] =
      switch host.lowercased() {
      case "localhost": [.loopbackV4, .loopbackV6]
      case "*": [.anyV4, .anyV6]
      default: parseHostAddress(host).map { [$0] } ?? []
      }
    if hosts.isEmpty { return nil }
    self.text = text
    addresses = hosts.map { .ip($0, port: port) }
  }
}

/// Whether a socket can have this path: sun_path has 108 bytes, including a zero at the end.
func isSocketPath(_ path: some StringProtocol) -> Bool {
  (1...107).contains(path.utf8.count) && !path.utf8.contains(0)
}

extension Decoder {
  /// Reports a port that is too large, which deserves a message of its own.
  mutating func refusesPort(of text: String, at origin: JSON.Origin) -> Bool {
    let port = text.lastIndex(of: ":").map { text[text.index(after: $0)...] } ?? text[...]
    guard port.utf8.count <= 19, port.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
      let number = UInt64(port), number > UInt16.max
    else { return false }
    report("the port \(port) is larger than 65535", at: origin)
    return true
  }
}

private func parsePort(_ text: Substring) -> UInt16? {
  text.utf8.count <= 5 && text.utf8.allSatisfy { (0x30...0x39).contains($0) }
    ? UInt16(text) : nil
}

/// An IPv4 address, or an IPv6 address in brackets.
private func parseHostAddress(_ text: Substring) -> IPAddress? {
  if text.hasPrefix("[") {
    guard text.hasSuffix("]") else { return nil }
    return IPAddress(String(text.dropFirst().dropLast())).flatMap { $0.isV4 ? nil : $0 }
  }
  return IPAddress(String(text)).flatMap { $0.isV4 ? $0 : nil }
}

/// A suggestion for an invalid host name: letters beyond ASCII in Punycode, and no dot at the end.
/// Nil if the result isn't valid either.
private func asciiHostName(_ text: Substring) -> String? {
  let end = text.lastIndex { $0 != "." }.map { text.index(after: $0) } ?? text.startIndex
  let name = text[..<end].lowercased().split(separator: ".", omittingEmptySubsequences: false)
    .map { Punycode.label(String($0)) ?? "" }.joined(separator: ".")
  return isHostName(name) && name != text ? name : nil
}

/// The address of a backend that was written as a port only; nil for what isn't a port.
private func localEndpoint(_ port: Int?) -> String? {
  port.flatMap { (1...65535).contains($0) ? "\"127.0.0.1:\($0)\"" : nil }
}

/// The block of addresses that `10.0.0.1/8` is in; nil for anything else.
@Sendable private func network(_ text: String) -> String? {
  let parts = text.split(separator: "/", omittingEmptySubsequences: false)
  guard parts.count == 2, let address = IPAddress(String(parts[0])),
    let length = UInt64(parts[1]), length <= (address.isV4 ? 32 : 128)
  else { return nil }
  // An IPv4 address has a prefix of 96 bits.
  let bits = address.isV4 ? 96 + length : length
  let high = bits >= 64 ? address.high : bits == 0 ? 0 : address.high & (.max << (64 - bits))
  let low = bits <= 64 ? 0 : address.low & (.max << (128 - bits))
  return AddressRange("\(IPAddress(high: high, low: low))/\(length)").map { "\($0)" }
}

/// The host of `example.com:443`; nil for anything else.
private func withoutPort(_ text: String) -> String? {
  guard let colon = text.lastIndex(of: ":"), parsePort(text[text.index(after: colon)...]) != nil
  else { return nil }
  let host = text[..<colon].lowercased()
  return isHostName(host) ? host : nil
}

/// The same as `asciiHostName` for a name with its port.
private func asciiEndpoint(_ text: String) -> String? {
  guard let colon = text.lastIndex(of: ":"), let name = asciiHostName(text[..<colon]) else {
    return nil
  }
  let endpoint = name + text[colon...]
  return parseEndpoint(endpoint) == nil ? nil : endpoint
}

/// Labels of letters, digits, hyphens and underscores, in lower case. A name whose last label is a
/// number is a mistyped address.
private func isHostName(_ text: String) -> Bool {
  let labels = text.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
  guard text.utf8.count <= 253, let last = labels.last else { return false }
  if last.allSatisfy({ (0x30...0x39).contains($0) }) { return false }
  return labels.allSatisfy { label in
    (1...63).contains(label.count)
      && label.allSatisfy { byte in
        (0x61...0x7A).contains(byte) || (0x30...0x39).contains(byte)
          || byte == UInt8(ascii: "-") || byte == UInt8(ascii: "_")
      }
  }
}

func isToken(_ text: String) -> Bool {
  let others = Array("!#$%&'*+-.^_`|~".utf8)
  return !text.isEmpty
    && text.utf8.allSatisfy { byte in
      (0x61...0x7A).contains(byte | 0x20) && byte < 0x80 || (0x30...0x39).contains(byte)
        || others.contains(byte)
    }
}

/// The pchar of RFC 3986 3.3 without escapes, and the slash.
func isPathByte(_ byte: UInt8) -> Bool {
  (0x61...0x7A).contains(byte | 0x20) && byte < 0x80 || (0x30...0x39).contains(byte)
    || Array("-._~!$&'()*+,;=:@/".utf8).contains(byte)
}

/// Protocols that carry HTTP; TLS does so after an upgrade (RFC 2817).
private let httpNames: Set<String> = ["h2", "h2c", "http", "https", "tls"]

/// Fields that control framing, the connection or routing.
private let framingFields: Set<String> = [
  "connection", "content-length", "expect", "host", "keep-alive", "proxy-connection", "te",
  "trailer", "transfer-encoding", "upgrade",
]

extension String {
  /// Without the brackets around an IPv6 address.
  fileprivate var bracketless: String {
    hasPrefix("[") && hasSuffix("]") ? String(dropFirst().dropLast()) : self
  }
}
