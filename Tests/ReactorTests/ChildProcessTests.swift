// Starting another process: what it inherits, what it doesn't, and how its end is reported.

import Glibc
import Reactor
import Testing

@Suite struct ChildProcessTests {
  private func shell(
    _ script: String, environment: [String] = [], descriptors: [Int32] = []
  ) throws -> ChildProcess {
    try ChildProcess(
      ["/bin/bash", "-c", script], environment: environment, descriptors: descriptors)
  }

  @Test func itsEndIsReportedAsStatusOrSignal() throws {
    #expect(try shell("exit 7").wait() == .exited(status: 7))
    #expect(try shell("kill -9 $$").wait() == .killed(signal: 9))
    let sleeping = try shell("exec sleep 600")
    #expect(CurrentProcess.exists(sleeping.id))
    sleeping.terminate()
    #expect(sleeping.wait() == .killed(signal: 15))
    #expect("\(ChildProcess.Ending.exited(status: 1))" == "exit status 1")
  }

  @Test func aProgramThatIsNotThereFailsByName() {
    #expect(throws: SystemError.noSuchFile) {
      try ChildProcess(["/no/such/program"], environment: [], descriptors: [])
    }
    #expect(throws: SystemError.permissionDenied) {
      try ChildProcess(["/dev/null"], environment: [], descriptors: [])
    }
  }

  @Test func itHasTheDescriptorsThatItWasGivenAndNoOthers() throws {
    // Read from /proc, since a redirection in the shell would open descriptors itself.
    let (ours, theirs) = try Descriptor.pair()
    let memory = try Descriptor.memory(Array("told in memory".utf8))
    let secret = try Descriptor.memory(Array("not told".utf8))
    let child = try shell(
      """
      cat <&\(memory.number) >&\(theirs.number)
      [ -e /proc/$$/fd/\(secret.number) ] || printf ', alone' >&\(theirs.number)
      printf ", $COLOUR" >&\(theirs.number)
      """,
      environment: ["COLOUR=red", "PATH=/usr/bin:/bin"],
      descriptors: [theirs.number, memory.number])
    #expect(child.wait() == .exited(status: 0))
    shutdown(theirs.number, Int32(SHUT_WR))
    #expect(
      String(decoding: try ours.readAll(limit: 1000), as: UTF8.self)
        == "told in memory, alone, red")
    withExtendedLifetime((memory, secret)) {}
  }

  @Test func aFileInMemoryIsReadFromItsBeginning() throws {
    let bytes = (0..<100_000).map { UInt8(truncatingIfNeeded: $0) }
    let memory = try Descriptor.memory(bytes)
    #expect(throws: SystemError.fileTooLarge) { try memory.readAll(limit: 99_999) }
    #expect(try Descriptor.memory(bytes).readAll(limit: 100_000) == bytes)
  }

  @Test func aVariableThatIsTakenIsGone() {
    setenv("MARTLET_TEST_VARIABLE", "value", 1)
    #expect(Environment.all.contains("MARTLET_TEST_VARIABLE=value"))
    #expect(Environment.take("MARTLET_TEST_VARIABLE") == "value")
    #expect(Environment.take("MARTLET_TEST_VARIABLE") == nil)
    #expect(!Environment.all.contains { $0.hasPrefix("MARTLET_TEST_VARIABLE=") })
  }

  @Test func theProgramOfThisProcessIsKnown() throws {
    let program = try #require(CurrentProcess.program)
    #expect(program.hasPrefix("/"))
    #expect(access(program, X_OK) == 0)
  }
}
