// The released files: Debian package, systemd units, logrotate rule, image and Kubernetes
// manifests, each checked by its users' tools.
//
// The package contains the binary under test, since a release takes minutes to build.

import Foundation
import Testing

@Suite struct PackagingTests {
  private let folder = TemporaryFolder()

  private func text(_ path: String) throws -> String {
    try String(contentsOfFile: "\(Installation.root)/\(path)", encoding: .utf8)
  }

  /// Runs a command that must succeed, and returns what it prints.
  @discardableResult
  private func output(
    _ arguments: [String], environment: [String: String] = [:],
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> String {
    let path = ProcessInfo.processInfo.environment["PATH"] ?? ""
    let child = try ChildProcess(
      arguments, in: folder.path,
      environment: ["PATH": "\(path):/usr/sbin:/sbin"].merging(environment) { $1 })
    let status = try child.waitForExit(atMost: 300)
    let said = child.outputText + child.errorText
    #expect(status == 0, "\(arguments): \(said)", sourceLocation: sourceLocation)
    return said
  }

  private func exists(_ path: String) -> Bool {
    FileManager.default.fileExists(atPath: folder.path(path))
  }

  // MARK: Debian

  /// Links between pages that lead to no file. `LinkTests` looks at those of the source tree.
  private func deadLinks(in directory: String) throws -> [String] {
    let paths = try FileManager.default.subpathsOfDirectory(atPath: directory)
    return try paths.filter { $0.hasSuffix(".md") }.flatMap { path in
      let page = URL(fileURLWithPath: "\(directory)/\(path)")
      return try String(contentsOf: page, encoding: .utf8).matches(of: #/\]\(([^)\s:#]+)/#)
        .map { String($0.1) }
        .filter { target in
          let url = page.deletingLastPathComponent().appendingPathComponent(target)
          return !target.hasPrefix("http")
            && !FileManager.default.fileExists(atPath: url.standardized.path)
        }
        .map { "\(path): \($0)" }
    }
  }

  @Test func `the Debian package passes lintian, enables no service, and keeps keys on purge`()
    throws
  {
    try output(
      [Installation.scripts + "/package-deb", "--binary", Installation.binary, "--to", folder.path],
      environment: ["DPKG_DEB_COMPRESSOR_LEVEL": "0"])
    let names = try FileManager.default.contentsOfDirectory(atPath: folder.path)
    let package = folder.path(try #require(names.first { $0.hasSuffix(".deb") }))
    // A release has no rpath; scripts/release checks that.
    let complaints = try output([
      "lintian", "--fail-on", "error,warning", "--no-cfg", "--allow-root",
      "--suppress-tags", "custom-library-search-path", package,
    ])
    #expect(complaints.isEmpty, "\(complaints)")
    let top = try output(["dpkg-deb", "--contents", package]).prefix { $0 != "\n" }
    #expect(top.hasPrefix("drwxr-xr-x root/root") && top.hasSuffix(" ./"), "\(top)")

    try output(["dpkg-deb", "--extract", package, folder.path("extracted")])
    let pages = folder.path("extracted/usr/share/doc/martlet")
    #expect(try deadLinks(in: pages) == [])
    #expect(FileManager.default.fileExists(atPath: pages + "/docs/LOGS.md"))

    for place in ["etc", "var/log/martlet", "var/lib/dpkg/info", "var/lib/dpkg/updates"] {
      try FileManager.default.createDirectory(
        atPath: folder.path(place), withIntermediateDirectories: true)
    }
    try folder.write("", to: "var/lib/dpkg/status")
    try folder.write("{}\n", to: "var/log/martlet/access.log.1")
    let dpkg = [
      "fakeroot", "dpkg", "--root=\(folder.path)", "--force-script-chrootless", "--force-depends",
      "--force-not-root",
    ]
    try output(dpkg + ["--install", package])
    #expect(folder.read("etc/passwd").hasPrefix("martlet:"))
    let unit = folder.read("lib/systemd/system/martlet.service")
    #expect(unit.hasPrefix("[Unit]") && unit.contains("\nExecReload=/usr/bin/martlet reload"))
    #expect(!unit.contains("/usr/local"))
    #expect(!exists("etc/systemd/system/multi-user.target.wants/martlet.service"))
    // Before the first start of the service, which creates them too.
    #expect(exists("var/log/martlet") && exists("run/martlet"))
    let shipped = folder.read("etc/martlet/config.json")
    #expect(shipped.contains("/var/log/martlet/"))
    try folder.write(
      shipped.replacing("/var/log/martlet/", with: folder.path("var/log/martlet") + "/"),
      to: "shipped.json")
    try output([Installation.binary, "check", folder.path("shipped.json")])

    try folder.write("a key", to: "etc/martlet/site.key")
    try output(dpkg + ["--purge", "martlet"])
    #expect(folder.read("etc/martlet/site.key") == "a key")
    for gone in ["etc/martlet/config.json", "etc/logrotate.d/martlet", "var/log/martlet"] {
      #expect(!exists(gone), "\(gone)")
    }
  }

  // MARK: systemd and logrotate

  @Test func `systemd accepts the units, and finds little exposure`() throws {
    for name in ["martlet.service", "martlet.socket"] {
      let unit = try text("packaging/\(name)")
      try folder.write(
        unit.replacingOccurrences(of: "/usr/local/bin/martlet", with: Installation.binary),
        to: name)
    }
    for name in ["martlet.service", "martlet.socket"] {
      // Our manual page isn't installed here.
      let complaints = try output(["systemd-analyze", "verify", "--man=no", folder.path(name)])
      #expect(complaints.isEmpty, "\(complaints)")
    }
    // 2.0 of 10.
    try output([
      "systemd-analyze", "security", "--no-pager", "--offline=yes", "--threshold=20",
      folder.path("martlet.service"),
    ])
  }

  @Test func `logrotate rotates the access log, and Martlet writes to the new one`() throws {
    let martlet = try MartletProcess(backends: [try StubBackend()])
    let logs = martlet.folder
    var rule = try text("packaging/logrotate")
    for (part, here) in [
      "/var/log/martlet/": logs.path + "/", "  su martlet martlet\n": "", "maxsize 1G\n": "",
    ] {
      #expect(rule.contains(part))
      rule = rule.replacingOccurrences(of: part, with: here)
    }
    let path = try folder.write(rule, to: "rule")
    // Replaces systemd. Another process writes it, as `Installed` explains.
    try run(
      ["sh", "-c", "mkdir bin && cat > bin/systemctl && chmod 755 bin/systemctl"], in: folder.path,
      input: """
        #!/bin/sh
        [ "$*" = "kill --signal=USR1 --kill-whom=main martlet.service" ] || exit 1
        kill -USR1 \(martlet.process.id)

        """)
    let search = ProcessInfo.processInfo.environment["PATH"] ?? ""
    func rotate() throws {
      try output(
        ["logrotate", "--force", "--state", folder.path("state"), path],
        environment: ["PATH": "\(folder.path("bin")):\(search):/usr/sbin:/sbin"])
    }
    func request(_ target: String) throws {
      try eventually("\(target) is in the log") {
        _ = try martlet.get(target)
        return logs.read("access.log").contains(target)
      }
    }
    try request("/first")
    try rotate()
    try request("/second")
    #expect(logs.read("access.log.1").contains("/first"))
    #expect(!logs.read("access.log").contains("/first"))
    try rotate()
    try request("/third")
    #expect(logs.read("access.log.1").contains("/second"))
    let oldest = try output(["zcat", logs.path("access.log.2.gz")])
    #expect(oldest.contains("/first") && !oldest.contains("/third"))
  }

  // MARK: Image and Kubernetes

  @Test func `the image is built like a release; its health check queries the process`() throws {
    let image = try text("Dockerfile")
    func words(_ text: Substring) -> [Substring] {
      text.split { $0 == " " || $0 == "\n" || $0 == "\\" }
    }
    let release = try #require(
      try text("scripts/release").firstMatch(of: #/flags=\(([^)]*)\)/#), "its flags")
    let build = try #require(image.firstMatch(of: #/RUN swift build ([^&]*)&&/#), "its flags")
    #expect(words(release.1) == words(build.1))

    let line = try #require(image.firstMatch(of: #/\nHEALTHCHECK .* CMD \["martlet", (.*)\]\n/#))
    let check = line.1.split(separator: ", ").map { $0.replacingOccurrences(of: "\"", with: "") }
    let martlet = try MartletProcess(backends: [try StubBackend()])
    func isHealthy() throws -> Bool {
      let child = try ChildProcess(
        [Installation.binary] + check, in: martlet.folder.path,
        environment: ["RUNTIME_DIRECTORY": martlet.folder.path])
      return try child.waitForExit() == 0
    }
    #expect(try isHealthy())
    martlet.process.end()
    #expect(try !isHealthy())
  }

  /// The value at these names and indices.
  private func find(_ value: Any?, _ path: String) -> Any? {
    path.split(separator: " ").reduce(value) { value, step in
      if let index = Int(step), let list = value as? [Any], list.indices.contains(index) {
        return list[index]
      }
      return (value as? [String: Any])?[String(step)]
    }
  }

  private func manifests(_ path: String) throws -> [String: Any] {
    let script = "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(sys.stdin))))"
    let result = try run(["/usr/bin/python3", "-c", script], input: try text(path))
    let list = try JSONSerialization.jsonObject(with: Data(result.output.utf8))
    return Dictionary(
      uniqueKeysWithValues: (list as? [Any] ?? []).map { (find($0, "kind") as? String ?? "", $0) })
  }

  @Test func `the manifests for Kubernetes are valid and agree with each other`() throws {
    let path = "packaging/kubernetes/martlet.yaml"
    let complaints = try output(
      [
        "/usr/bin/python3", "-m", "kubernetes_validate", "--strict", "--quiet",
        "\(Installation.root)/\(path)",
      ], environment: ["PYTHONPATH": Installation.root + "/.build-tools"])
    #expect(complaints.isEmpty, "\(complaints)")

    let all = try manifests(path)
    let pod = find(all["Deployment"], "spec template")
    let container = find(pod, "spec containers 0")
    var ports: [String: Int] = [:]
    for port in find(container, "ports") as? [Any] ?? [] {
      ports[find(port, "name") as? String ?? ""] = find(port, "containerPort") as? Int
    }
    for port in find(all["Service"], "spec ports") as? [Any] ?? [] {
      #expect(ports[find(port, "targetPort") as? String ?? ""] != nil, "\(port)")
    }
    #expect(find(pod, "metadata annotations prometheus.io/port") as? String == "9091")
    #expect(ports == ["https": 8443, "http": 8080, "metrics": 9091])
    #expect(find(container, "securityContext readOnlyRootFilesystem") as? Bool == true)
    for selector in ["Deployment", "PodDisruptionBudget"].map({ find(all[$0], "spec selector") }) {
      #expect(
        find(selector, "matchLabels") as? [String: String]
          == find(pod, "metadata labels") as? [String: String])
    }
  }

  @Test func `the configuration in the manifests answers their probes, and scrapes with the token`()
    throws
  {
    let stub = try StubBackend("hello")
    let certificates = try Certificates()
    let all = try manifests("packaging/kubernetes/martlet.yaml")
    var text = try #require(find(all["ConfigMap"], "data config.json") as? String)
    for (part, here) in [
      "*:8443": "127.0.0.1:0", "*:8080": "localhost:0", "*:9091": "127.0.0.1:0",
      "/site/tls.": certificates.folder.path("server."), "/admin/token": folder.path("token"),
      "/run/martlet/admin.sock": folder.path("admin.sock"),
      "app.default.svc.cluster.local:8080": stub.address,
    ] {
      #expect(text.contains(part))
      text = text.replacingOccurrences(of: part, with: here)
    }
    try folder.write("0123456789abcdef\n", to: "token")
    let martlet = try MartletProcess(text, in: folder, keeping: [stub])
    let port = try martlet.adminPort()
    func status(_ path: String, _ fields: String = "") throws -> Int {
      try Wire(port: port).exchange(
        "GET \(path) HTTP/1.1\r\nHost: 10.1.2.3:9091\r\n\(fields)Connection: close\r\n\r\n"
      ).status
    }
    let container = find(all["Deployment"], "spec template spec containers 0")
    for probe in ["livenessProbe", "readinessProbe"] {
      let path = try #require(find(container, "\(probe) httpGet path") as? String)
      #expect(try status(path) == 200)
    }
    #expect(try status("/metrics") == 401)
    #expect(try status("/metrics", "Authorization: Bearer 0123456789abcdef\r\n") == 200)
  }

  @Test func `Prometheus accepts the configuration for Kubernetes`() throws {
    let text = try text("packaging/prometheus/kubernetes.yml")
    // Debian's promtool is built without Kubernetes discovery.
    let discovery = "kubernetes_sd_configs: [{ role: pod }]"
    #expect(text.contains(discovery))
    let path = try folder.write(
      text.replacingOccurrences(of: discovery, with: "static_configs: []"), to: "kubernetes.yml")
    try folder.write(self.text("packaging/prometheus/alerts.yml"), to: "alerts.yml")
    try output(["promtool", "check", "config", "--syntax-only", path])
  }

  @Test func `all parts of a release have the version of the binary`() throws {
    let version = try output([Installation.binary, "--version"])
      .trimmingCharacters(in: .whitespacesAndNewlines)
    for (path, pattern) in [
      ("Dockerfile", #"image.version="(.*?)""#), ("Dockerfile", "build -t martlet:(.*) "),
      ("packaging/debian/changelog", #"\A\S+ \((.*?)\)"#),
      ("packaging/kubernetes/martlet.yaml", "image: .*:(.*)"),
      ("README.md", "martlet-(.*?)-linux"), ("README.md", "martlet_(.*?)_amd64"),
    ] {
      let found = try text(path).firstMatch(of: try Regex(pattern, as: (Substring, Substring).self))
      #expect(found.map { String($0.1) } == version, "\(path): \(pattern)")
    }
  }
}
