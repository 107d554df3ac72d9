// Independent parsers, each run as a process that reads all cases and then ends.

import Foundation

enum PeerParser: CaseIterable {
  case llhttp, h11

  private var command: [String] {
    let folder = (#filePath as NSString).deletingLastPathComponent + "/Peers/"
    return switch self {
    case .llhttp: ["/usr/bin/env", "node", folder + "read-with-llhttp.js"]
    case .h11: ["/usr/bin/python3", folder + "read-with-h11.py"]
    }
  }

  /// The readings of this parser, one per case.
  func read(_ cases: [[UInt8]]) throws -> [Reading] {
    let folder = NSTemporaryDirectory() + "martlet-differential-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let lines = cases.map { hex($0) + "\n" }.joined()
    try lines.write(toFile: folder + "/in", atomically: false, encoding: .utf8)
    _ = FileManager.default.createFile(atPath: folder + "/out", contents: nil)

    let process = Process()
    process.executableURL = URL(fileURLWithPath: command[0])
    process.arguments = Array(command.dropFirst())
    process.environment = ProcessInfo.processInfo.environment.merging(
      ["NODE_NO_WARNINGS": "1"]) { $1 }
    process.standardInput = try FileHandle(
      forReadingFrom: URL(fileURLWithPath: folder + "/in"))
    process.standardOutput = try FileHandle(
      forWritingTo: URL(fileURLWithPath: folder + "/out"))
    try process.run()
    process.waitUntilExit()
    let output = try String(contentsOfFile: folder + "/out", encoding: .utf8)
    let readings = output.split(separator: "\n").map(Reading.init(line:))
    guard process.terminationStatus == 0, readings.count == cases.count else {
      throw PeerFailure(
        description: "\(self): exit status \(process.terminationStatus), "
          + "\(readings.count) lines for \(cases.count) cases")
    }
    return readings
  }
}

struct PeerFailure: Error, CustomStringConvertible {
  let description: String
}
