// An OpenSSL server over memory, and a pair of it with a session under test.

import COpenSSL
import Foundation
import Primitives

@testable import TLS

/// What a test server has and wants.
struct ServerOffer {
  var files: (chain: String, key: String)
  var maximum: Int32 = TLS1_3_VERSION
  /// A file with authorities: clients must have a certificate of one of them.
  var clientAuthority: String?
  /// Which it selects if the client offers it.
  var protocols: [String] = []
}

final class TestServer {
  let context: OpaquePointer
  fileprivate let protocols: [String]

  init(_ offer: ServerOffer) {
    context = SSL_CTX_new(TLS_server_method())
    protocols = offer.protocols
    SSL_CTX_ctrl(context, SSL_CTRL_SET_MAX_PROTO_VERSION, Int(offer.maximum), nil)
    precondition(SSL_CTX_use_certificate_chain_file(context, offer.files.chain) == 1)
    precondition(SSL_CTX_use_PrivateKey_file(context, offer.files.key, SSL_FILETYPE_PEM) == 1)
    let id: [UInt8] = [1]
    SSL_CTX_set_session_id_context(context, id, 1)
    if let path = offer.clientAuthority {
      precondition(SSL_CTX_load_verify_file(context, path) == 1)
      SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nil)
    }
    SSL_CTX_set_alpn_select_cb(
      context,
      { _, chosen, count, offer, offerCount, this in
        guard let this, let offer else { return SSL_TLSEXT_ERR_NOACK }
        let server = Unmanaged<TestServer>.fromOpaque(this).takeUnretainedValue()
        var index = 0
        while index < Int(offerCount) {
          let length = Int(offer[index])
          let name = UnsafeBufferPointer(start: offer + index + 1, count: length)
          if server.protocols.contains(String(decoding: name, as: UTF8.self)) {
            chosen?.pointee = offer + index + 1
            count?.pointee = UInt8(length)
            return SSL_TLSEXT_ERR_OK
          }
          index += 1 + length
        }
        return SSL_TLSEXT_ERR_NOACK
      }, Unmanaged.passUnretained(self).toOpaque())
  }

  deinit { SSL_CTX_free(context) }
}

/// A session under test as client of a server, connected by memory.
final class UpstreamPair {
  private let server: TestServer
  let ssl: OpaquePointer
  private let incoming: OpaquePointer
  private let outgoing: OpaquePointer
  private var session: TLSSession
  /// Ciphertext for the session.
  var inbound: [UInt8] = []
  /// The first error of the server: a received alert is 1000 plus its number.
  private(set) var serverError: Int32 = 0

  init(
    _ server: TestServer, _ context: UpstreamContext, to name: String = "a.test",
    port: UInt16 = 443, resumes: Bool = true
  ) throws {
    session = try TLSSession(
      connecting: context, to: name, at: .ip(.loopbackV4, port: port), resumes: resumes)
    self.server = server
    ssl = SSL_new(server.context)
    incoming = BIO_new(BIO_s_mem())
    outgoing = BIO_new(BIO_s_mem())
    SSL_set_bio(ssl, incoming, outgoing)
    SSL_set_accept_state(ssl)
  }

  deinit {
    SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN)
    SSL_free(ssl)
    ERR_clear_error()
  }

  private func serverReceives(_ bytes: [UInt8]) {
    if !bytes.isEmpty { BIO_write(incoming, bytes, Int32(bytes.count)) }
  }

  private func stepServer() -> Bool {
    let status = SSL_do_handshake(ssl)
    if status != 1, SSL_get_error(ssl, status) != SSL_ERROR_WANT_READ, serverError == 0 {
      serverError = ERR_GET_REASON(ERR_peek_error())
    }
    ERR_clear_error()
    return status == 1
  }

  /// What the server has written goes to the session.
  func takeFromServer() {
    var bytes = [UInt8](repeating: 0, count: BIO_ctrl_pending(outgoing))
    if bytes.isEmpty { return }
    BIO_read(outgoing, &bytes, Int32(bytes.count))
    inbound += bytes
  }

  /// Completes the handshake on both sides; the server's tickets are in `inbound` then.
  func shakeHands() throws(TLSFailure) {
    var (isDone, serverIsDone) = (false, false)
    for _ in 0..<20 where !(isDone && serverIsDone) {
      if !isDone {
        let result = Result { () throws(TLSFailure) in try handshake() }
        serverIsDone = stepServer() || serverIsDone
        isDone = try result.get() == .complete
      } else {
        serverIsDone = stepServer()
      }
      takeFromServer()
    }
    precondition(isDone && (serverIsDone || serverError != 0), "the handshake doesn't end")
  }

  /// One step of the session; its output goes to the server, also after a failure.
  func handshake() throws(TLSFailure) -> HandshakeStep {
    let piece = inbound
    var input = piece.span
    var result = Result<HandshakeStep, TLSFailure>.failure(.ended)
    let output = [UInt8](capacity: 64 * 1024) { output in
      result = Result { () throws(TLSFailure) in
        try session.handshake(input: &input, output: &output)
      }
    }
    inbound = Array(piece.suffix(input.count))
    serverReceives(output)
    return try result.get()
  }

  /// Decrypts all of `inbound`.
  func read() throws(TLSFailure) -> (bytes: [UInt8], step: ReadStep) {
    takeFromServer()
    let piece = inbound
    var input = piece.span
    var result = Result<ReadStep, TLSFailure>.failure(.ended)
    var output: [UInt8] = []
    let plaintext = [UInt8](capacity: 64 * 1024) { plaintext in
      output = [UInt8](capacity: 64 * 1024) { output in
        result = Result { () throws(TLSFailure) in
          try session.read(input: &input, plaintext: &plaintext, output: &output)
        }
      }
    }
    inbound = Array(piece.suffix(input.count))
    serverReceives(output)
    return (plaintext, try result.get())
  }

  func write(_ bytes: [UInt8]) throws(TLSFailure) {
    var result = Result<Int, TLSFailure>.failure(.ended)
    let output = [UInt8](capacity: bytes.count + 1024) { output in
      result = Result { () throws(TLSFailure) in try session.write(bytes.span, output: &output) }
    }
    let count = try result.get()
    precondition(count == bytes.count)
    serverReceives(output)
  }

  func close() {
    serverReceives([UInt8](capacity: 64) { output in session.close(output: &output) })
  }

  func serverWrites(_ bytes: [UInt8]) {
    var written = 0
    precondition(SSL_write_ex(ssl, bytes, bytes.count, &written) == 1)
  }

  func serverReads() -> [UInt8] {
    var block = [UInt8](repeating: 0, count: 64 * 1024)
    var count = 0
    if SSL_read_ex(ssl, &block, block.count, &count) != 1 {
      if SSL_get_error(ssl, 0) == SSL_ERROR_SSL { serverError = ERR_GET_REASON(ERR_peek_error()) }
      ERR_clear_error()
      return []
    }
    return Array(block[..<count])
  }

  var serverSawCloseNotify: Bool { SSL_get_shutdown(ssl) & SSL_RECEIVED_SHUTDOWN != 0 }
  /// The name that the client sent (SNI).
  var sentName: String? {
    SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name).map { String(cString: $0) }
  }
  var selectedProtocol: String? {
    var start: UnsafePointer<UInt8>? = nil
    var count: UInt32 = 0
    SSL_get0_alpn_selected(ssl, &start, &count)
    guard count > 0 else { return nil }
    return String(decoding: UnsafeBufferPointer(start: start, count: Int(count)), as: UTF8.self)
  }
  var version: TLSVersion { session.version }
  var isResumed: Bool { session.isResumed }
}
