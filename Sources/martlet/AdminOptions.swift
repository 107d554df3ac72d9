// How the commands find the running process: by its admin socket.

import ArgumentParser
import Configuration
import Primitives
import Server

struct AdminOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "The admin socket of the running process. By default the one that the configuration names, "
        + "else the one in the usual place.", valueName: "path"))
  var socket: String?

  @Option(
    name: .shortAndLong,
    help: ArgumentHelp(
      "The configuration file whose admin.socket is meant. By default config.json.",
      valueName: "file"))
  var config: String?

  /// Asks the running process; an error of its is an error of ours.
  func ask(_ method: String, _ path: String, body: String? = nil) throws -> [UInt8] {
    let response: BlockingClient.Response
    do throws(BlockingClient.Failure) {
      response = try client().ask(method, path, body: Array((body ?? "").utf8))
    } catch {
      throw fail(error.message)
    }
    if response.status < 300 { return response.body }
    throw fail(Self.reason(response))
  }

  /// Prints an answer that goes on, until it ends or nobody reads any more.
  func follow(_ path: String) throws {
    do throws(BlockingClient.Failure) {
      try client().stream("GET", path) { piece in
        writeOutput(String(decoding: piece, as: UTF8.self))
        return true
      }
    } catch {
      throw fail(error.message)
    }
  }

  private func client() -> BlockingClient { BlockingClient(to: .unix(path)) }

  private var path: String {
    if let socket { return socket }
    guard let file = try? ConfigurationFile.find(config),
      let configuration = Configuration.read(file.bytes, file: file.path).configuration,
      case .path(let path) = configuration.admin.socket
    else { return AdminSocket.standardPath }
    return path
  }

  private func fail(_ message: String) -> ExitCode {
    writeError("martlet: error: \(message)\n")
    return ExitCode(70)
  }

  /// What went wrong, in the words of the running process.
  private static func reason(_ response: BlockingClient.Response) -> String {
    for (name, value) in Configuration.simpleMembers(ofJSON: response.body) ?? [] {
      if name == "error", case .text(let text) = value { return text }
    }
    return String(decoding: response.body, as: UTF8.self)
  }
}

extension String {
  /// As one segment of a path (RFC 3986 3.3).
  var pathSegment: String {
    var result = ""
    for byte in utf8 {
      switch byte {
      case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F, 0x7E, 0x3A:
        result.unicodeScalars.append(Unicode.Scalar(byte))
      default:
        let digits = String(byte, radix: 16, uppercase: true)
        result += "%" + (digits.count < 2 ? "0" : "") + digits
      }
    }
    return result
  }
}
