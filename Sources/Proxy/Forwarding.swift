// Functions that change a head on its way through the proxy: they remove hop-by-hop fields (RFC
// 9110 7.6.1), set forwarding fields and Via, and apply a route's edits. Stages call them.
//
// Framing fields are not changed here: the codec of each side owns them.

public import HTTP
public import Primitives

/// The settings for forwarding heads.
public struct ForwardingPolicy: Sendable {
  /// Proxies whose forwarding fields are trusted.
  public var trustedProxies: [AddressRange]
  /// The forwarding field that the trusted proxies write. The other one is never trusted.
  public var field: ForwardingField
  /// Whether responses get a Via field.
  public var addsVia: Bool
  public var addsViaToRequests: Bool
  /// Protocols that a client may switch to, in lower case, with a version if they have one. Never
  /// contains `h2c`.
  public var upgradeTokens: [[UInt8]]

  public init(
    trustedProxies: [AddressRange] = [], field: ForwardingField = .xForwardedFor,
    addsVia: Bool = true, addsViaToRequests: Bool = false,
    upgradeTokens: [[UInt8]] = [Array("websocket".utf8)]
  ) {
    self.trustedProxies = trustedProxies
    self.field = field
    self.addsVia = addsVia
    self.addsViaToRequests = addsViaToRequests
    self.upgradeTokens = upgradeTokens
  }
}

/// One change of a field by a route.
public enum FieldEdit: Sendable, Equatable {
  /// Replaces every field with this name.
  case set(name: [UInt8], value: [UInt8])
  case remove(name: [UInt8])
}

extension FieldEdit {
  var name: [UInt8] {
    switch self {
    case .set(let name, _), .remove(let name): name
    }
  }
}

extension FieldBlock {
  /// Applies these edits. An edit of a name also affects names that a backend may confuse with it,
  /// such as X_User for X-User. A field that an earlier edit has set is replaced only by its exact
  /// name.
  public mutating func apply(_ edits: [FieldEdit]) {
    let arrivedCount = count
    for edit in edits {
      removeAll(named: edit.name.span, alikeAmongFirst: arrivedCount)
      if case .set(let name, let value) = edit { append(name: name.span, value: value.span) }
    }
  }

  /// Removes the fields that these edits set or remove, and similar names.
  public mutating func removeAll(editedBy edits: [FieldEdit]) {
    for edit in edits { removeAll(named: edit.name.span, alikeAmongFirst: count) }
  }

  /// Removes the fields that apply to this connection only. False if the trailers must be removed
  /// too, because Connection names fields that Martlet does not know.
  fileprivate mutating func removeHopByHop(_ hopByHop: KnownFieldSet) -> Bool {
    var namesOthers = false
    if let index = firstIndex(of: .connection), connectionNamesFields(from: index) {
      // Connection must not remove fields that the message needs at the backend.
      namesOthers = removeAll(namedIn: .connection, except: .endToEnd, .forwarding)
    }
    removeAll(of: hopByHop)
    return !namesOthers
  }

  /// Whether a Connection field has another value than the two that nearly all clients send. Those
  /// two name no field that isn't removed anyway.
  private func connectionNamesFields(from first: Int) -> Bool {
    var next: Int? = first
    while let index = next {
      let value = bytes(of: self[index].value)
      if !value.equalsIgnoringCase(("keep-alive" as StaticString).bytes)
        && !value.equalsIgnoringCase(("close" as StaticString).bytes)
      {
        return true
      }
      next = nextIndex(of: .connection, after: index)
    }
    return false
  }

  fileprivate mutating func addVia(_ version: HTTPVersion) {
    switch version {
    case .http10: append(.via, "1.0 martlet")
    case .http11: append(.via, "1.1 martlet")
    case .http2: append(.via, "2 martlet")
    }
  }
}

extension KnownFieldSet {
  /// Fields for one connection, whether or not Connection names them.
  fileprivate static let hopByHop: KnownFieldSet = [
    .connection, .keepAlive, .proxyConnection, .te, .upgrade, .http2Settings,
  ]
  fileprivate static let hopByHopInResponses: KnownFieldSet = [
    .connection, .keepAlive, .proxyConnection, .te, .upgrade, .http2Settings, .proxyAuthenticate,
  ]
  /// The fields that Connection cannot remove: routing, framing, and the identity of the client.
  fileprivate static let endToEnd: KnownFieldSet = {
    var fields: KnownFieldSet = [
      .host, .contentLength, .transferEncoding, .xRequestID, .traceparent, .tracestate, .via,
      .cookie, .authorization, .contentType,
    ]
    fields.formUnion(.forwarding)
    return fields
  }()
  /// All forwarding fields except Forwarded.
  fileprivate static let xForwarded: KnownFieldSet = {
    var fields = KnownFieldSet.forwarding
    fields.subtract([.forwarded])
    return fields
  }()
  /// Fields with a hyphen in their names that are for framing, for one connection or for
  /// forwarding. A server behind CGI or WSGI treats `Content_Length` as Content-Length, which
  /// allows request smuggling (uWSGI does this). So no backend gets fields with similar names.
  fileprivate static let guarded: KnownFieldSet = {
    var fields: KnownFieldSet = [
      .contentLength, .transferEncoding, .keepAlive, .proxyConnection, .proxyAuthorization,
      .http2Settings, .maxForwards,
    ]
    fields.formUnion(.forwarding)
    return fields
  }()
  /// Fields that no backend gets. CGI programs read Proxy as the variable HTTP_PROXY
  /// (CVE-2016-5385), and no client needs it.
  fileprivate static let forProxiesOnly: KnownFieldSet = [.proxyAuthorization, .proxy]
  /// The same, and the fields that untrusted clients may not send.
  fileprivate static let fromProxiesOnly: KnownFieldSet = {
    var fields = KnownFieldSet.forwarding
    fields.formUnion(.forProxiesOnly)
    return fields
  }()
}

// MARK: Requests

/// Facts about a request that were determined while it was prepared.
public struct ForwardedRequest: Sendable {
  /// The client behind the trusted proxies: for ip-hash, limits and the log.
  public var client: IPAddress
  /// Whether that client uses TLS, to us or to a trusted proxy.
  public var isTLS: Bool
  /// The protocol to switch to, if the client asks for one that is allowed: a slice of the head.
  public var upgrade: Slice?
  /// False if its trailers must be removed, because its Connection field names other fields.
  public var keepsTrailers: Bool
  /// Whether the client accepts trailers in the response: its TE field is for us, and each wire
  /// writes its own (RFC 9110 10.1.4).
  public var acceptsTrailers: Bool
}

/// Turns a client's head into the head that a backend gets.
public func prepareRequest(
  _ head: inout RequestHead, peer: IPAddress, isTLS: Bool, policy: ForwardingPolicy
) -> ForwardedRequest {
  let origin = RequestOrigin(peer: peer, fields: head.fields, policy: policy)
  let upgrade = permittedUpgrade(head, policy)
  let acceptsTrailers = head.fields.contains(token: "trailers", in: .te)
  let keepsTrailers = head.fields.removeHopByHop(.hopByHop)
  head.fields.removeLookalikes(of: .guarded)
  head.fields.removeUnfoundedForwarding(origin, from: peer, policy)
  if origin.client != peer { restateClient(&head, origin, isTLS: origin.isTLS ?? isTLS) }
  setForwardingFields(&head, peer: peer, isTLS: isTLS, clientIsTLS: origin.isTLS ?? isTLS)
  if policy.addsViaToRequests { head.fields.addVia(head.version) }
  head.countForward()
  if let upgrade {
    head.fields.beginField(.upgrade)
    head.fields.appendValue(upgrade)
    head.fields.endField()
  }
  return ForwardedRequest(
    client: origin.client, isTLS: origin.isTLS ?? isTLS, upgrade: upgrade,
    keepsTrailers: keepsTrailers, acceptsTrailers: acceptsTrailers)
}

/// The protocol that the client may switch to. A request with a body may ask for one as well: the
/// client uses HTTP until its request is complete (RFC 9110 7.8), and the relay starts only after
/// that.
private func permittedUpgrade(_ head: borrowing RequestHead, _ policy: ForwardingPolicy) -> Slice? {
  // In HTTP/2, it is a CONNECT with :protocol (RFC 8441 4).
  if !head.connectProtocol.isEmpty {
    let name = head.bytes(of: head.connectProtocol)
    for token in policy.upgradeTokens where name.equalsIgnoringCase(token.span) {
      return head.connectProtocol
    }
    return nil
  }
  guard head.version == .http11, let value = head.fields.first(.upgrade),
    head.fields.contains(token: "upgrade", in: .connection)
  else { return nil }
  var elements = ListElements(value)
  while let element = elements.next(in: head.fields) {
    let name = head.fields.bytes(of: element)
    for token in policy.upgradeTokens where name.equalsIgnoringCase(token.span) { return element }
  }
  return nil
}

extension FieldBlock {
  /// Removes fields that no backend gets, and forwarding fields that do not come from a trusted
  /// proxy.
  fileprivate mutating func removeUnfoundedForwarding(
    _ origin: RequestOrigin, from peer: IPAddress, _ policy: ForwardingPolicy
  ) {
    guard isTrusted(peer, policy.trustedProxies) else {
      removeAll(of: .fromProxiesOnly)
      return removeAll(of: FieldNames.forwarding)
    }
    removeAll(of: .forProxiesOnly)
    removeLookalikes(of: FieldNames.forwarding)
    switch policy.field {
    case .xForwardedFor: removeAll(of: .forwarded)
    case .forwarded:
      removeAll(of: .xForwarded)
      return removeAll(of: FieldNames.forwarding)
    case .both: break
    }
    // Not every proxy writes these fields, so they may come from the client.
    if let value = first(.xRealIP), IPAddress(bytes(of: value)) != origin.client {
      removeAll(of: .xRealIP)
    }
    removeAll(of: .clientAddress) { IPAddress($0) != origin.client }
  }
}

/// Writes the client that the trusted proxies name into the fields that they didn't write.
/// Otherwise one field would contain the client and another one the proxy, and backends could use
/// either.
private func restateClient(_ head: inout RequestHead, _ origin: RequestOrigin, isTLS: Bool) {
  let address = head.fields.store(origin.client)
  if !head.fields.contains(.xForwardedFor) {
    head.fields.beginField(.xForwardedFor)
    head.fields.appendValue(address)
    head.fields.endField()
  }
  if !head.fields.contains(.forwarded) {
    head.fields.beginField(.forwarded)
    head.fields.appendForwardedFor(address, isV4: origin.client.isV4)
    head.fields.appendValue(isTLS ? ";proto=https" : ";proto=http")
    head.fields.endField()
  }
}

extension FieldBlock {
  fileprivate mutating func appendForwardedFor(_ address: Slice, isV4: Bool) {
    appendValue("for=")
    if isV4 {
      appendValue(address)
    } else {
      // A colon isn't a token character, so the value is quoted (RFC 7239 6).
      appendValue("\"[")
      appendValue(address)
      appendValue("]\"")
    }
  }
}

/// `isTLS` is about the connection of our peer, `clientIsTLS` about the client's connection to the
/// first proxy.
private func setForwardingFields(
  _ head: inout RequestHead, peer: IPAddress, isTLS: Bool, clientIsTLS: Bool
) {
  let address = head.fields.store(peer)
  appendToList(&head.fields, .xForwardedFor) { fields in fields.appendValue(address) }
  if !head.fields.contains(.xForwardedProto) {
    head.fields.append(.xForwardedProto, clientIsTLS ? "https" : "http")
  }
  let authority = head.authority
  if !head.fields.contains(.xForwardedHost) && !authority.isEmpty {
    head.fields.beginField(.xForwardedHost)
    head.fields.appendValue(authority)
    head.fields.endField()
  }
  appendToList(&head.fields, .forwarded) { fields in
    fields.appendForwardedFor(address, isV4: peer.isV4)
    if !authority.isEmpty {
      fields.appendValue(";host=\"")
      fields.appendValue(authority)
      fields.appendValue("\"")
    }
    fields.appendValue(isTLS ? ";proto=https" : ";proto=http")
  }
}

/// Appends an element to those of all fields with this name, as one field, since many backends read
/// only one.
private func appendToList(
  _ fields: inout FieldBlock, _ known: KnownField, _ element: (inout FieldBlock) -> Void
) {
  let count = fields.contains(known) ? fields.count : 0
  fields.beginField(known)
  for index in 0..<count where fields[index].known == known && !fields[index].isRemoved {
    fields.appendValue(fields[index].value)
    fields.appendValue(", ")
    fields.remove(at: index)
  }
  element(&fields)
  fields.endField()
}

// MARK: Responses

/// Turns the head from a backend into the head for the client. False if its trailers must be
/// removed.
@discardableResult
public func prepareResponse(_ head: inout ResponseHead, addsVia: Bool) -> Bool {
  let keepsTrailers = head.fields.removeHopByHop(.hopByHopInResponses)
  if addsVia { head.fields.addVia(head.version) }
  return keepsTrailers
}

/// Whether this 101 accepts the protocol in `token`, which the client asked for (RFC 9110 15.2.2).
public func acceptsUpgrade(_ head: borrowing ResponseHead, token: Span<UInt8>) -> Bool {
  guard head.fields.contains(token: "upgrade", in: .connection),
    let value = head.fields.first(.upgrade)
  else { return false }
  var elements = ListElements(value)
  guard let first = elements.next(in: head.fields), elements.next(in: head.fields) == nil else {
    return false
  }
  return head.fields.bytes(of: first).equalsIgnoringCase(token)
}
