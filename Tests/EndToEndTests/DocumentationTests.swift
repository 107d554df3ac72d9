// The pages for operators are correct: each command runs and prints what the page shows. Each
// configuration is accepted, Martlet's by Martlet, and those of other programs by these.

import Foundation
import Testing

@Suite struct DocumentationTests {
  static let paths: [String] = {
    let folder = "docs/operators"
    let names = try? FileManager.default.contentsOfDirectory(
      atPath: "\(Installation.root)/\(folder)")
    let pages = (names ?? []).filter { $0.hasSuffix(".md") }.sorted()
    return ["README.md", "docs/ADMIN.md"] + pages.map { "\(folder)/\($0)" }
  }()

  /// Blocks that can't be tested, with the reason in the page.
  static let notRun = [
    "builds everything": 1,
    "installs packages": 3,
    "needs a certificate authority": 1,
    "needs systemd": 4,
  ]

  @Test(arguments: paths)
  func `every command and configuration of a page works as described`(_ path: String) throws {
    try Rehearsal(DocumentedPage(path)).carryOut()
  }

  @Test func `the blocks that are not run are listed, with the reason`() throws {
    var counts: [String: Int] = [:]
    for path in Self.paths {
      for case .notRun(let reason) in try DocumentedPage(path).steps.map(\.kind) {
        counts[reason, default: 0] += 1
      }
    }
    #expect(counts == Self.notRun)
    #expect(Self.paths.count >= 13)
  }
}
