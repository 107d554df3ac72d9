// WatchedFiles: when a changed file is noticed, with checks at times that the test chooses.

import Foundation
import Primitives
import Testing

@testable import Server

@Suite final class WatchedFilesTests {
  private let folder = NSTemporaryDirectory() + "watched-\(UUID())"
  private var files = WatchedFiles()
  private var now = Instant.origin + .seconds(100)

  init() throws {
    try FileManager.default.createDirectory(
      atPath: folder, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: folder) }

  private func path(_ name: String) -> String { "\(folder)/\(name)" }

  private func write(_ text: String, _ name: String) throws {
    // Written in place, as a careless program would do it.
    if !FileManager.default.fileExists(atPath: path(name)) {
      _ = FileManager.default.createFile(atPath: path(name), contents: nil)
    }
    let handle = try #require(FileHandle(forWritingAtPath: path(name)))
    try handle.truncate(atOffset: 0)
    try handle.write(contentsOf: Data(text.utf8))
    try handle.close()
  }

  private func look() -> [String] {
    now = now + .seconds(1)
    return files.look(at: now).map { ($0 as NSString).lastPathComponent }
  }

  private func watch(_ names: String...) {
    files.watch(Set(names.map(path)), at: now)
  }

  @Test func aChangeCountsOnceAndOnlyWhenTheFilesAreQuiet() throws {
    try write("a", "x")
    watch("x")
    #expect(look() == [])
    try write("ab", "x")
    #expect(look() == [])
    try write("abc", "x")
    #expect(look() == [])
    #expect(look() == ["x"])
    #expect(look() == [])
  }

  @Test func whatIsTouchedOrPutBackHasNotChanged() throws {
    try write("a", "x")
    watch("x")
    try write("b", "x")
    try write("a", "x")
    #expect(look() == [] && look() == [] && look() == [])
  }

  @Test func aFileThatIsReplacedOrComesLaterIsSeen() throws {
    try write("a", "x")
    watch("x", "y")
    try write("new", "fresh")
    #expect(rename(path("fresh"), path("x")) == 0)
    try write("now there", "y")
    #expect(look() == [])
    #expect(look() == ["x", "y"])
    #expect(unlink(path("x")) == 0)
    #expect(look() == [])
    #expect(look() == ["x"])
  }

  @Test func aLinkThatLeadsElsewhereIsSeen() throws {
    // As Kubernetes mounts a ConfigMap: the files are links through a link that is replaced.
    for version in ["1", "2"] {
      try FileManager.default.createDirectory(
        atPath: path(version), withIntermediateDirectories: false)
      try write("version \(version)", "\(version)/x")
    }
    #expect(symlink("1", path("data")) == 0 && symlink("data/x", path("x")) == 0)
    watch("x")
    #expect(look() == [])
    #expect(symlink("2", path("next")) == 0 && rename(path("next"), path("data")) == 0)
    #expect(look() == [])
    #expect(look() == ["x"])
  }

  @Test func loadedChangesAreKnownAndLaterOnesAreNot() throws {
    try write("a", "x")
    watch("x")
    try write("b", "x")
    files.takeUp()
    try write("c", "x")
    watch("x")
    #expect(look() == [])
    #expect(look() == ["x"])
  }

  @Test func itLooksTwiceASecondAtMostAndNeverWithoutFiles() throws {
    #expect(files.looksAt == .never)
    try write("a", "x")
    watch("x")
    #expect(files.looksAt == now + .milliseconds(500))
    files.watch([], at: now)
    #expect(files.looksAt == .never)
  }
}
