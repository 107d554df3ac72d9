// How the commands find the running process: by its admin socket, or by its admin address.

import ArgumentParser
import Configuration
import Primitives
import Reactor
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

  @Option(
    help: ArgumentHelp(
      "The address of the running process, as its admin.listen has it, in place of a socket.",
      valueName: "url"))
  var admin: String?

  @Option(
    help: ArgumentHelp(
      "With --admin https://: trust these authorities (PEM). By default those of the system.",
      valueName: "file"))
  var ca: String?

  @Option(
    help: ArgumentHelp(
      "With --admin https://: show this certificate (PEM).", valueName: "file"))
  var cert: String?

  @Option(help: ArgumentHelp("The private key that goes with --cert (PEM).", valueName: "file"))
  var key: String?

  @Option(
    help: ArgumentHelp(
      "With --admin: show the token in this file, as admin.token-file has it.",
      valueName: "file"))
  var tokenFile: String?

  func validate() throws {
    if admin != nil && socket != nil {
      throw ValidationError("--socket and --admin name two processes; give one")
    }
    if admin == nil && (ca != nil || cert != nil || key != nil || tokenFile != nil) {
      throw ValidationError("--ca, --cert, --key and --token-file go with --admin")
    }
    if (cert == nil) != (key == nil) {
      throw ValidationError("--cert and --key go together")
    }
  }

  /// Asks the running process; an error of its is an error of ours.
  func ask(_ method: String, _ path: String, body: String? = nil) throws -> [UInt8] {
    let response: BlockingClient.Response
    do {
      response = try client().ask(method, path, body: Array((body ?? "").utf8))
    } catch let failure as BlockingClient.Failure {
      throw fail(Self.reason(failure))
    }
    if response.status < 300 { return response.body }
    throw fail(Self.reason(response))
  }

  /// Passes on the lines of an answer that goes on, until it ends.
  func follow(_ path: String, line: (ArraySlice<UInt8>) -> Void) throws {
    var rest: [UInt8] = []
    do {
      try client().stream("GET", path) { piece in
        rest += piece
        while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
          line(rest[..<end])
          rest.removeSubrange(...end)
        }
        return true
      }
    } catch let failure as BlockingClient.Failure {
      throw fail(Self.reason(failure))
    }
  }

  private func client() throws -> BlockingClient {
    guard let admin else { return BlockingClient(to: .unix(try socketPath())) }
    var credentials = BlockingClient.Credentials()
    credentials.authority = ca
    if let cert, let key { credentials.certificate = (cert, key) }
    if let tokenFile {
      do throws(SystemError) {
        let text = String(decoding: try File.readStream(tokenFile, limit: 4096), as: UTF8.self)
        credentials.token = text.filter { !$0.isWhitespace }
      } catch {
        throw BlockingClient.Failure(message: "\(tokenFile): \(error)")
      }
    }
    return try BlockingClient(url: admin, credentials)
  }

  /// The socket to ask. A file that was named must be there and valid; config.json need not.
  private func socketPath() throws -> String {
    if let socket { return socket }
    guard let file = try ConfigurationFile.find(config) else { return AdminSocket.standardPath }
    let reading = Configuration.read(file.bytes, file: file.path)
    let configuration = config == nil ? reading.configuration : try accept(reading)
    guard let configuration else { return AdminSocket.standardPath }
    guard let path = AdminSocket.path(in: configuration) else {
      throw fail("\(file.path): admin.socket is off; give --admin with the address of admin.listen")
    }
    return path
  }

  private func fail(_ message: String) -> ExitCode {
    writeError("martlet: error: \(message)\n")
    return ExitCode(70)
  }

  private static func reason(_ failure: BlockingClient.Failure) -> String {
    if !failure.isUnreachable { return failure.message }
    return "\(failure.message); is Martlet running, with this as its admin address?"
  }

  /// What went wrong, as the running process says it: the error, and a line for each reason.
  private static func reason(_ response: BlockingClient.Response) -> String {
    guard let reply = AdminReply(response.body), let error = reply["error"] else {
      return String(decoding: response.body, as: UTF8.self)
    }
    let reasons = reply["reasons"]?.items ?? []
    return reasons.reduce(error.text) { "\($0)\n\($1.text)" }
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
