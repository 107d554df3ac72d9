// Reads the configuration file, and writes to the standard streams. These are the only file
// operations of the command line; the target Configuration has none.

import ArgumentParser
import Primitives
import Reactor

/// A configuration file: its path and its text.
struct ConfigurationFile {
  static let standardPath = "config.json"
  /// Larger than the limit of the JSON reader, which has the better message.
  private static let maxByteCount = 16 * 1024 * 1024

  let path: String
  let bytes: [UInt8]

  /// The file at `path`; without a path config.json if it exists. If the file cannot be read,
  /// prints the reason and throws the exit status 1. `isAny` allows a pipe.
  static func find(_ path: String?, isAny: Bool = false) throws -> ConfigurationFile? {
    do throws(SystemError) {
      return try read(path, isAny: isAny)
    } catch {
      writeError("\(path ?? standardPath): error: the file can't be read: \(error.ofFile)\n")
      throw ExitCode(1)
    }
  }
}

extension ConfigurationFile {
  /// The same, without a message.
  static func read(
    _ path: String?, isAny: Bool = false
  ) throws(SystemError) -> ConfigurationFile? {
    let place = path ?? standardPath
    do throws(SystemError) {
      return ConfigurationFile(
        path: place,
        bytes: isAny
          ? try File.readStream(place, limit: maxByteCount)
          : try File.read(place, limit: maxByteCount))
    } catch {
      if path == nil && error == .noSuchFile { return nil }
      throw error
    }
  }
}

/// Writes to the standard error, which has no buffer. Waits for a reader that has stopped only for
/// a limited time, since a serving process writes there too.
func writeError(_ text: String) { StandardError.shared.write(text, atMost: .seconds(2)) }

/// Writes to the standard output.
func writeOutput(_ text: String) {
  guard let output = try? OutputFile(.standardOutput) else { return }
  let bytes = Array(text.utf8)
  var written = 0
  while written < bytes.count {
    // The stream is closed or broken: there is nowhere to report it.
    guard let count = try? output.write(bytes.span.extracting(written...)) else { return }
    written += count
  }
}
