// A real nginx as backend: one process in a separate folder, which responds with its name.

import Foundation

final class Nginx: Sendable {
  let name: String
  let port: Int
  var address: String { "127.0.0.1:\(port)" }
  let folder = TemporaryFolder()
  private let process: Running

  private final class Running: @unchecked Sendable {
    // Only the test's thread replaces it.
    var child: ChildProcess?
  }

  /// `GET /` responds with the name; `/files/` contains files, uploaded by PUT or written directly.
  /// `directives` are added at server level.
  init(_ name: String, directives: String = "") throws {
    self.name = name
    port = try freePort()
    process = Running()
    try FileManager.default.createDirectory(
      atPath: folder.path("root/files"), withIntermediateDirectories: true)
    try folder.write(
      """
      daemon off;
      master_process off;
      pid nginx.pid;
      error_log stderr;
      events { worker_connections 2048; }
      http {
        access_log off;
        \(directives)
        client_max_body_size 0;
        keepalive_timeout 60s;
        keepalive_requests 1000000;
        client_body_temp_path body;
        proxy_temp_path proxy;
        fastcgi_temp_path fastcgi;
        uwsgi_temp_path uwsgi;
        scgi_temp_path scgi;
        server {
          listen 127.0.0.1:\(port) reuseport backlog=1024;
          root root;
          location / { return 200 "\(name)\\n"; }
          location /files/ { dav_methods PUT; }
          location = /empty { return 204; }
        }
      }
      """, to: "nginx.conf")
    try start()
  }

  var id: pid_t { process.child?.id ?? 0 }

  func start() throws {
    process.child = try ChildProcess(
      ["nginx", "-e", "stderr", "-p", "\(folder.path)/", "-c", "nginx.conf"], in: folder.path)
    let answers = poll { (try? Wire(port: port).get().status) == 200 }
    guard answers else { throw HarnessError("nginx: \(process.child?.errorText ?? "")") }
  }

  func signal(_ number: Int32) { process.child?.signal(number) }

  func kill() { process.child?.end() }
}
