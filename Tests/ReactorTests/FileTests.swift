// Reading whole files up to a limit.

import Glibc
import Reactor
import Testing

@Suite struct FileTests {
  @Test func aFileIsReadToItsLastByteAndRefusedAboveTheLimit() throws {
    let path = "/tmp/martlet-\(getpid())-\(UInt32.random(in: 0 ... .max))"
    let content = (0..<50_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
    let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL, 0o600)
    #expect(write(descriptor, content, content.count) == content.count)
    close(descriptor)
    defer { unlink(path) }
    #expect(try File.read(path, limit: 50_000) == content)
    #expect(throws: SystemError.fileTooLarge) { try File.read(path, limit: 49_999) }
  }

  @Test func whatCannotBeReadFailsByName() {
    #expect(throws: SystemError.noSuchFile) { try File.read("/nonexistent/file", limit: 10) }
    #expect(throws: SystemError(code: EISDIR)) { try File.read("/tmp", limit: 10) }
  }

  @Test func onlyRegularFilesAreReadAndNothingIsWaitedFor() throws {
    let path = "/tmp/martlet-\(getpid())-\(UInt32.random(in: 0 ... .max))"
    #expect(mkfifo(path, 0o600) == 0)
    defer { unlink(path) }
    for other in [path, "/dev/zero", "/dev/null"] {
      #expect(throws: SystemError.notRegularFile) { try File.read(other, limit: 10) }
    }
    #expect("\(SystemError.notRegularFile)" == "it is not a regular file")
    let listener = try LocalListener(path: "\(path).sock")
    try listener.takeName()
    defer { listener.close() }
    #expect(throws: SystemError.notRegularFile) { try File.read(listener.path, limit: 10) }
    // The path that a shell gives to a command.
    #expect(try File.readStream("/dev/null", limit: 10) == [])
  }

  @Test func aPipeInThePlaceOfTheNewVersionIsNotWrittenTo() throws {
    let path = "/tmp/martlet-\(getpid())-\(UInt32.random(in: 0 ... .max))"
    #expect(mkfifo("\(path).\(getpid())", 0o600) == 0)
    defer { File.remove(path) }
    try File.replace(path, with: "one\n")
    #expect(try File.read(path, limit: 10) == Array("one\n".utf8))
  }

  @Test func aFileIsReplacedAsAWholeAndTheNewOneIsAnotherVersion() throws {
    let path = "/tmp/martlet-\(getpid())-\(UInt32.random(in: 0 ... .max))"
    defer { File.remove(path) }
    #expect(FileVersion(of: path) == nil)
    try File.replace(path, with: "one\n")
    let first = try #require(FileVersion(of: path))
    #expect(FileVersion(of: path) == first)
    try File.replace(path, with: "one\n")
    #expect(FileVersion(of: path) != first)
    #expect(try File.read(path, limit: 10) == Array("one\n".utf8))
    #expect(throws: SystemError.noSuchFile) { try File.replace("/nonexistent/file", with: "") }
  }
}
