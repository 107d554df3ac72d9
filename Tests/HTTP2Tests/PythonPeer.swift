// Independent implementations, Python's hpack and h2, run as processes.

import Foundation

enum PythonPeer {
  private static func process(_ script: String, _ arguments: [String]) -> Process {
    let folder = (#filePath as NSString).deletingLastPathComponent + "/Peers/"
    let process = Process()
    // Debian's own Python, for which scripts/set-up installs the packages.
    process.executableURL = URL(fileURLWithPath: "/usr/bin/python3")
    process.arguments = [folder + script] + arguments
    return process
  }

  /// A line of output for each line of input.
  static func answers(of script: String, to lines: [String]) throws -> [String] {
    let folder = NSTemporaryDirectory() + "martlet-http2-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let text = lines.map { $0 + "\n" }.joined()
    try text.write(toFile: folder + "/in", atomically: false, encoding: .utf8)
    _ = FileManager.default.createFile(atPath: folder + "/out", contents: nil)
    let process = process(script, [])
    process.standardInput = try FileHandle(forReadingFrom: URL(fileURLWithPath: folder + "/in"))
    process.standardOutput = try FileHandle(forWritingTo: URL(fileURLWithPath: folder + "/out"))
    try process.run()
    process.waitUntilExit()
    let output = try String(contentsOfFile: folder + "/out", encoding: .utf8)
    let answers = output.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    guard process.terminationStatus == 0, answers.count == lines.count + 1 else {
      throw PeerFailure(description: "\(script): \(answers.count - 1) lines for \(lines.count)")
    }
    return answers.dropLast()
  }

  /// A process with which messages are exchanged in turn, each preceded by its length.
  final class Talk {
    private let process: Process
    private let toPeer = Pipe()
    private let fromPeer = Pipe()

    init(_ script: String, _ arguments: [String]) throws {
      process = PythonPeer.process(script, arguments)
      process.standardInput = toPeer
      process.standardOutput = fromPeer
      try process.run()
    }

    func exchange(_ message: [UInt8]) throws -> [UInt8] {
      let length = Wire.number(UInt32(message.count))
      try toPeer.fileHandleForWriting.write(contentsOf: Data(length + message))
      let head = try read(4)
      return try read(head.reduce(0) { $0 << 8 | Int($1) })
    }

    private func read(_ count: Int) throws -> [UInt8] {
      var bytes: [UInt8] = []
      while bytes.count < count {
        let more = try fromPeer.fileHandleForReading.read(upToCount: count - bytes.count)
        guard let more, !more.isEmpty else { throw PeerFailure(description: "the peer is gone") }
        bytes += more
      }
      return bytes
    }

    func end() {
      try? toPeer.fileHandleForWriting.close()
      process.waitUntilExit()
    }
  }
}

struct PeerFailure: Error, CustomStringConvertible {
  let description: String
}
