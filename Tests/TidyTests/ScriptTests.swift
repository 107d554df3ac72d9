// The scripts that users and continuous integration run.
//
// Every file in scripts/ is one. They must use strict mode, have a header comment, and be as the
// README and .ci/run describe them.

import Foundation
import Testing

@Suite struct ScriptTests {
  static let scripts = SourceTree.files.filter {
    $0.path.hasPrefix("scripts/") || $0.path == ".ci/run"
  }

  @Test func thereAreScripts() {
    let paths = Set(Self.scripts.map(\.path))
    #expect(paths.isSuperset(of: [".ci/run", "scripts/set-up", "scripts/run", "scripts/test"]))
  }

  @Test(arguments: scripts)
  func aScriptIsExecutableAndStrict(_ script: SourceFile) {
    #expect(SourceTree.isExecutable(script))
    #expect(script.lines.first == "#!/usr/bin/env bash")
    let rest = script.lines.dropFirst()
    #expect(rest.first?.hasPrefix("# ") == true, "no comment says what it does")
    #expect(rest.first { !$0.hasPrefix("#") && !$0.isEmpty } == "set -euo pipefail")
  }

  @Test(arguments: scripts)
  func aScriptIsValidBash(_ script: SourceFile) throws {
    let bash = Process()
    bash.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    bash.arguments = ["bash", "-n", SourceTree.root.appendingPathComponent(script.path).path]
    try bash.run()
    bash.waitUntilExit()
    #expect(bash.terminationStatus == 0)
  }

  @Test func continuousIntegrationRunsTheTestsAndNothingElse() throws {
    let run = try #require(SourceTree.file(".ci/run"))
    let commands = run.lines.filter { !$0.hasPrefix("#") && !$0.isEmpty }
    #expect(commands.count == 2)
    #expect(commands.last?.hasSuffix("/scripts/test\"") == true)
  }
}
