// Changed files are reloaded automatically.

import Foundation
import Testing

@Suite struct WatchTests {
  private func count(_ text: String, _ martlet: MartletProcess) -> Int {
    martlet.log.components(separatedBy: text).count - 1
  }

  @Test func `a changed configuration is loaded, and an invalid one is refused once`() throws {
    let (one, two) = (try StubBackend("one"), try StubBackend("two"))
    let martlet = try MartletProcess(backends: [one])
    #expect(try martlet.get().text == "one")
    try martlet.folder.write(
      MartletProcess.configuration(backends: [two]), to: "config.json")
    try eventually("the other backend serves") { try martlet.get().text == "two" }

    try martlet.folder.write(#"{ "pools": [{ "backend": [] }] }"#, to: "config.json")
    eventually("it is refused") { count("the new configuration is refused", martlet) == 1 }
    #expect(martlet.log.contains("did you mean \"backends\"?"))
    #expect(try martlet.get().text == "two")

    // A valid file follows: if the invalid one were reported again, it would be by now.
    try martlet.folder.write(
      MartletProcess.configuration(backends: [one]), to: "config.json")
    try eventually("the first backend serves again") { try martlet.get().text == "one" }
    #expect(count("the new configuration is refused", martlet) == 1)
    // Workers apply it a moment before it is logged.
    eventually("both are logged") { count("the new configuration is in force", martlet) == 2 }
  }

  @Test func `a renewed certificate is served without a reload command`() throws {
    let certificates = try Certificates()
    try certificates.make("site", names: ["localhost"])
    let martlet = try MartletProcess(
      backends: [try StubBackend("hello")],
      listener: #""tls": { "certificates": [\#(certificates.entry("site"))] }"#)
    let first = try martlet.servedSerial()
    try certificates.make("site", names: ["localhost"])
    try eventually("another certificate is served") {
      let now = try martlet.servedSerial()
      return now.hasPrefix("serial=") && now != first
    }
    let second = try martlet.servedSerial()

    // The key doesn't belong to the certificate: the old pair stays in use.
    try certificates.make("other", names: ["localhost"])
    try FileManager.default.removeItem(atPath: certificates.folder.path("site.key"))
    try FileManager.default.copyItem(
      atPath: certificates.folder.path("other.key"),
      toPath: certificates.folder.path("site.key"))
    eventually("it is refused") { count("the new configuration is refused", martlet) == 1 }
    #expect(martlet.log.contains("site.key"))
    #expect(try martlet.servedSerial() == second)
  }

  @Test func `a file that is written in pieces is loaded once it is complete`() throws {
    let (one, two) = (try StubBackend("one"), try StubBackend("two"))
    let martlet = try MartletProcess(backends: [one])
    let bytes = Data(MartletProcess.configuration(backends: [two]).utf8)
    let path = martlet.folder.path("config.json")
    let file = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
    try file.truncate(atOffset: 0)
    for start in stride(from: 0, to: bytes.count, by: 16) {
      try file.write(contentsOf: bytes[start..<min(start + 16, bytes.count)])
    }
    try file.close()
    try eventually("the other backend serves") { try martlet.get().text == "two" }
    #expect(count("the new configuration is refused", martlet) == 0)
    #expect(count("the new configuration is in force", martlet) == 1)
  }

  /// As Kubernetes mounts a ConfigMap: the file itself never changes, nor does its directory entry.
  @Test func `a folder that is replaced behind a link is noticed`() throws {
    let (one, two) = (try StubBackend("one"), try StubBackend("two"))
    let folder = TemporaryFolder()
    let files = FileManager.default
    for (name, backend) in [("..first", one), ("..second", two)] {
      try files.createDirectory(
        atPath: folder.path(name), withIntermediateDirectories: false)
      try folder.write(
        MartletProcess.configuration(backends: [backend]), to: "\(name)/mounted.json")
    }
    try files.createSymbolicLink(atPath: folder.path("..data"), withDestinationPath: "..first")
    try files.createSymbolicLink(
      atPath: folder.path("mounted.json"), withDestinationPath: "..data/mounted.json")
    let martlet = try MartletProcess(
      "{}", ["--config", "mounted.json"], in: folder, keeping: [one, two])
    #expect(try martlet.get().text == "one")

    try files.createSymbolicLink(atPath: folder.path("..next"), withDestinationPath: "..second")
    #expect(rename(folder.path("..next"), folder.path("..data")) == 0)
    try eventually("the other backend serves") { try martlet.get().text == "two" }
    #expect(count("files=mounted.json", martlet) == 1)
  }

  @Test func `a file that is only touched is not reloaded; a changed one is`() throws {
    let certificates = try Certificates()
    try certificates.make("site", names: ["localhost"])
    let martlet = try MartletProcess(
      backends: [try StubBackend("hello")],
      listener: #""tls": { "certificates": [\#(certificates.entry("site"))] }"#)
    // Written with the same content before the other files, so that a process that has noticed
    // those has noticed this one.
    try martlet.folder.write(martlet.folder.read("config.json"), to: "config.json")
    try certificates.make("site", names: ["localhost"])
    eventually("the certificate is taken up") {
      count("the new configuration is in force", martlet) >= 1
    }
    #expect(martlet.log.contains("site.crt"))
    let changes = martlet.log.split(separator: "\n").filter { $0.contains("files have changed") }
    #expect(!changes.isEmpty && !changes.contains { $0.contains("config.json") }, "\(changes)")
  }

  @Test func `without watch only a reload command loads changes`() throws {
    let (one, two) = (try StubBackend("one"), try StubBackend("two"))
    let martlet = try MartletProcess(backends: [one], rest: #""watch": false"#)
    let watching = try MartletProcess(backends: [one])
    for each in [martlet, watching] {
      try each.folder.write(
        MartletProcess.configuration(backends: [two], rest: #""watch": false"#),
        to: "config.json")
    }
    // By now, the other process would have noticed the change too.
    try eventually("the other has taken it up") { try watching.get().text == "two" }
    #expect(try martlet.get().text == "one")
    try martlet.reload(MartletProcess.configuration(backends: [two]))
    #expect(try martlet.get().text == "two")
  }
}
