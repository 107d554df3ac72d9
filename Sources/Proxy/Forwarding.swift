// What changes in a head on its way through: hop-by-hop fields go (RFC 9110 7.6.1), the fields
// that say who asked are set, Via is added, and a route's own edits are made.
//
// Framing fields are not touched here: the codec of each side owns its own.

public import HTTP
public import Primitives

/// What the forwarding of heads depends on.
public struct ForwardingPolicy: Sendable {
  /// Proxies whose forwarding fields are believed.
  public var trustedProxies: [AddressRange]
  /// The field in which they say it. The other one is nobody's word.
  public var field: ForwardingField
  /// To responses.
  public var addsVia: Bool
  public var addsViaToRequests: Bool
  /// Protocols that a client may switch to, in lower case, with their version where they have one;
  /// `h2c` never is one.
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
  /// Replaces every field of this name.
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
  /// Makes these changes. A name takes those along that a backend may take for it, as X_User is
  /// for X-User; what an edit itself has set is only replaced by its very name.
  public mutating func apply(_ edits: [FieldEdit]) {
    let arrivedCount = count
    for edit in edits {
      removeAll(named: edit.name.span, alikeAmongFirst: arrivedCount)
      if case .set(let name, let value) = edit { append(name: name.span, value: value.span) }
    }
  }

  /// Removes the fields that these edits set or remove, and their look-alikes.
  public mutating func removeAll(editedBy edits: [FieldEdit]) {
    for edit in edits { removeAll(named: edit.name.span, alikeAmongFirst: count) }
  }

  /// Removes what is meant for this connection only. False when trailers may be too: Connection
  /// names fields of its sender's.
  fileprivate mutating func removeHopByHop(_ hopByHop: KnownFieldSet) -> Bool {
    var namesOthers = false
    if connectionNamesFields {
      // Naming a field that the message needs must not make it vanish for whoever is behind us.
      namesOthers = removeAll(namedIn: .connection, except: .endToEnd, .forwarding)
    }
    removeAll(of: hopByHop)
    return !namesOthers
  }

  /// Is there a Connection field that says more than the two values that nearly everybody sends,
  /// and which name no field that isn't removed anyway?
  private var connectionNamesFields: Bool {
    guard contains(.connection) else { return false }
    for index in 0..<count where self[index].known == .connection && !self[index].isRemoved {
      let value = bytes(of: self[index].value)
      if !value.equalsIgnoringCase(("keep-alive" as StaticString).bytes)
        && !value.equalsIgnoringCase(("close" as StaticString).bytes)
      {
        return true
      }
    }
    return false
  }

  fileprivate mutating func addVia(_ version: HTTPVersion) {
    append(.via, version == .http10 ? "1.0 martlet" : "1.1 martlet")
  }
}

extension KnownFieldSet {
  /// What is meant for one connection, whether Connection names it or not.
  fileprivate static let hopByHop: KnownFieldSet = [
    .connection, .keepAlive, .proxyConnection, .te, .upgrade, .http2Settings,
  ]
  fileprivate static let hopByHopInResponses: KnownFieldSet = [
    .connection, .keepAlive, .proxyConnection, .te, .upgrade, .http2Settings, .proxyAuthenticate,
  ]
  /// What Connection can't name: routing, framing and what tells the client's identity.
  fileprivate static let endToEnd: KnownFieldSet = {
    var fields: KnownFieldSet = [
      .host, .contentLength, .transferEncoding, .xRequestID, .traceparent, .tracestate, .via,
      .cookie, .authorization, .contentType,
    ]
    fields.formUnion(.forwarding)
    return fields
  }()
  /// All that say who asked, without Forwarded.
  fileprivate static let xForwarded: KnownFieldSet = {
    var fields = KnownFieldSet.forwarding
    fields.subtract([.forwarded])
    return fields
  }()
  /// Fields with a hyphen in their names that frame a message, concern one connection or tell who
  /// asked. A server behind CGI or WSGI takes `Content_Length` for Content-Length, which is request
  /// smuggling (uWSGI does), so no backend gets a look-alike of these.
  fileprivate static let guarded: KnownFieldSet = {
    var fields: KnownFieldSet = [
      .contentLength, .transferEncoding, .keepAlive, .proxyConnection, .proxyAuthorization,
      .http2Settings, .maxForwards,
    ]
    fields.formUnion(.forwarding)
    return fields
  }()
  /// What no backend gets to see. Proxy is read by CGI programs as the variable HTTP_PROXY
  /// (CVE-2016-5385), and no client has a use for it.
  fileprivate static let forProxiesOnly: KnownFieldSet = [.proxyAuthorization, .proxy]
  /// The same, and what strangers may not say.
  fileprivate static let fromProxiesOnly: KnownFieldSet = {
    var fields = KnownFieldSet.forwarding
    fields.formUnion(.forProxiesOnly)
    return fields
  }()
}

// MARK: Requests

/// What was found out about a request while it was prepared.
public struct ForwardedRequest: Sendable {
  /// The client behind the trusted proxies: what ip-hash, limits and the log use.
  public var client: IPAddress
  /// Whether that client came by TLS, to us or to a trusted proxy.
  public var isTLS: Bool
  /// The protocol that the client asks to switch to, where it may: a slice of the head.
  public var upgrade: Slice?
  /// False when its trailers have to be left out, since its Connection field names fields.
  public var keepsTrailers: Bool
}

/// Turns the head that a client sent into the one that a backend gets.
public func prepareRequest(
  _ head: inout RequestHead, peer: IPAddress, isTLS: Bool, policy: ForwardingPolicy
) -> ForwardedRequest {
  let origin = RequestOrigin(peer: peer, fields: head.fields, policy: policy)
  let upgrade = permittedUpgrade(head, policy)
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
    keepsTrailers: keepsTrailers)
}

/// The protocol that the client may switch to. A request with a body may ask for one as well: the
/// client keeps to HTTP until its request is complete (RFC 9110 7.8), and the relay begins no
/// earlier.
private func permittedUpgrade(_ head: borrowing RequestHead, _ policy: ForwardingPolicy) -> Slice? {
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
  /// Removes what no backend gets to see, and what says who asked and isn't the word of a trusted
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
    // Not every proxy writes these, so what a client sent may have come through.
    if let value = first(.xRealIP), IPAddress(bytes(of: value)) != origin.client {
      removeAll(of: .xRealIP)
    }
    removeAll(of: .clientAddress) { IPAddress($0) != origin.client }
  }
}

/// Puts the client that trusted proxies name into the fields that they didn't write. Otherwise one
/// field would name the client and the other one only the proxy, and backends could believe either.
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
      // A colon makes it no token, so it is quoted (RFC 7239 6).
      appendValue("\"[")
      appendValue(address)
      appendValue("]\"")
    }
  }
}

/// `isTLS` is how our peer came to us, `clientIsTLS` how the client came to the first proxy.
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

/// Adds an element behind those of all fields of this name, in one field, since many backends read
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

/// Turns the head that a backend sent into the one that the client gets. False when its trailers
/// have to be left out.
@discardableResult
public func prepareResponse(_ head: inout ResponseHead, addsVia: Bool) -> Bool {
  let keepsTrailers = head.fields.removeHopByHop(.hopByHopInResponses)
  if addsVia { head.fields.addVia(head.version) }
  return keepsTrailers
}

/// Is this 101 the answer to what the client asked for (RFC 9110 15.2.2)? `token` is what it asked.
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
