// Backends with TLS: nginx as a real one, and a stub that does what a test says after its
// handshake.

import COpenSSL
import Foundation
import Synchronization

/// nginx with a certificate. It responds with what it knows about the connection, as
/// `reused=. protocol=TLSv1.3 name=app client=NONE connection=1 requests=1`; `.` means a full
/// handshake, `r` a resumed one.
struct TLSNginx: ConfiguredBackend {
  let nginx: Nginx
  let port: Int
  var address: String { "127.0.0.1:\(port)" }
  var json: String { "\"https://\(address)\"" }

  /// `directives` are added to its server.
  init(_ certificates: Certificates, _ certificate: String = "server", _ directives: String = "")
    throws
  {
    port = try freePort()
    nginx = try Nginx(
      "tls",
      directives: """
        server {
          listen 127.0.0.1:\(port) ssl;
          ssl_certificate \(certificates.folder.path(certificate)).crt;
          ssl_certificate_key \(certificates.folder.path(certificate)).key;
          ssl_session_cache shared:sessions:1m;
          \(directives)
          location / {
            return 200 "reused=$ssl_session_reused protocol=$ssl_protocol name=$ssl_server_name \
        client=$ssl_client_verify connection=$connection requests=$connection_requests\\n";
          }
        }
        """)
  }
}

/// A server of this process. After the handshake it reads one head after the other.
final class TLSStub: ConfiguredBackend, @unchecked Sendable {
  // The context is not changed after init.

  /// Responds to the request with this number, from 1, on this connection; false ends the
  /// connection without close_notify.
  typealias Answer = @Sendable (Int, Session) -> Bool

  /// The server's side of one connection.
  struct Session {
    let ssl: OpaquePointer

    func send(_ text: String) {
      var count = 0
      let bytes = Array(text.utf8)
      SSL_write_ex(ssl, bytes, bytes.count, &count)
    }

    func sendResponse() { send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") }

    func sendTicket() {
      SSL_new_session_ticket(ssl)
      SSL_do_handshake(ssl)
    }

    func updateKeys() {
      SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED)
      SSL_do_handshake(ssl)
    }

    /// Sends what `body` sends in one segment.
    func together(_ body: () -> Void) {
      var cork: Int32 = 1
      let size = socklen_t(MemoryLayout<Int32>.size)
      setsockopt(SSL_get_fd(ssl), Int32(IPPROTO_TCP), TCP_CORK, &cork, size)
      body()
      cork = 0
      setsockopt(SSL_get_fd(ssl), Int32(IPPROTO_TCP), TCP_CORK, &cork, size)
    }

    func close() { SSL_shutdown(ssl) }
  }

  let port: Int
  var json: String { "\"https://127.0.0.1:\(port)\"" }
  private let listening: Listening
  private let accepted = Atomic<Int>(0)
  private let answered = Atomic<Int>(0)
  private let context: OpaquePointer

  init(_ certificates: Certificates, answer: @escaping Answer) throws {
    listening = try Listening()
    port = listening.port
    // OpenSSL writes to sockets without MSG_NOSIGNAL.
    signal(SIGPIPE, SIG_IGN)
    let context: OpaquePointer = SSL_CTX_new(TLS_server_method())
    self.context = context
    SSL_CTX_use_certificate_chain_file(context, certificates.folder.path("server.crt"))
    SSL_CTX_use_PrivateKey_file(context, certificates.folder.path("server.key"), SSL_FILETYPE_PEM)
    Thread.detachNewThread { [self] in
      while let wire = listening.accept() {
        accepted.add(1, ordering: .relaxed)
        Thread.detachNewThread { [self] in serve(wire, answer) }
      }
    }
  }

  /// The last reference to it is that of its own thread, so the test ends it.
  func end() { listening.end() }

  /// Connections so far.
  var connectionCount: Int { accepted.load(ordering: .relaxed) }

  /// Requests after which it has sent everything that it is to send.
  var answeredCount: Int { answered.load(ordering: .relaxed) }

  private func serve(_ wire: Wire, _ answer: Answer) {
    let ssl: OpaquePointer = SSL_new(context)
    defer {
      SSL_free(ssl)
      wire.end()
    }
    SSL_set_fd(ssl, wire.descriptor)
    guard SSL_accept(ssl) == 1 else { return }
    var text = ""
    var requestCount = 0
    var block = [UInt8](repeating: 0, count: 4096)
    var count = 0
    while SSL_read_ex(ssl, &block, block.count, &count) == 1 {
      text += String(decoding: block[..<count], as: UTF8.self)
      while let end = text.range(of: "\r\n\r\n") {
        text.removeSubrange(..<end.upperBound)
        requestCount += 1
        let continues = answer(requestCount, Session(ssl: ssl))
        answered.add(1, ordering: .relaxed)
        if !continues { return }
      }
    }
  }
}
