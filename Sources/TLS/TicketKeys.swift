// The keys that encrypt session tickets (RFC 5077, RFC 8446 4.6.1), one ring per listener.
//
// The first key encrypts new tickets; all keys decrypt old ones, and a ticket of an older key is
// replaced by a new one. A ticket contains the session's secrets, so keys should be used for hours
// and not for months. TLSContext keeps tickets from being used at another listener or server name:
// it puts both into the session id context.

import COpenSSL
import Synchronization

/// A ring of ticket keys, shared by all workers, read once per handshake.
public final class TicketKeys: Sendable {
  /// The current key and two older ones: with a rotation every hour, a ticket is valid for at least
  /// two hours, which is also the lifetime of a session (`ServerContext.sessionLifetime`).
  public static let keyCountMax = 3

  private struct Ring {
    var keys: [TicketKey]
    var isShared = false
  }

  private let ring: Mutex<Ring>

  /// A ring with one random key.
  public init() throws(TLSFailure) {
    ring = Mutex(Ring(keys: [try TicketKey.random()]))
  }

  /// A ring of keys that several nodes share, from secrets of 48 or 80 random bytes each. The first
  /// one encrypts. Nil when there is none or when one has another length.
  public init?(secrets: [[UInt8]]) {
    guard let keys = Self.keys(of: secrets) else { return nil }
    ring = Mutex(Ring(keys: keys, isShared: true))
  }

  /// How many keys can decrypt tickets.
  public var count: Int { ring.withLock { $0.keys.count } }

  /// Makes a new random key the current one, and removes the oldest beyond `keyCountMax`. Shared
  /// keys are not changed, since the other nodes would not know the new one.
  public func rotate() throws(TLSFailure) {
    let key = try TicketKey.random()
    ring.withLock { ring in
      if ring.isShared { return }
      ring.keys.insert(key, at: 0)
      if ring.keys.count > Self.keyCountMax { ring.keys.removeLast() }
    }
  }

  /// Replaces all keys by shared keys. Returns false, and changes nothing, for secrets that
  /// `init(secrets:)` refuses.
  public func replace(secrets: [[UInt8]]) -> Bool {
    guard let keys = Self.keys(of: secrets) else { return false }
    ring.withLock { $0 = Ring(keys: keys, isShared: true) }
    return true
  }

  /// Returns to random keys after shared ones: the next rotation creates the first.
  public func stopSharing() { ring.withLock { $0.isShared = false } }

  /// The random keys in the format of `restore`, the current one first. Empty when keys are shared,
  /// since those are read from their files.
  public var exported: [[UInt8]] {
    ring.withLock { $0.isShared ? [] : $0.keys.map(\.bytes) }
  }

  /// Replaces the keys by the random keys of another process, so that its tickets are valid here
  /// too. Returns false, and changes nothing, when the format isn't that of `exported`.
  public func restore(_ exported: [[UInt8]]) -> Bool {
    let keys = exported.compactMap(TicketKey.init(bytes:))
    guard keys.count == exported.count, (1...Self.keyCountMax).contains(keys.count) else {
      return false
    }
    ring.withLock { $0 = Ring(keys: keys) }
    return true
  }

  var sealing: TicketKey? { ring.withLock { $0.keys.first } }

  /// The key with this name, and whether it is the current one.
  func opening(_ name: InlineArray<16, UInt8>) -> (key: TicketKey, isPresent: Bool)? {
    ring.withLock { ring in
      for (index, key) in ring.keys.enumerated() where key.hasName(name) {
        return (key, index == 0)
      }
      return nil
    }
  }

  private static func keys(of secrets: [[UInt8]]) -> [TicketKey]? {
    var keys: [TicketKey] = []
    for secret in secrets {
      guard let key = TicketKey(secret: secret) else { return nil }
      keys.append(key)
    }
    return keys.isEmpty ? nil : keys
  }
}

/// One key: AES-256-CBC for encryption, HMAC-SHA256 for authentication, as RFC 5077 4 recommends.
struct TicketKey: Sendable {
  /// Sent unencrypted with each ticket.
  let name: InlineArray<16, UInt8>
  let cipherKey: InlineArray<32, UInt8>
  let macKey: InlineArray<32, UInt8>

  /// Derives all parts from a secret of 48 or 80 bytes, so that all nodes with this secret have the
  /// same key.
  init?(secret: [UInt8]) {
    guard secret.count == 48 || secret.count == 80 else { return nil }
    let nameDigest = Self.digest("martlet ticket name", secret)
    var name = InlineArray<16, UInt8>(repeating: 0)
    for index in name.indices { name[index] = nameDigest[index] }
    self.name = name
    cipherKey = Self.digest("martlet ticket cipher", secret)
    macKey = Self.digest("martlet ticket mac", secret)
  }

  /// All parts, concatenated.
  var bytes: [UInt8] {
    name.indices.map { name[$0] } + cipherKey.indices.map { cipherKey[$0] }
      + macKey.indices.map { macKey[$0] }
  }

  init?(bytes: [UInt8]) {
    guard bytes.count == 80 else { return nil }
    name = InlineArray { bytes[$0] }
    cipherKey = InlineArray { bytes[16 + $0] }
    macKey = InlineArray { bytes[48 + $0] }
  }

  static func random() throws(TLSFailure) -> TicketKey {
    var secret = [UInt8](repeating: 0, count: 80)
    clearErrors()
    let drawn = unsafe secret.withUnsafeMutableBufferPointer { bytes in
      unsafe RAND_bytes(bytes.baseAddress, Int32(bytes.count)) == 1
    }
    guard drawn, let key = TicketKey(secret: secret) else { throw .capture() }
    return key
  }

  func hasName(_ other: InlineArray<16, UInt8>) -> Bool {
    for index in name.indices where name[index] != other[index] { return false }
    return true
  }

  /// The secret is uniformly random and of fixed length, so a hash of a label and the secret is a
  /// sound derivation.
  private static func digest(_ label: String, _ secret: [UInt8]) -> InlineArray<32, UInt8> {
    sha256(Array(label.utf8) + [0] + secret)
  }
}

/// OpenSSL's ticket callback: encrypt a ticket (`isSealing`) or decrypt one. Returns 1 for success,
/// 2 for success with a new ticket, 0 for an unknown key (a full handshake follows), -1 for
/// failure. With TLS 1.3, a client uses each ticket only once (RFC 8446 C.4), so every resumption
/// gets a new one. Otherwise the client's next connection would need a full handshake.
func answerTicketKey(
  _ keys: TicketKeys, name: UnsafeMutablePointer<UInt8>, vector: UnsafeMutablePointer<UInt8>,
  cipher: OpaquePointer?, mac: OpaquePointer?, isSealing: Bool, isSpent: Bool
) -> Int32 {
  if isSealing {
    guard let key = keys.sealing, unsafe RAND_bytes(vector, 16) == 1 else { return -1 }
    for index in key.name.indices { unsafe name[index] = key.name[index] }
    let ready = unsafe key.cipherKey.span.withUnsafeBufferPointer { bytes in
      unsafe EVP_EncryptInit_ex(cipher, ticketCipher, nil, bytes.baseAddress, vector) == 1
    }
    return unsafe ready && key.authenticate(mac) ? 1 : -1
  }
  var wanted = InlineArray<16, UInt8>(repeating: 0)
  for index in wanted.indices { unsafe wanted[index] = name[index] }
  guard let (key, isPresent) = keys.opening(wanted) else { return 0 }
  let ready = unsafe key.cipherKey.span.withUnsafeBufferPointer { bytes in
    unsafe EVP_DecryptInit_ex(cipher, ticketCipher, nil, bytes.baseAddress, vector) == 1
  }
  guard unsafe ready && key.authenticate(mac) else { return -1 }
  return isPresent && !isSpent ? 1 : 2
}

extension TicketKey {
  fileprivate func authenticate(_ mac: OpaquePointer?) -> Bool {
    unsafe macKey.span.withUnsafeBufferPointer { bytes in
      unsafe martlet_EVP_MAC_CTX_set_hmac_sha256(mac, bytes.baseAddress) == 1
    }
  }
}

/// Fetched once, because a fetch per ticket takes a lock that all threads share. Immutable.
nonisolated(unsafe) private let ticketCipher = unsafe EVP_CIPHER_fetch(nil, "AES-256-CBC", nil)
