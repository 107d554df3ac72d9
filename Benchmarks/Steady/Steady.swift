// The command `steady`: requests one path of a server at a constant rate, and reports the latency.
//
// The load is open-loop: a request becomes due at its time, whatever the server does, and its
// latency counts from then. A generator that waits for a response before the next request (wrk,
// h2load) doesn't send exactly those requests that a stall would have delayed. It supports plain
// HTTP/1.1 on the loopback interface only; README.md in the parent directory explains the figures.

import ArgumentParser
import Reactor

@main
struct Steady: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "steady",
    abstract: "Load a server on 127.0.0.1 at a constant rate, and tell its latency.",
    discussion: """
      Opens all connections, asks for half a second uncounted, then for --seconds, and prints one \
      line of JSON. Latencies are in microseconds, from when a request was due until its last byte \
      was there. "late" counts the requests that found every connection busy. An error is any \
      request without a whole 200 within 10 seconds of the end, and any connection that the server \
      closed.

      EXAMPLES
        steady --port 8080 --path /small --rate 20000 --seconds 10

      EXIT STATUS
        0   the load was offered, whatever came back
        1   the connections could not be opened
        64  the command line is wrong
      """)

  @Option(help: ArgumentHelp("The port on 127.0.0.1, 1 to 65535.", valueName: "port"))
  var port: Int

  @Option(help: ArgumentHelp("What is asked for.", valueName: "path"))
  var path = "/"

  @Option(help: ArgumentHelp("Requests a second, 1 to 200000.", valueName: "count"))
  var rate = 1000

  @Option(help: ArgumentHelp("How long is counted, 1 to 600.", valueName: "count"))
  var seconds = 10

  @Option(help: ArgumentHelp("Connections kept open, 1 to 4000.", valueName: "count"))
  var connections = 64

  private static let pathByteCount = 2000

  func validate() throws {
    let bounds = [
      ("port", port, 65535), ("rate", rate, 200_000), ("seconds", seconds, 600),
      ("connections", connections, 4000),
    ]
    for (name, value, most) in bounds where value < 1 || value > most {
      throw ValidationError("--\(name): \(value) is not 1 to \(most)")
    }
    let isPath =
      path.hasPrefix("/") && path.utf8.count <= Self.pathByteCount
      && path.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F }
    if !isPath {
      throw ValidationError(
        "--path: write one that begins with / and has at most \(Self.pathByteCount) visible"
          + " ASCII characters")
    }
  }

  func run() throws {
    _ = DescriptorLimit.raise()
    var generator = try LoadGenerator(
      io: EpollIO(wakeUp: WakeUp()), timer: KernelTimer(), port: UInt16(port), path: path,
      connectionCount: connections, schedule: Schedule(rate: rate, seconds: seconds))
    print(try generator.run())
  }
}
