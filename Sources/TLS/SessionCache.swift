// The sessions that can be resumed with the backends of one pool.
//
// A cache belongs to one context, so its sessions were all made under the same verification, client
// certificate and protocols, and no other pool gets them. Within it they are kept by the address of
// the backend and the name that was verified. One thread uses it.

import COpenSSL
import Primitives

/// Sessions by backend; bounded.
final class SessionCache {
  private struct Key: Hashable {
    let address: SocketAddress
    let name: String
  }

  /// More backends than a pool usually has. The one that was dialled longest ago makes room.
  static let slotMax = 512

  private var slots: [Key: SessionSlot] = [:]
  private var useCount: UInt64 = 0

  /// Where the sessions with this backend are.
  func slot(for address: SocketAddress, name: String) -> SessionSlot {
    useCount += 1
    let key = Key(address: address, name: name)
    if let slot = slots[key] {
      slot.lastUse = useCount
      return slot
    }
    if slots.count >= Self.slotMax {
      let oldest = slots.min { $0.value.lastUse < $1.value.lastUse }
      if let oldest { slots[oldest.key] = nil }
    }
    let slot = SessionSlot()
    slot.lastUse = useCount
    slots[key] = slot
    return slot
  }
}

/// The sessions with one backend, the newest last.
@safe final class SessionSlot {
  /// A server sends one or two tickets for each connection.
  static let sessionMax = 4

  /// SSL_SESSION *, owned.
  private var sessions: [OpaquePointer] = unsafe []
  fileprivate var lastUse: UInt64 = 0

  deinit { forget() }

  var count: Int { unsafe sessions.count }

  /// Keeps a session, and takes over the caller's reference.
  func put(_ session: OpaquePointer) {
    if unsafe sessions.count == Self.sessionMax {
      unsafe SSL_SESSION_free(sessions.removeFirst())
    }
    unsafe sessions.append(session)
  }

  /// Lets `ssl` resume a session, if there is one. With TLS 1.3 each ticket is used once, so that
  /// nobody can link connections by it (RFC 8446 C.4).
  func offer(to ssl: OpaquePointer) {
    while let session = unsafe sessions.popLast() {
      guard unsafe Self.isUsable(session) else {
        unsafe SSL_SESSION_free(session)
        continue
      }
      _ = unsafe SSL_set_session(ssl, session)
      if unsafe SSL_SESSION_get_protocol_version(session) == TLS1_3_VERSION {
        unsafe SSL_SESSION_free(session)
      } else {
        unsafe sessions.append(session)
      }
      return
    }
  }

  func forget() {
    for unsafe session in unsafe sessions { unsafe SSL_SESSION_free(session) }
    unsafe sessions.removeAll()
  }

  /// A resumption doesn't show the certificate again. So a session ends with its certificate.
  private static func isUsable(_ session: OpaquePointer) -> Bool {
    guard unsafe SSL_SESSION_is_resumable(session) == 1 else { return false }
    guard let certificate = unsafe SSL_SESSION_get0_peer(session) else { return true }
    return unsafe X509_cmp_current_time(X509_get0_notAfter(certificate)) > 0
  }
}
