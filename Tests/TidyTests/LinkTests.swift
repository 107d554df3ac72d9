// The links in the documentation work: they lead to a file of the project and, if they name one, to
// a heading in it.

import Foundation
import Testing

@Suite struct LinkTests {
  private static let pages = SourceTree.files.filter { $0.path.hasSuffix(".md") }

  /// The text without code.
  private static func prose(_ page: SourceFile) -> String {
    page.text.replacing(#/(?ms)^```.*?^```/#, with: "").replacing(#/`[^`\n]*`/#) { match in
      // A heading may contain code, and so may the text of a link.
      match.0.filter { !"[]()`".contains($0) }
    }
  }

  /// The anchor that GitHub generates for a heading.
  private static func anchors(of page: SourceFile) -> Set<String> {
    Set(
      page.text.matches(of: #/(?m)^#+ (.+)$/#).map { match in
        match.1.lowercased().replacing(" ", with: "-").filter {
          $0.isLetter || $0.isNumber || "-_".contains($0)
        }
      })
  }

  @Test func everyLinkLeadsToAFileAndItsHeading() {
    #expect(Self.pages.count > 20)
    var broken: [String] = []
    for page in Self.pages {
      let folder = SourceTree.root.appendingPathComponent(page.path).deletingLastPathComponent()
      for match in Self.prose(page).matches(of: #/\]\(([^)\s]+)\)/#) {
        let target = String(match.1)
        if target.contains("://") || target.hasPrefix("mailto:") { continue }
        let parts = target.split(separator: "#", omittingEmptySubsequences: false)
        let url = parts[0].isEmpty ? nil : folder.appendingPathComponent(String(parts[0]))
        if let url, !FileManager.default.fileExists(atPath: url.standardized.path) {
          broken.append("\(page.path): \(target)")
          continue
        }
        guard parts.count > 1 else { continue }
        let root = SourceTree.root.standardized.path + "/"
        let path = url.map { String($0.standardized.path.dropFirst(root.count)) } ?? page.path
        let anchors = Self.pages.first { $0.path == path }.map(Self.anchors) ?? []
        if !anchors.contains(String(parts[1])) { broken.append("\(page.path): \(target)") }
      }
    }
    expectNone("A link leads to a file, and to a heading of it.", broken)
  }
}
