// `martlet check` beside a process that runs: what a reload would change there.

import Foundation
import Testing

@Suite struct CheckTests {
  private func check(
    _ martlet: MartletProcess, _ file: String, _ flags: String...
  ) throws -> CommandResult {
    let child = try MartletProcess.start(["check", file] + flags, in: martlet.folder)
    let status = try child.waitForExit()
    return CommandResult(status: status, output: child.outputText, errors: child.errorText)
  }

  private let unchanged = "a reload would change nothing in the Martlet that runs\n"

  @Test func `it says what a reload would change, flags included`() throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(
      backends: [stub], rest: #""watch": false"#, flags: ["--workers", "1"])
    #expect(try check(martlet, "config.json").output.hasSuffix(unchanged))

    let fresh = MartletProcess.configuration(
      backends: [stub, "127.0.0.1:9"], pool: #""when-all-down": "fail-open""#,
      rest: #""watch": false, "workers": 7"#)
    try martlet.folder.write(fresh, to: "new.json")
    let result = try check(martlet, "new.json")
    #expect(result.status == 0)
    #expect(try check(martlet, "--config", "new.json").output == result.output)
    #expect(
      result.output.hasSuffix(
        """
        a reload would change in the Martlet that runs:
          + pools[default].backends[127.0.0.1:9]: { "address": "127.0.0.1:9" }
          ~ pools[default].when-all-down: default -> "fail-open"

        """), "\(result.output)")

    try martlet.reload(fresh)
    #expect(try check(martlet, "new.json").output.hasSuffix(unchanged))
    // What was changed by hand is undone by a reload.
    let added = try run(
      [
        "curl", "-s", "--unix-socket", martlet.folder.path("admin.sock"), "-d",
        #"{"address": "127.0.0.1:8"}"#, "http://localhost/v1/pools/default/backends",
      ])
    #expect(added.output.contains("127.0.0.1:8"))
    let back = try check(martlet, "new.json").output
    #expect(back.contains("- pools[default].backends[127.0.0.1:8]"), "\(back)")
  }

  @Test func `a large file is no reason to be silent`() throws {
    let martlet = try MartletProcess(backends: ["127.0.0.1:9"], rest: #""watch": false"#)
    let many = (1...9000).map { "127.1.\($0 / 250).\($0 % 250):9" }
    try martlet.folder.write(MartletProcess.configuration(backends: many), to: "many.json")
    let result = try check(martlet, "many.json").output
    #expect(result.contains("  + pools[default].backends[127.1.36.0:9]: "))
  }

  @Test func `where none runs, or none answers, nothing is said of it`() throws {
    let martlet = try MartletProcess(backends: ["127.0.0.1:9"])
    martlet.signal(SIGSTOP)
    let frozen = try check(martlet, "config.json")
    martlet.signal(SIGCONT)
    #expect(frozen.status == 0 && !frozen.output.contains("reload") && frozen.errors.isEmpty)
    #expect(try check(martlet, "config.json").output.hasSuffix(unchanged))
    let elsewhere = try check(martlet, "config.json", "--socket", "none.sock")
    #expect(elsewhere.output == frozen.output && elsewhere.errors.isEmpty)
    _ = try martlet.terminate()
    let none = try check(martlet, "config.json")
    #expect(none.output == frozen.output && none.errors.isEmpty)
  }
}
