// Log targets: which can be opened, the reasons for the others, and that nothing waits.

import Glibc
import Primitives
import Testing

@testable import Reactor

@Suite struct OutputFileTests {
  private let path = "/tmp/martlet-\(getpid())-\(UInt32.random(in: 0 ... .max))"

  private func offer(_ text: String, to file: OutputFile) throws -> Int {
    let bytes = Array(text.utf8)
    return try file.offer(bytes.span)
  }

  /// The error of opening, and the reason from the check before it: they are the same.
  private func obstacle(at path: String) -> SystemError? {
    let told = File.obstacle(toAppendingTo: path)
    do throws(SystemError) {
      _ = try OutputFile(.file(path: path))
      #expect(told == nil, "\(path): \(String(describing: told))")
      return nil
    } catch {
      #expect(told == error, "\(path): \(String(describing: told)), and then \(error)")
      return error
    }
  }

  @Test func whatStandsInTheWayIsSaidBeforehand() throws {
    #expect(obstacle(at: "/tmp") == SystemError(code: EISDIR))
    #expect(obstacle(at: "/nonexistent/log") == .noSuchFile)
    #expect(obstacle(at: "/tmp/" + String(repeating: "x", count: 256)) == .nameTooLong)
    #expect(obstacle(at: "/dev/null/log") == SystemError(code: ENOTDIR))
    #expect(obstacle(at: "/dev/fd/987") == .noSuchFile)
    #expect(obstacle(at: "/dev/null") == nil)

    let listener = try LocalListener(path: path)
    try listener.takeName()
    defer { listener.close() }
    #expect(obstacle(at: path) == .notRegularFile)

    let pipe = path + ".pipe"
    #expect(mkfifo(pipe, 0o600) == 0)
    defer { unlink(pipe) }
    #expect(obstacle(at: pipe) == .notRead)
    let reading = open(pipe, O_RDONLY | O_NONBLOCK)
    #expect(obstacle(at: pipe) == nil)
    close(reading)

    let link = path + ".link"
    #expect(symlink("/nonexistent/log", link) == 0)
    #expect(obstacle(at: link) == .noSuchFile)
    unlink(link)
    #expect(symlink(link, link) == 0)
    #expect(obstacle(at: link) == SystemError(code: ELOOP))
    unlink(link)
    // Relative to the link.
    #expect(symlink("\(path.split(separator: "/")[1]).new", link) == 0)
    #expect(File.obstacle(toAppendingTo: link) == nil)
    #expect(access(path + ".new", F_OK) < 0)
    #expect(obstacle(at: link) == nil)
    #expect(access(path + ".new", F_OK) == 0)
    unlink(link)
    unlink(path + ".new")
  }

  @Test func aPipeIsOfferedWholeLinesUntilItIsFull() throws {
    #expect(mkfifo(path, 0o600) == 0)
    defer { unlink(path) }
    let reading = open(path, O_RDWR)
    defer { close(reading) }
    let file = try OutputFile(.file(path: path))
    let line = String(repeating: "x", count: 2999) + "\n"
    #expect(try offer(line + line, to: file) == 3000)
    // A line that is longer than a piece is written in several pieces.
    #expect(try offer(String(repeating: "y", count: 10_000), to: file) == 4096)
    var count = 7096
    while true {
      let taken = try offer(line, to: file)
      if taken == 0 { break }
      count += taken
      try #require(count < 1 << 20)
    }
    #expect(!file.isWritable(atMost: .zero))
    let wakeUp = try WakeUp()
    #expect(!file.wait(or: wakeUp, atMost: .milliseconds(1)))
    wakeUp.signal()
    #expect(file.wait(or: wakeUp, atMost: nil))
    #expect(!wakeUp.isSignalled)

    var buffer = [UInt8](repeating: 0, count: 1 << 20)
    #expect(read(reading, &buffer, buffer.count) == count)
    #expect(file.wait(or: wakeUp, atMost: nil))
    #expect(try offer(line, to: file) == 3000)
  }
}
