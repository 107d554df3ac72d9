// Reads the configuration file, and writes to the standard streams. These are the only file
// operations of the command line; the target Configuration has none.

import ArgumentParser
import Reactor

/// A configuration file: its path and its text.
struct ConfigurationFile {
  static let standardPath = "config.json"
  /// Larger than the limit of the JSON reader, which has the better message.
  private static let maxByteCount = 16 * 1024 * 1024

  let path: String
  let bytes: [UInt8]

  /// The file at `path`; without a path config.json if it exists. If the file can't be read, prints
  /// the reason and throws exit status 1.
  static func find(_ path: String?) throws -> ConfigurationFile? {
    do throws(SystemError) {
      return try read(path)
    } catch {
      writeError("\(path ?? standardPath): error: the file can't be read: \(error)\n")
      throw ExitCode(1)
    }
  }
}

extension ConfigurationFile {
  /// The same, without printing anything.
  static func read(_ path: String?) throws(SystemError) -> ConfigurationFile? {
    do throws(SystemError) {
      return ConfigurationFile(
        path: path ?? standardPath,
        bytes: try File.read(path ?? standardPath, limit: maxByteCount))
    } catch {
      if path == nil && error == .noSuchFile { return nil }
      throw error
    }
  }
}

/// Writes to the standard error, unbuffered.
func writeError(_ text: String) { write(text, to: .standardError) }

/// Writes to the standard output.
func writeOutput(_ text: String) { write(text, to: .standardOutput) }

private func write(_ text: String, to target: OutputTarget) {
  guard let output = try? OutputFile(target) else { return }
  let bytes = Array(text.utf8)
  var written = 0
  while written < bytes.count {
    // The stream is closed or broken: there is nowhere to report it.
    guard let count = try? output.write(bytes.span.extracting(written...)) else { return }
    written += count
  }
}
