// A TLS client that completes a normal handshake and then sends invalid records: with any content,
// encrypted, forged, or as plaintext.
//
// OpenSSL does the handshake and reads. Records that it would not write are encrypted here (RFC
// 8446 5.2 and 7.3).

import COpenSSL
import Foundation

final class HostileTLS {
  enum Version: Sendable, CaseIterable {
    case tls12
    case tls13
  }

  /// How a connection ended.
  struct Ending: Equatable, CustomStringConvertible {
    /// The number of the fatal alert (RFC 8446 6), if one could be read.
    var alert: Int?
    /// It ended by a FIN and not by a reset.
    var isOrderly: Bool
    var description: String { "alert \(alert ?? -1), \(isOrderly ? "FIN" : "RST")" }
  }

  let wire: Wire
  private let context: OpaquePointer
  private let ssl: OpaquePointer
  private let incoming: OpaquePointer
  private let outgoing: OpaquePointer
  /// The secret of our direction (CLIENT_TRAFFIC_SECRET_0), from the key log.
  private var secret: [UInt8] = []
  private var sequence: UInt64 = 0

  init(_ wire: Wire, _ version: Version) throws {
    self.wire = wire
    let context: OpaquePointer = SSL_CTX_new(TLS_client_method())
    let code = version == .tls12 ? TLS1_2_VERSION : TLS1_3_VERSION
    SSL_CTX_ctrl(context, SSL_CTRL_SET_MIN_PROTO_VERSION, Int(code), nil)
    SSL_CTX_ctrl(context, SSL_CTRL_SET_MAX_PROTO_VERSION, Int(code), nil)
    SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256")
    self.context = context
    ssl = SSL_new(context)
    incoming = BIO_new(BIO_s_mem())
    outgoing = BIO_new(BIO_s_mem())
    SSL_set_bio(ssl, incoming, outgoing)
    SSL_set_connect_state(ssl)
    SSL_set_ex_data(ssl, 0, Unmanaged.passUnretained(self).toOpaque())
    SSL_CTX_set_keylog_callback(context) { ssl, line in
      guard let this = SSL_get_ex_data(ssl, 0), let line = line.map({ String(cString: $0) }),
        line.hasPrefix("CLIENT_TRAFFIC_SECRET_0 "), let text = line.split(separator: " ").last
      else { return }
      let digits = text.compactMap(\.hexDigitValue)
      Unmanaged<HostileTLS>.fromOpaque(this).takeUnretainedValue().secret =
        stride(from: 0, to: digits.count - 1, by: 2).map {
          UInt8(digits[$0] << 4 | digits[$0 + 1])
        }
    }
    while SSL_do_handshake(ssl) != 1 {
      try flush()
      guard try wire.receive() else { throw HarnessError("no handshake") }
      take()
    }
    try flush()
  }

  deinit {
    SSL_free(ssl)
    SSL_CTX_free(context)
    ERR_clear_error()
  }

  private func flush() throws { try wire.send(takeCiphertext()) }

  private func take() {
    let bytes = wire.buffer
    if bytes.isEmpty { return }
    BIO_write(incoming, bytes, Int32(bytes.count))
    _ = try? wire.take(bytes.count)
  }

  private func takeCiphertext() -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: BIO_ctrl_pending(outgoing))
    if !bytes.isEmpty { BIO_read(outgoing, &bytes, Int32(bytes.count)) }
    return bytes
  }

  // MARK: Records

  /// Data, encrypted by OpenSSL.
  func data(_ text: String) -> [UInt8] {
    var written = 0
    precondition(SSL_write_ex(ssl, Array(text.utf8), text.utf8.count, &written) == 1)
    sequence += 1
    return takeCiphertext()
  }

  /// `count` KeyUpdates. Records that are encrypted here afterwards have the wrong key.
  func keyUpdates(_ count: Int) -> [UInt8] {
    for _ in 0..<count {
      precondition(SSL_key_update(ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1)
      precondition(SSL_do_handshake(ssl) == 1)
    }
    return takeCiphertext()
  }

  /// A TLS 1.3 record with this content and this inner type.
  func sealed(type: UInt8, _ content: [UInt8]) -> [UInt8] {
    let inner = content + [type]
    let header: [UInt8] = [23, 3, 3, UInt8((inner.count + 16) >> 8), UInt8(inner.count + 16 & 255)]
    var nonce = expand("iv", 12)
    for index in 0..<8 { nonce[11 - index] ^= UInt8(truncatingIfNeeded: sequence >> (8 * index)) }
    sequence += 1
    let cipher = EVP_CIPHER_CTX_new()
    defer { EVP_CIPHER_CTX_free(cipher) }
    var output = [UInt8](repeating: 0, count: inner.count + 16)
    var tag = [UInt8](repeating: 0, count: 16)
    var count: Int32 = 0
    EVP_EncryptInit_ex(cipher, EVP_aes_128_gcm(), nil, expand("key", 16), nonce)
    EVP_EncryptUpdate(cipher, nil, &count, header, Int32(header.count))
    EVP_EncryptUpdate(cipher, &output, &count, inner, Int32(inner.count))
    EVP_EncryptFinal_ex(cipher, nil, &count)
    EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, 16, &tag)
    return header + output[..<inner.count] + tag
  }

  /// HKDF-Expand-Label (RFC 8446 7.1) with no context, of one block.
  private func expand(_ label: String, _ count: Int) -> [UInt8] {
    let name = Array("tls13 \(label)".utf8)
    let info = [0, UInt8(count), UInt8(name.count)] + name + [0, 1]
    var digest = [UInt8](repeating: 0, count: 32)
    var length: UInt32 = 0
    HMAC(EVP_sha256(), secret, Int32(secret.count), info, info.count, &digest, &length)
    return Array(digest[..<count])
  }

  // MARK: The end

  /// Reads plaintext until there is some, or the end.
  func read() throws -> String {
    while true {
      var block = [UInt8](repeating: 0, count: 16 * 1024)
      var count = 0
      if SSL_read_ex(ssl, &block, block.count, &count) == 1 {
        return String(decoding: block[..<count], as: UTF8.self)
      }
      guard SSL_get_error(ssl, 0) == SSL_ERROR_WANT_READ, try wire.receive() else {
        throw HarnessError("nothing more to read")
      }
      take()
    }
  }

  /// Reads until the connection ends.
  func ending() -> Ending {
    var isOrderly = true
    do {
      while try wire.receive() {}
    } catch {
      isOrderly = false
    }
    take()
    ERR_clear_error()
    var block = [UInt8](repeating: 0, count: 16 * 1024)
    var count = 0
    while SSL_read_ex(ssl, &block, block.count, &count) == 1 {}
    let reason = Int(ERR_GET_REASON(ERR_peek_error()))
    ERR_clear_error()
    // The code of a received alert is this plus its number.
    return Ending(alert: reason > 1000 ? reason - 1000 : nil, isOrderly: isOrderly)
  }
}
