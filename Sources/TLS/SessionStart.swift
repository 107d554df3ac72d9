// When a session began, as its tickets carry it.
//
// OpenSSL counts the life of a TLS 1.3 session from its last resumption. As each resumption brings
// a new ticket, a client could go on without a full handshake as long as it likes, past the end of
// our certificate and of every ticket key. So the time of the full handshake stands in each ticket,
// sealed with the rest of it, and passes from one ticket to the next (RFC 8446 4.6.1 leaves the
// limit to the server).

import COpenSSL

/// The time of a full handshake, in Unix seconds.
struct SessionStart {
  /// How far the clocks of nodes that share ticket keys may differ.
  static let skewMax: Int64 = 60

  let seconds: Int64

  /// What a session (SSL_SESSION *) says that came by a ticket; nil for one of an earlier version.
  init?(of session: OpaquePointer) {
    var start: UnsafeMutableRawPointer? = nil
    var count = 0
    guard unsafe SSL_SESSION_get0_ticket_appdata(session, &start, &count) == 1,
      count == 8, let bytes = unsafe start
    else { return nil }
    seconds = unsafe Int64(bigEndian: bytes.loadUnaligned(as: Int64.self))
  }

  init(at seconds: Int64) { self.seconds = seconds }

  /// How long the session can still be resumed, in seconds; 0 or less when it can't.
  func rest(at now: Int64) -> Int64 {
    let age = now &- seconds
    return age < -Self.skewMax ? 0 : Int64(ServerContext.sessionLifetime) &- max(0, age)
  }

  /// Puts it into the session that a ticket is about to be made of.
  func stamp(_ session: OpaquePointer) -> Bool {
    unsafe withUnsafeBytes(of: seconds.bigEndian) { bytes in
      unsafe SSL_SESSION_set1_ticket_appdata(session, bytes.baseAddress, bytes.count) == 1
    }
  }
}

/// OpenSSL's announcement of a ticket: 1 to go on.
func answerTicketMaking(_ ssl: OpaquePointer, at now: Int64) -> Int32 {
  guard let session = unsafe SSL_get_session(ssl) else { return 0 }
  let isResumed = unsafe SSL_session_reused(ssl) == 1
  let start = unsafe (isResumed ? SessionStart(of: session) : nil) ?? SessionStart(at: now)
  if unsafe SSL_version(ssl) == TLS1_3_VERSION {
    // Counted from now, and told to the client. Under TLS 1.2 OpenSSL counts from the full
    // handshake itself.
    unsafe SSL_SESSION_set_timeout(session, Int(max(1, start.rest(at: now))))
  }
  return unsafe start.stamp(session) ? 1 : 0
}

/// OpenSSL's question what becomes of a ticket that a client has shown. A full handshake follows
/// where it can't be opened, is too old, or doesn't say how old it is.
func answerTicketShown(
  _ session: OpaquePointer?, _ status: SSL_TICKET_STATUS, at now: Int64
) -> SSL_TICKET_RETURN {
  guard status == SSL_TICKET_SUCCESS || status == SSL_TICKET_SUCCESS_RENEW,
    let session = unsafe session, let start = unsafe SessionStart(of: session),
    start.rest(at: now) > 0
  else { return SSL_TICKET_RETURN_IGNORE_RENEW }
  return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW
}
