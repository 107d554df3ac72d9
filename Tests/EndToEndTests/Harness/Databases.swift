// Real servers that don't speak HTTP: Redis and PostgreSQL, each one process in a separate folder.

import Foundation

final class Redis: Sendable {
  let port: Int
  let folder = TemporaryFolder()
  let process: ChildProcess
  var address: String { "127.0.0.1:\(port)" }

  init() throws {
    port = try freePort()
    process = try ChildProcess(
      [
        "redis-server", "--port", "\(port)", "--bind", "127.0.0.1", "--save", "",
        "--appendonly", "no", "--dir", folder.path,
      ])
    let port = port
    let answers = poll { (try? run(Self.client(port) + ["ping"]).output) == "PONG\n" }
    guard answers else { throw HarnessError("redis: \(process.outputText)") }
  }

  static func client(_ port: Int, _ options: [String] = []) -> [String] {
    ["redis-cli", "-h", "127.0.0.1", "-p", "\(port)"] + options
  }
}

final class Postgres: Sendable {
  let port: Int
  let folder = TemporaryFolder()
  private let process: ChildProcess
  var address: String { "127.0.0.1:\(port)" }

  /// Debian has the server's programs in no folder of the path.
  private static let tools = {
    let root = "/usr/lib/postgresql"
    let versions = (try? FileManager.default.contentsOfDirectory(atPath: root)) ?? []
    return versions.max().map { "\(root)/\($0)/bin/" } ?? ""
  }()

  /// It refuses to run as root.
  private static let asUser =
    getuid() == 0
    ? ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] : []

  init() throws {
    port = try freePort()
    if getuid() == 0 {
      let owned = try run(["chown", "postgres:", folder.path])
      guard owned.status == 0 else { throw HarnessError(owned.errors) }
    }
    let data = folder.path("data")
    let made = try run(
      Self.asUser + [
        Self.tools + "initdb", "-D", data, "-U", "tester", "--auth=trust", "--no-sync",
      ], in: folder.path)
    guard made.status == 0 else { throw HarnessError("initdb: \(made.errors)") }
    process = try ChildProcess(
      Self.asUser + [
        Self.tools + "postgres", "-D", data, "-p", "\(port)", "-c", "listen_addresses=127.0.0.1",
        "-c", "unix_socket_directories=", "-c", "fsync=off",
      ], in: folder.path)
    let port = port
    let answers = poll { (try? Self.query(port, "select 1").output) == "1\n" }
    guard answers else { throw HarnessError("postgres: \(process.errorText)") }
  }

  /// The result of a query through this port.
  static func query(_ port: Int, _ text: String) throws -> CommandResult {
    try run([
      "psql", "-h", "127.0.0.1", "-p", "\(port)", "-U", "tester", "-d", "postgres", "-XAtc", text,
    ])
  }
}
