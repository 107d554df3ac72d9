// The process log of the real binary: every line has a time and a level in both formats, also if
// the start is refused.

import Foundation
import Testing

@Suite struct ProcessLogTests {
  private func configuration(_ stub: StubBackend, _ log: String, limits: String = "{}") -> String {
    """
    { "listeners": [{ "listen": "127.0.0.1:0" }], "pools": [{ "backends": [\(stub.json)] }],
      "watch": false, "limits": \(limits), "log": { "target": "access.log", \(log) } }
    """
  }

  /// Starts, reloads, refuses a reload and stops.
  private func life(_ log: String) throws -> [Substring] {
    let stub = try StubBackend("hello")
    let martlet = try MartletProcess(configuration(stub, log), keeping: [stub])
    try martlet.reload(configuration(stub, log))
    try martlet.reload("{ \"listners\": [] }")
    #expect(try martlet.terminate() == 0)
    return martlet.log.split(separator: "\n")
  }

  @Test func `every line of text has a time and a level`() throws {
    let lines = try life(#""format": "text""#)
    for line in lines {
      #expect(
        line.contains(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (info|notice|warning|error) \S/),
        "\(line)")
    }
    #expect(lines.contains { $0.contains(" error config.json:1:3: error: ") })
    #expect(lines.contains { $0.contains(" notice pool name=default strategy=round-robin ") })
  }

  @Test func `every line of JSON is an object with a time and a level`() throws {
    let lines = try life(#""format": "json""#)
    for line in lines {
      let value = try JSONSerialization.jsonObject(with: Data(line.utf8))
      let object = try #require(value as? [String: String], "\(line)")
      #expect(object["time"] != nil && object["level"] != nil && object["message"] != nil)
    }
    #expect(lines.contains { $0.contains(#""message":"listening","url":"http://127.0.0.1:"#) })
  }

  @Test(arguments: ["text", "json"])
  func `a refused start says so in lines of the log`(format: String) throws {
    let folder = TemporaryFolder()
    try folder.write(
      #"""
      { "pools": [{ "backends": ["a:1"], "strategy": "rond-robin" }],
        "log": { "format": "\#(format)" } }
      """#, to: "config.json")
    let child = try MartletProcess.start(["run"], in: folder)
    #expect(try child.waitForExit() == 1)
    for line in child.errorText.split(separator: "\n") {
      if format == "json" {
        #expect((try? JSONSerialization.jsonObject(with: Data(line.utf8))) != nil, "\(line)")
      } else {
        #expect(line.contains(/^\S+Z error \S/), "\(line)")
      }
    }
    #expect(child.errorText.contains("rond-robin"))
  }

  @Test func `the warning of too few descriptors comes once, not with every reload`() throws {
    let stub = try StubBackend("hello")
    func configuration(_ connections: Int) -> String {
      self.configuration(
        stub, #""level": "info""#, limits: #"{ "connections": \#(connections) }"#)
    }
    let martlet = try MartletProcess(
      configuration(5000), wrapper: ["prlimit", "--nofile=200:200"], keeping: [stub])
    func count() -> Int { martlet.log.components(separatedBy: "file descriptors").count - 1 }
    #expect(count() == 1)
    try martlet.reload(configuration(5000))
    #expect(count() == 1)
    try martlet.reload(configuration(6000))
    #expect(count() == 2)
  }
}
