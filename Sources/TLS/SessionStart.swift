// The time when a session began, which is stored in its tickets.
//
// OpenSSL counts the lifetime of a TLS 1.3 session from its last resumption. Each resumption sends
// a new ticket, so a client could avoid a full handshake forever, even after our certificate and
// all ticket keys have changed. So each ticket contains the time of the full handshake, encrypted
// with the rest, and passes it on to the next ticket. RFC 8446 4.6.1 leaves the limit to the
// server.

import COpenSSL

/// The time of a full handshake, in Unix seconds.
struct SessionStart {
  /// How far the clocks of nodes that share ticket keys may differ.
  static let skewMax: Int64 = 60

  let seconds: Int64

  /// The time in a session (SSL_SESSION *) from a ticket; nil for a ticket of an older version.
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

  /// Stores the time in the session for which a ticket is about to be made.
  func stamp(_ session: OpaquePointer) -> Bool {
    unsafe withUnsafeBytes(of: seconds.bigEndian) { bytes in
      unsafe SSL_SESSION_set1_ticket_appdata(session, bytes.baseAddress, bytes.count) == 1
    }
  }
}

/// OpenSSL's callback before it makes a ticket: return 1 to continue.
func answerTicketMaking(_ ssl: OpaquePointer, at now: Int64) -> Int32 {
  guard let session = unsafe SSL_get_session(ssl) else { return 0 }
  let isResumed = unsafe SSL_session_reused(ssl) == 1
  let start = unsafe (isResumed ? SessionStart(of: session) : nil) ?? SessionStart(at: now)
  if unsafe SSL_version(ssl) == TLS1_3_VERSION {
    // The time counts from now, and the client is told it. With TLS 1.2, OpenSSL itself counts from
    // the full handshake.
    unsafe SSL_SESSION_set_timeout(session, Int(max(1, start.rest(at: now))))
  }
  return unsafe start.stamp(session) ? 1 : 0
}

/// OpenSSL's callback for a ticket that a client presents. A full handshake follows if it can't be
/// decrypted, is too old, or doesn't contain its start.
func answerTicketShown(
  _ session: OpaquePointer?, _ status: SSL_TICKET_STATUS, at now: Int64
) -> SSL_TICKET_RETURN {
  guard status == SSL_TICKET_SUCCESS || status == SSL_TICKET_SUCCESS_RENEW,
    let session = unsafe session, let start = unsafe SessionStart(of: session),
    start.rest(at: now) > 0
  else { return SSL_TICKET_RETURN_IGNORE_RENEW }
  return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW
}
