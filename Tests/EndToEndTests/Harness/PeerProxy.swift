// A real HAProxy or nginx with a whole configuration of its own, as a proxy in front of Martlet or
// behind it.

import Foundation

final class PeerProxy: ConfiguredBackend {
  let port: Int
  let folder = TemporaryFolder()
  private let process: ChildProcess

  var json: String { "\"127.0.0.1:\(port)\"" }

  /// HAProxy with these sections; PORT in them is its port.
  static func haproxy(_ sections: String) throws -> PeerProxy {
    try PeerProxy(["haproxy", "-db", "-f", "peer.cfg"]) { _ in
      """
      global
        maxconn 100
      defaults
        mode http
        timeout client 20s
        timeout connect 5s
        timeout server 20s
      \(sections)

      """
    }
  }

  /// nginx with these blocks, such as `stream { … }`; PORT in them is its port.
  static func nginx(_ blocks: String) throws -> PeerProxy {
    let module = "/usr/lib/nginx/modules/ngx_stream_module.so"
    return try PeerProxy(["nginx", "-e", "stderr", "-c", "peer.cfg"]) { folder in
      """
      \(FileManager.default.fileExists(atPath: module) ? "load_module \(module);" : "")
      daemon off;
      master_process off;
      pid nginx.pid;
      error_log stderr;
      events { worker_connections 256; }
      \(blocks.replacing("TEMPORARY", with: """
        access_log off; client_body_temp_path body; proxy_temp_path proxy;
        fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
        """))

      """
    }
  }

  private init(_ command: [String], _ configuration: (TemporaryFolder) -> String) throws {
    port = try freePort()
    try folder.write(
      configuration(folder).replacing("PORT", with: "\(port)"), to: "peer.cfg")
    var command = command
    if command[0] == "nginx" { command += ["-p", "\(folder.path)/"] }
    let process = try ChildProcess(command, in: folder.path)
    self.process = process
    let port = port
    let listens = poll { (try? Wire(port: port)) != nil || !process.isRunning }
    guard listens, process.isRunning else {
      throw HarnessError("\(command[0]): \(process.errorText)")
    }
  }
}
