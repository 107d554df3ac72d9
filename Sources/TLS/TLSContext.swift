// Everything that the sessions of one listener share: certificates by name, policy, tickets, ALPN.
//
// Certificates are selected in OpenSSL's client-hello callback, since it runs before the ticket is
// processed; with TLS 1.3, the server-name callback doesn't. The same callback sets the session's
// id context to a hash of listener and server name, and OpenSSL only resumes sessions with the same
// id context. So a ticket is valid only at the same listener and for the same name, and no client
// can take a session of one virtual server to another.

import COpenSSL

/// The TLS part of a listener. A listener may have several, such as one per worker, so that workers
/// don't share reference counts. Their tickets are interchangeable.
@safe public final class TLSContext: Sendable {
  private let table: ServerNameTable
  /// One per group of the table.
  private let contexts: [ServerContext]
  private let ticketKeys: TicketKeys
  private let listenerName: [UInt8]
  /// For ALPN, best first.
  private let protocols: [[UInt8]]
  /// Unix seconds, for the age of sessions.
  private let clock: @Sendable () -> Int64

  /// The first of `certificates`, of which there must be at least one, is for clients with no or an
  /// unknown server name. Tickets depend on `listenerName`, so it should be the same after reloads.
  /// `protocols` are offered by ALPN, best first. With `clients`, clients must present a
  /// certificate. `clock` returns Unix seconds, by default the system's.
  public init(
    certificates: [Certificate], policy: TLSPolicy, ticketKeys: TicketKeys, listenerName: String,
    protocols: [String] = ["http/1.1", "http/1.0"], clients: ClientAuthority? = nil,
    clock: (@Sendable () -> Int64)? = nil
  ) throws(TLSFailure) {
    precondition(!certificates.isEmpty, "a TLS listener without a certificate")
    ERR_clear_error()
    table = ServerNameTable(
      certificates.map { (names: $0.dnsNames, algorithm: $0.key.type.algorithm) })
    var contexts: [ServerContext] = []
    for group in table.groups {
      let context = try ServerContext(policy: policy)
      for index in group { try unsafe certificates[index].install(in: context.context) }
      try unsafe clients?.guardSessions(of: context.context)
      contexts.append(context)
    }
    self.contexts = contexts
    self.ticketKeys = ticketKeys
    self.listenerName = Array(listenerName.utf8)
    self.protocols = protocols.map { Array($0.utf8) }
    self.clock = clock ?? { Int64(time(nil)) }
    for context in contexts { unsafe install(in: context.context) }
  }

  /// A new SSL *, owned by the caller. The caller must keep `self` alive for as long.
  func makeSession() throws(TLSFailure) -> OpaquePointer {
    clearErrors()
    guard let ssl = unsafe SSL_new(contexts[0].context) else { throw .capture() }
    return unsafe ssl
  }

  /// The callbacks get `self` unretained: sessions hold the context, so it outlives every call.
  private func install(in context: OpaquePointer) {
    let this = unsafe Unmanaged.passUnretained(self).toOpaque()
    unsafe SSL_CTX_set_ex_data(context, Self.exDataIndex, this)
    unsafe SSL_CTX_set_client_hello_cb(
      context,
      { ssl, alert, this in
        guard let this = unsafe this, let ssl = unsafe ssl else { return 0 }
        let context = unsafe Unmanaged<TLSContext>.fromOpaque(this).takeUnretainedValue()
        if unsafe context.select(for: ssl) { return SSL_CLIENT_HELLO_SUCCESS }
        unsafe alert?.pointee = SSL_AD_INTERNAL_ERROR
        return SSL_CLIENT_HELLO_ERROR
      }, this)
    // Acknowledges the name, and makes OpenSSL store it with the session.
    unsafe martlet_SSL_CTX_set_tlsext_servername_callback(context) { _, _, _ in
      SSL_TLSEXT_ERR_OK
    }
    unsafe SSL_CTX_set_tlsext_ticket_key_evp_cb(context) { ssl, name, vector, cipher, mac, seals in
      guard let this = unsafe SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), TLSContext.exDataIndex),
        let name = unsafe name, let vector = unsafe vector
      else { return -1 }
      let context = unsafe Unmanaged<TLSContext>.fromOpaque(this).takeUnretainedValue()
      return unsafe answerTicketKey(
        context.ticketKeys, name: name, vector: vector, cipher: cipher, mac: mac,
        isSealing: seals == 1, isSpent: SSL_version(ssl) == TLS1_3_VERSION)
    }
    _ = unsafe SSL_CTX_set_session_ticket_cb(
      context,
      { ssl, this in
        guard let this = unsafe this, let ssl = unsafe ssl else { return 0 }
        let context = unsafe Unmanaged<TLSContext>.fromOpaque(this).takeUnretainedValue()
        return unsafe answerTicketMaking(ssl, at: context.clock())
      },
      { _, session, _, _, status, this in
        guard let this = unsafe this else { return SSL_TICKET_RETURN_IGNORE_RENEW }
        let context = unsafe Unmanaged<TLSContext>.fromOpaque(this).takeUnretainedValue()
        return unsafe answerTicketShown(session, status, at: context.clock())
      }, this)
    unsafe SSL_CTX_set_alpn_select_cb(
      context,
      { _, chosen, chosenCount, offer, offerCount, this in
        guard let this = unsafe this else { return SSL_TLSEXT_ERR_ALERT_FATAL }
        let context = unsafe Unmanaged<TLSContext>.fromOpaque(this).takeUnretainedValue()
        return unsafe selectProtocol(
          of: context.protocols,
          UnsafeBufferPointer(start: offer, count: Int(offerCount)), chosen, chosenCount)
      }, this)
  }

  /// Slot 0 is OpenSSL's slot for an application pointer (SSL_CTX_set_app_data).
  private static let exDataIndex: Int32 = 0

  /// Sets the session's certificates and id context, by the name in the ClientHello.
  private func select(for ssl: OpaquePointer) -> Bool {
    let name = unsafe helloServerName(ssl)
    let context = unsafe contexts[table.group(for: String(decoding: name, as: UTF8.self))].context
    if unsafe SSL_get_SSL_CTX(ssl) != context && SSL_set_SSL_CTX(ssl, context) != context {
      return false
    }
    let identity = sha256(listenerName + [0] + name)
    return unsafe identity.span.withUnsafeBufferPointer { bytes in
      unsafe SSL_set_session_id_context(ssl, bytes.baseAddress, UInt32(bytes.count)) == 1
    }
  }
}

/// The server name in the current ClientHello, in lower case; empty when there is none or when it
/// is malformed. In that case OpenSSL sends an alert afterwards.
private func helloServerName(_ ssl: OpaquePointer) -> [UInt8] {
  var start: UnsafePointer<UInt8>? = nil
  var count = 0
  guard
    unsafe SSL_client_hello_get0_ext(ssl, UInt32(TLSEXT_TYPE_server_name), &start, &count) == 1
  else { return [] }
  let bytes = unsafe UnsafeBufferPointer(start: start, count: count)
  // RFC 6066 3: a list with its length, of one entry: type 0, a length, the name.
  guard count >= 5, unsafe bytes[2] == UInt8(TLSEXT_NAMETYPE_host_name) else { return [] }
  let length = unsafe Int(bytes[3]) << 8 | Int(bytes[4])
  guard length > 0 && length <= min(255, count - 5) else { return [] }
  return unsafe bytes[5..<5 + length].map { byte in
    byte >= 0x41 && byte <= 0x5A ? byte | 0x20 : byte
  }
}

/// Selects the best of `protocols` that is in the client's list (RFC 7301 3.2). A client that
/// offers none of them gets the alert no_application_protocol, and not a protocol that it can't
/// read. Without any, ALPN is not answered.
private func selectProtocol(
  of protocols: [[UInt8]],
  _ offer: UnsafeBufferPointer<UInt8>, _ chosen: UnsafeMutablePointer<UnsafePointer<UInt8>?>?,
  _ chosenCount: UnsafeMutablePointer<UInt8>?
) -> Int32 {
  for spoken in protocols {
    guard let start = unsafe find(spoken, in: offer) else { continue }
    unsafe chosen?.pointee = start
    unsafe chosenCount?.pointee = UInt8(truncatingIfNeeded: spoken.count)
    return SSL_TLSEXT_ERR_OK
  }
  return protocols.isEmpty ? SSL_TLSEXT_ERR_NOACK : SSL_TLSEXT_ERR_ALERT_FATAL
}

/// The position of a name in a list in which each name follows its length.
private func find(
  _ name: [UInt8], in offer: UnsafeBufferPointer<UInt8>
) -> UnsafePointer<UInt8>? {
  var index = 0
  while index < offer.count {
    let count = unsafe Int(offer[index])
    let next = index + 1 + count
    if next > offer.count { break }
    if count == name.count,
      let start = unsafe offer.baseAddress.map({ unsafe $0 + index + 1 }),
      unsafe memcmp(start, name, count) == 0
    {
      return unsafe start
    }
    index = next
  }
  return nil
}
