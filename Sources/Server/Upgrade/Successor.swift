// The process that is to take over from this one, seen from here.
//
// It is started by the path by which this one was, so that a file which was put there since is
// what runs. It shares the standard streams, so that whatever it complains of stands in the same
// log.

import Primitives
import Reactor

struct Successor: Sendable {
  enum Report: Sendable {
    /// It serves.
    case ready
    /// It has ended, perhaps after saying why.
    case ended(ChildProcess.Ending, reason: String)
  }

  let process: ChildProcess
  /// Over which it reports, and gets the sessions of UDP listeners.
  let channel: Descriptor
  let givesUpAt: Instant
  /// It took too long, and was killed.
  var isOverdue = false
  /// A reload was asked for meanwhile: one for this process, if it goes on.
  var reloadsAfter = false

  /// Starts it with all that `handover` names. `report` is called once, from another thread.
  init(
    _ handover: Handover, within limit: TimeSpan, report: @escaping @Sendable (Report) -> Void
  ) throws(SystemError) {
    let (channel, theirs) = try Descriptor.pair()
    let memory = try Descriptor.memory(handover.bytes)
    let variable = "\(CurrentProcess.id):\(memory.number):\(theirs.number)"
    let passed = handover.sockets.flatMap(\.descriptors) + [memory.number, theirs.number]
    // Both must stay open until the child has its own.
    let process = try withExtendedLifetime((memory, theirs)) { () throws(SystemError) in
      try Self.start(
        Environment.all + ["\(Predecessor.variable)=\(variable)"], passing: passed)
    }
    self.process = process
    self.channel = channel
    givesUpAt = SystemClock.monotonic() + limit
    do throws(SystemError) {
      _ = try Thread(name: "successor") {
        report(Self.report(of: process, over: channel))
      }
    } catch {
      process.kill()
      _ = process.wait()
      throw error
    }
  }

  private static func start(
    _ environment: [String], passing descriptors: [Int32]
  ) throws(SystemError) -> ChildProcess {
    var arguments = CommandLine.arguments
    do throws(SystemError) {
      return try ChildProcess(arguments, environment: environment, descriptors: descriptors)
    } catch {
      // Whoever started this process may have called it what it liked.
      guard error == .noSuchFile, let program = CurrentProcess.program else { throw error }
      arguments[0] = program
      return try ChildProcess(arguments, environment: environment, descriptors: descriptors)
    }
  }

  /// Waits for what it says. One that won't serve isn't left running.
  private static func report(of process: ChildProcess, over channel: Descriptor) -> Report {
    let bytes = (try? channel.readAll(limit: 64 * 1024)) ?? []
    let text = String(decoding: bytes, as: UTF8.self)
    if text == Predecessor.readyMessage { return .ready }
    // Without a word it has ended already, or it has closed the channel and makes no sense.
    if text.isEmpty { process.kill() }
    return .ended(process.wait(), reason: text)
  }
}
