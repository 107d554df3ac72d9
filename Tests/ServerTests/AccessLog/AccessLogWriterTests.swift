// The thread that writes the access log: no line that fits is lost, and workers don't wait for it.

import Glibc
import Primitives
import Reactor
import Synchronization
import Testing

@testable import Server

@Suite struct AccessLogWriterTests {
  /// The writer's reports, and a signal for each.
  private final class Reports: Sendable {
    let events = Mutex<[AccessLogWriter.Event]>([])
    let wakeUp: WakeUp
    init() throws { wakeUp = try WakeUp() }

    func add(_ event: AccessLogWriter.Event) {
      events.withLock { $0.append(event) }
      wakeUp.signal()
    }

    /// The events when there are `count` of them, or those after 10 seconds.
    func first(_ count: Int) -> [AccessLogWriter.Event] {
      let limit = SystemClock.monotonic() + .seconds(10)
      while events.withLock({ $0.count }) < count, SystemClock.monotonic() < limit {
        wakeUp.wait(atMost: limit - SystemClock.monotonic())
      }
      return events.withLock { $0 }
    }
  }

  private func scratchPath() -> String {
    "/tmp/martlet-\(getpid())-\(UInt32.random(in: 0 ... .max)).log"
  }

  private func lines(_ path: String) throws -> [String] {
    String(decoding: try File.read(path, limit: 1 << 26), as: UTF8.self)
      .split(separator: "\n").map(String.init)
  }

  private func append(_ text: String, _ writer: AccessLogWriter, _ worker: Int) -> Bool {
    writer.producer(worker).append(Array("\(text)\n".utf8).span)
  }

  @Test func everyLineOfEveryWorkerIsWrittenOnceWholeAndInOrder() throws {
    let path = scratchPath()
    defer { unlink(path) }
    let reports = try Reports()
    let writer = try AccessLogWriter(
      .file(OutputFile(.file(path: path))), producerCount: 3, ringByteCount: 1 << 12,
      report: reports.add)
    let threads = try (0..<3).map { worker in
      let producer = writer.producer(worker)
      return try Thread(name: "worker") {
        for number in 0..<5000 {
          // The ring is much smaller than the lines together.
          while !producer.append(Array("\(worker) \(number)\n".utf8).span) { sched_yield() }
        }
      }
    }
    for thread in threads { thread.join() }
    #expect(writer.stop())
    var next = [0, 0, 0]
    for line in try lines(path) {
      let parts = line.split(separator: " ").compactMap { Int($0) }
      try #require(parts.count == 2 && parts[0] < 3)
      #expect(parts[1] == next[parts[0]])
      next[parts[0]] = parts[1] + 1
    }
    #expect(next == [5000, 5000, 5000])
    #expect(reports.events.withLock { $0 }.isEmpty)
    var status = stat()
    stat(path, &status)
    #expect(status.st_mode & 0o007 == 0)
  }

  @Test func aLineWakesTheSleepingWriter() throws {
    let path = scratchPath()
    #expect(mkfifo(path, 0o600) == 0)
    defer { unlink(path) }
    let reading = open(path, O_RDWR)
    defer { close(reading) }
    let writer = try AccessLogWriter(
      .file(OutputFile(.file(path: path))), producerCount: 1
    ) { _ in }
    for number in 0..<5 {
      while !writer.isAsleep { sched_yield() }
      #expect(append("line \(number)", writer, 0))
      var buffer = [UInt8](repeating: 0, count: 100)
      var request = pollfd(fd: reading, events: Int16(POLLIN), revents: 0)
      try #require(poll(&request, 1, 10_000) == 1)
      let count = read(reading, &buffer, buffer.count)
      #expect(String(decoding: buffer.prefix(count), as: UTF8.self) == "line \(number)\n")
    }
    #expect(writer.stop())
  }

  @Test func aTargetThatBlocksLosesLinesAndDelaysNothing() throws {
    let path = scratchPath()
    #expect(mkfifo(path, 0o600) == 0)
    defer { unlink(path) }
    let reading = open(path, O_RDWR)
    let writer = try AccessLogWriter(
      .file(OutputFile(.file(path: path))), producerCount: 1, ringByteCount: 1 << 17
    ) { _ in }
    let line = [UInt8](repeating: 0x78, count: 999) + [0x0A]
    // There is no reader: the pipe holds 64 KiB and the ring twice as much.
    var kept = 0
    for _ in 0..<1000 where writer.producer(0).append(line.span) { kept += 1 }
    #expect(kept >= 131)
    #expect(kept <= 197)
    #expect(!writer.stop(atMost: .milliseconds(20)))
    // The kept lines are written when the reader is back.
    var received = 0
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while received < kept * 1000 {
      let count = read(reading, &buffer, buffer.count)
      try #require(count > 0)
      received += count
    }
    #expect(received == kept * 1000)
    #expect(writer.stop())
    close(reading)
  }

  @Test func aFullDiskIsReportedOnceAndItsLinesWaitUntilItIsOver() throws {
    let path = scratchPath()
    defer { unlink(path) }
    let reports = try Reports()
    let writer = try AccessLogWriter(
      .file(OutputFile(.file(path: "/dev/full"))), producerCount: 2, report: reports.add)
    #expect(append("first", writer, 1))
    #expect(reports.first(1) == [.failed(SystemError(code: ENOSPC))])
    #expect(append("second", writer, 1))
    writer.reopen()
    writer.write(to: .file(try OutputFile(.file(path: path))))
    #expect(reports.first(2).last == .recovered)
    #expect(writer.stop())
    #expect(try lines(path) == ["first", "second"])
    #expect(reports.events.withLock { $0.count } == 2)
  }

  @Test func afterARotationLinesGoToTheNewFile() throws {
    let path = scratchPath()
    let rotated = path + ".1"
    defer {
      unlink(path)
      unlink(rotated)
    }
    let writer = try AccessLogWriter(
      .file(OutputFile(.file(path: path))), producerCount: 1
    ) { _ in }
    #expect(append("old", writer, 0))
    while try lines(path).isEmpty { sched_yield() }
    #expect(rename(path, rotated) == 0)
    writer.reopen()
    while access(path, F_OK) != 0 { sched_yield() }
    #expect(append("new", writer, 0))
    #expect(writer.stop())
    #expect(try lines(rotated) == ["old"])
    #expect(try lines(path) == ["new"])
  }

  @Test func `a file that is rotated away or replaced is closed, also the first one`() throws {
    let (path, other) = (scratchPath(), scratchPath())
    defer { for name in [path, path + ".1", other] { unlink(name) } }
    let writer = try AccessLogWriter(
      .file(OutputFile(.file(path: path))), producerCount: 1
    ) { _ in }
    #expect(append("old", writer, 0))
    while try lines(path).isEmpty { sched_yield() }
    #expect(rename(path, path + ".1") == 0)
    writer.reopen()
    while isOpen(path + ".1") { sched_yield() }
    while !isOpen(path) { sched_yield() }
    writer.write(to: .file(try OutputFile(.file(path: other))))
    while isOpen(path) { sched_yield() }
    #expect(writer.stop())
  }

  /// The file of a reload may be moved away before the writer has opened it.
  @Test func `a request to reopen isn't lost when another file is opened`() throws {
    let path = scratchPath()
    defer { for name in [path, path + ".1"] { unlink(name) } }
    let file = LogOutput.file(try OutputFile(.file(path: path)))
    #expect(rename(path, path + ".1") == 0)
    let writer = try AccessLogWriter(file, producerCount: 1) { _ in }
    writer.write(to: file)
    writer.reopen()
    while access(path, F_OK) != 0 { sched_yield() }
    #expect(append("new", writer, 0))
    #expect(writer.stop())
    #expect(try lines(path) == ["new"])
  }

  @Test func aFileThatCannotBeReopenedStaysInUse() throws {
    let folder = scratchPath()
    let path = folder + "/log"
    #expect(mkdir(folder, 0o700) == 0)
    let reports = try Reports()
    let writer = try AccessLogWriter(
      .file(OutputFile(.file(path: path))), producerCount: 1, report: reports.add)
    unlink(path)
    rmdir(folder)
    writer.reopen()
    #expect(reports.first(1) == [.reopenFailed(.noSuchFile)])
    #expect(append("still", writer, 0))
    #expect(writer.stop())
    #expect(reports.events.withLock { $0.count } == 1)
  }

  @Test func withoutAFileLinesAreDroppedUntilThereIsOne() throws {
    let path = scratchPath()
    defer { unlink(path) }
    let writer = try AccessLogWriter(nil, producerCount: 1) { _ in }
    #expect(append("before", writer, 0))
    while !writer.isAsleep { sched_yield() }
    writer.reopen()
    writer.write(to: .file(try OutputFile(.file(path: path))))
    #expect(append("first", writer, 0))
    while try lines(path).isEmpty { sched_yield() }
    // Lines appended before the end are written, and then the file is closed.
    #expect(append("last", writer, 0))
    writer.write(to: nil)
    while isOpen(path) { sched_yield() }
    #expect(try lines(path) == ["first", "last"])
    #expect(append("after", writer, 0))
    writer.write(to: .file(try OutputFile(.file(path: path))))
    #expect(append("again", writer, 0))
    #expect(writer.stop())
    #expect(try lines(path).starts(with: ["first", "last"]))
    #expect(try lines(path).last == "again")
  }

  /// Whether this process has the file open.
  private func isOpen(_ path: String) -> Bool {
    (0..<256).contains { descriptor in
      var target = [CChar](repeating: 0, count: 256)
      let count = readlink("/proc/self/fd/\(descriptor)", &target, 255)
      return count > 0 && String(decoding: target[..<count].map(UInt8.init), as: UTF8.self) == path
    }
  }
}
