// Runs a documented page literally, in a separate folder.
//
// Only what would affect the machine is replaced: ports are free ones, small local backends replace
// 10.0.0.11:8080 and the like, and /etc, /run and /var are in the folder. The output in the page is
// changed in the same way, so the two can be compared.

import Foundation
import Synchronization
import Testing

final class Rehearsal {
  private let page: DocumentedPage
  private let folder = TemporaryFolder()
  private var ports: [String: Int] = [:]
  /// Processes that run until the end of the page; each leads a process group.
  private var lasting: [ChildProcess] = []
  private var serving: ChildProcess?

  init(_ page: DocumentedPage) throws {
    self.page = page
    let certificates = try Certificates()
    for place in ["bin", "certs", "etc/martlet", "etc/haproxy", "run/martlet", "var/log/martlet"] {
      try FileManager.default.createDirectory(
        atPath: folder.path(place), withIntermediateDirectories: true)
    }
    let links = [
      "bin/martlet": Installation.binary, "scripts": Installation.scripts,
      "packaging": Installation.root + "/packaging",
    ]
    for (name, target) in links {
      try FileManager.default.createSymbolicLink(
        atPath: folder.path(name), withDestinationPath: target)
    }
    for (name, host) in [("site", "www.example.com"), ("shop", "shop.example.com")] {
      try certificates.make(name, names: [host])
      for part in ["crt", "key"] {
        let text = certificates.folder.read("\(name).\(part)")
        let path = try folder.write(text, to: "etc/martlet/\(name).\(part)")
        chmod(path, 0o600)
      }
      let pair = folder.read("etc/martlet/\(name).crt") + folder.read("etc/martlet/\(name).key")
      try folder.write(pair, to: "etc/haproxy/\(name).pem")
    }
    // As in a terminal.
    try folder.write("silent\nshow-error\n", to: ".curlrc")
    for name in ["ca.crt", "server.crt", "server.key"] {
      let path = try folder.write(certificates.folder.read(name), to: "certs/\(name)")
      chmod(path, 0o600)
    }
  }

  deinit {
    for each in lasting { kill(-each.id, SIGKILL) }
  }

  func carryOut() throws {
    if page.steps.contains(where: { $0.text.contains("martlet run") }) { try startStandIns() }
    for step in page.steps {
      switch step.kind {
      case .commands, .console: for command in step.commands { try run(command, of: step) }
      case .configuration: try check(step)
      case .peer(let name): try checkPeer(name, step)
      case .notRun: break
      case .unknown(let info): Issue.record("\(place(step)): no block is a '\(info)'")
      }
    }
  }

  private func place(_ step: DocumentedPage.Step) -> String { "\(page.path):\(step.line)" }

  // MARK: Replacements

  private func port(_ name: String) throws -> Int {
    if let port = ports[name] { return port }
    let port = try freePort()
    ports[name] = port
    return port
  }

  /// Replaces addresses, ports and paths.
  private func staged(_ text: String) throws -> String {
    // A position in a file looks like a port.
    let pattern = #/\.json:\d+:\d+|(10\.0\.0\.\d+):(\d+)|([\w\]*]):(\d{2,5})\b/#
    let whole = try text.replacing(pattern) { match in
      if let host = match.1, let port = match.2 {
        return "127.0.0.1:\(try self.port("\(host):\(port)"))"
      }
      guard let before = match.3, let port = match.4 else { return String(match.0) }
      return "\(before):\(try self.port(String(port)))"
    }
    return try whole.replacing(#/("redirect-to-https": |listen )(\d+)\b/#) { match in
      "\(match.1)\(try self.port(String(match.2)))"
    }.replacing(#/(^|[\s"'=(@])\/(etc|run|var)\//#) { "\($0.1)\(self.folder.path)/\($0.2)/" }
  }

  /// Starts a backend for each address of another machine.
  private func startStandIns() throws {
    let text = page.steps.map(\.text).joined(separator: "\n")
    for match in Set(text.matches(of: #/10\.0\.0\.\d+:\d+/#).map { String($0.0) }) {
      let host = match.prefix { $0 != ":" }
      try start("martlet backend --name \(host) --listen 127.0.0.1:\(port(match))")
    }
  }

  private var environment: [String: String] {
    let path = ProcessInfo.processInfo.environment["PATH"] ?? ""
    return [
      "PATH": "\(folder.path("bin")):\(path):/usr/sbin:/sbin", "HOME": folder.path,
      "RUNTIME_DIRECTORY": folder.path("run/martlet"), "XDG_DATA_HOME": folder.path,
      "XDG_CONFIG_HOME": folder.path,
    ]
  }

  // MARK: Commands

  private func run(_ command: DocumentedPage.Command, of step: DocumentedPage.Step) throws {
    let text = try staged(command.text)
    let expected = try staged(command.output)
    // These end with the page.
    if command.isLasting {
      let child = try start(text)
      let says = expected.isEmpty || poll {
        Self.matches(child.errorText, expected, isWhole: false)
      }
      #expect(says, "\(place(step)): \(command.text)\nsays \(child.errorText)")
      return
    }
    let child = try ChildProcess(
      ["bash", "-c", "exec 2>&1; set -e\n" + text], in: folder.path, environment: environment)
    let status = try child.waitForExit(atMost: 60)
    let output = child.outputText
    let shouldFail = expected.contains("error:")
    #expect(
      (status != 0) == shouldFail,
      "\(place(step)): \(command.text)\nends with \(status): \(output)")
    #expect(
      expected.isEmpty || Self.matches(output, expected, isWhole: true),
      "\(place(step)): \(command.text)\nprints \(output)\ninstead of \(expected)")
  }

  /// Starts a command that runs until it is ended; waits until a server listens.
  @discardableResult
  private func start(_ text: String) throws -> ChildProcess {
    let command = text.hasSuffix("&") ? String(text.dropLast()) : text
    // Only one Martlet runs at a time: the page now describes the new one.
    if command.hasPrefix("martlet run"), let before = serving {
      kill(-before.id, SIGKILL)
      _ = try before.waitForExit()
    }
    let child = try ChildProcess(
      ["setsid", "bash", "-c", "exec " + command], in: folder.path, environment: environment)
    lasting.append(child)
    if command.hasPrefix("martlet run") { serving = child }
    if command.contains(#/^martlet (run|backend)\b/#) {
      let listens = poll { child.errorText.contains("try: ") || !child.isRunning }
      #expect(listens && child.isRunning, "\(command)\nsays \(child.errorText)")
    }
    return child
  }

  /// Any number of blanks counts as one, since the width of columns varies; `…` matches anything.
  private static func matches(_ output: String, _ expected: String, isWhole: Bool) -> Bool {
    func plain(_ text: String) -> String {
      text.split(separator: "\n").map { line in
        line.split(separator: " ").joined(separator: " ")
      }.joined(separator: "\n")
    }
    let pattern = NSRegularExpression.escapedPattern(for: plain(expected))
      .replacingOccurrences(of: "…", with: ".*")
    guard
      let expression = try? NSRegularExpression(
        pattern: isWhole ? "\\A\(pattern)\\z" : pattern, options: [.dotMatchesLineSeparators])
    else { return false }
    let text = plain(output)
    let range = NSRange(text.startIndex..., in: text)
    return expression.firstMatch(in: text, range: range) != nil
  }

  // MARK: Configurations

  private func check(_ step: DocumentedPage.Step) throws {
    var text = try staged(step.text)
    // A part of a configuration is inserted into a complete one.
    if !text.hasPrefix("{") {
      let pools = text.contains("\"pools\"") ? "" : #""pools": [{ "backends": ["127.0.0.1:1"] }],"#
      text = "{ \(pools) \(text) }"
    }
    let name = try step.file.map { try staged($0) } ?? "example.json"
    let path = name.hasPrefix("/") ? name : folder.path(name)
    try text.write(toFile: path, atomically: true, encoding: .utf8)
    let isBroken = name.hasSuffix("broken.json")
    if !isBroken { try accepted(["martlet", "check", path], step) }
  }

  private func checkPeer(_ name: String, _ step: DocumentedPage.Step) throws {
    let text = try staged(step.text)
    switch name {
    case "nginx":
      let places = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map {
        "\($0)_temp_path \(folder.path("temporary"));"
      }
      let module = "/usr/lib/nginx/modules/ngx_stream_module.so"
      let isStream = text.hasPrefix("stream")
      let loads = isStream && FileManager.default.fileExists(atPath: module)
      let whole = """
        \(loads ? "load_module \(module);" : "")
        pid \(folder.path("nginx.pid"));
        events {}
        \(isStream ? text : "http { access_log off; \(places.joined(separator: " ")) \(text) }")
        """
      let path = try folder.write(whole, to: "nginx.conf")
      try accepted(["nginx", "-t", "-q", "-e", "stderr", "-c", path], step)
    case "haproxy":
      let path = try folder.write(text + "\n", to: "haproxy.cfg")
      try accepted(["haproxy", "-c", "-q", "-f", path], step)
    default:
      let path = try folder.write(text, to: "Caddyfile")
      try accepted(["caddy", "validate", "--adapter", "caddyfile", "--config", path], step)
    }
  }

  private func accepted(_ arguments: [String], _ step: DocumentedPage.Step) throws {
    let child = try ChildProcess(arguments, in: folder.path, environment: environment)
    let status = try child.waitForExit()
    #expect(status == 0, "\(place(step)): \(child.outputText)\(child.errorText)")
  }
}
