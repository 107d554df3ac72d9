// A folder for one test, removed with its last reference.

import Foundation

final class TemporaryFolder: Sendable {
  let path: String

  init() {
    var template = Array("/tmp/martlet-e2e.XXXXXX".utf8CString)
    path = mkdtemp(&template).map { String(cString: $0) } ?? "/tmp/martlet-e2e-failed"
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func path(_ name: String) -> String { "\(path)/\(name)" }

  @discardableResult
  func write(_ text: String, to name: String) throws -> String {
    try text.write(toFile: path(name), atomically: true, encoding: .utf8)
    return path(name)
  }

  /// The file as text; empty when it doesn't exist (yet).
  func read(_ name: String) -> String {
    String(decoding: FileManager.default.contents(atPath: path(name)) ?? Data(), as: UTF8.self)
  }

  /// The whole lines of a file that another process writes: a line counts once its line feed is
  /// there.
  func lines(of name: String) -> [Substring] {
    let text = read(name)
    guard let end = text.lastIndex(of: "\n") else { return [] }
    return text[..<end].split(separator: "\n")
  }
}
