// The project's files for the tidy tests: text by line, and Swift code without comments and string
// literals.
//
// The tree is found from the path of this file, so the tests don't depend on the working directory.
// It excludes build directories, generated certificates, fuzz inputs, and hidden directories other
// than .ci.

import Foundation
import Testing

/// A text file of the project.
struct SourceFile: CustomTestStringConvertible {
  /// Relative to the root of the project, with slashes.
  let path: String
  let text: String
  let lines: [String]
  /// The lines of Swift code without comments and strings; empty for other files.
  let codeLines: [String]

  init(path: String, text: String) {
    self.path = path
    self.text = text
    lines = text.components(separatedBy: "\n")
    codeLines =
      path.hasSuffix(".swift") ? swiftCode(of: text).components(separatedBy: "\n") : []
  }

  var testDescription: String { path }
  var name: String { String(path.split(separator: "/").last ?? "") }
  var isSwift: Bool { path.hasSuffix(".swift") }

  /// The target of the file: its directory under Sources or Benchmarks.
  var target: String? {
    let parts = path.split(separator: "/")
    return parts.count > 2 && Self.homes.contains(parts[0]) ? String(parts[1]) : nil
  }

  private static let homes: Set<Substring> = ["Sources", "Benchmarks"]

  /// The comment at the top, without slashes, up to the first line that is no comment.
  var header: [String] {
    lines.prefix { $0.hasPrefix("//") && !$0.hasPrefix("///") }
      .map { String($0.dropFirst(2)).trimmingCharacters(in: .whitespaces) }
  }
}

enum SourceTree {
  static let root = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

  /// Every text file, sorted by path.
  static let files: [SourceFile] = load()
  static let swift = files.filter(\.isSwift)
  static let sources = swift.filter { $0.target != nil }

  static func file(_ path: String) -> SourceFile? { files.first { $0.path == path } }

  static func isExecutable(_ file: SourceFile) -> Bool {
    FileManager.default.isExecutableFile(atPath: root.appendingPathComponent(file.path).path)
  }

  private static let hiddenButOurs: Set = [".ci", ".gitignore", ".dockerignore"]
  private static let leftOut: Set = ["__pycache__", "Package.resolved"]
  /// Fuzz inputs are bytes, even if they look like text.
  private static let fuzzInput: Set = ["Fuzz/Seeds", "Fuzz/Regressions"]
  private static let generated = [".crt", ".key", ".csr", ".srl", ".o", ".pyc"]

  private static func load() -> [SourceFile] {
    var found: [SourceFile] = []
    var folders = [""]
    while let folder = folders.popLast() {
      let place = root.appendingPathComponent(folder).path
      for name in (try? FileManager.default.contentsOfDirectory(atPath: place)) ?? [] {
        if name.hasPrefix("."), !hiddenButOurs.contains(name) { continue }
        if leftOut.contains(name) || generated.contains(where: name.hasSuffix) { continue }
        let path = folder.isEmpty ? name : "\(folder)/\(name)"
        if fuzzInput.contains(path) { continue }
        let url = root.appendingPathComponent(path)
        if (try? url.resourceValues(forKeys: [.isDirectoryKey]).isDirectory) == true {
          folders.append(path)
        } else if let text = try? String(contentsOf: url, encoding: .utf8) {
          found.append(SourceFile(path: path, text: text))
        }
      }
    }
    return found.sorted { $0.path < $1.path }
  }
}
