// Options of the commands that connect to the running process, by its admin socket or address.

import ArgumentParser
import Configuration
import Primitives
import Reactor
import Server

struct AdminOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "The admin socket of the running process. Default: admin.socket of the configuration file.",
      valueName: "path"))
  var socket: String?

  @Option(
    name: .shortAndLong,
    help: ArgumentHelp(
      "The configuration file from which to read admin.socket. Default: config.json.",
      valueName: "file"))
  var config: String?

  @Option(
    help: ArgumentHelp(
      "The URL of the admin interface (admin.listen), to use instead of the socket.",
      valueName: "url"))
  var admin: String?

  @Option(
    help: ArgumentHelp(
      "With --admin https://: trust these authorities (PEM). Default: those of the system.",
      valueName: "file"))
  var ca: String?

  @Option(
    help: ArgumentHelp(
      "With --admin https://: present this client certificate (PEM).", valueName: "file"))
  var cert: String?

  @Option(help: ArgumentHelp("The private key of --cert (PEM).", valueName: "file"))
  var key: String?

  @Option(
    help: ArgumentHelp(
      "With --admin: send the token in this file (admin.token-file).", valueName: "file"))
  var tokenFile: String?

  func validate() throws {
    if admin != nil && socket != nil {
      throw ValidationError("--socket and --admin can't be used together")
    }
    if admin == nil && (ca != nil || cert != nil || key != nil || tokenFile != nil) {
      throw ValidationError("--ca, --cert, --key and --token-file require --admin")
    }
    if (cert == nil) != (key == nil) {
      throw ValidationError("--cert and --key must be used together")
    }
  }

  /// Sends a request to the running process. Prints an error, if any, and throws exit status 70.
  func ask(_ method: String, _ path: String, body: String? = nil) throws -> [UInt8] {
    try self.body(of: send(method, path, body: body))
  }

  /// Sends a request to the running process, and returns any response.
  func send(
    _ method: String, _ path: String, body: String? = nil
  ) throws -> BlockingClient.Response {
    do {
      return try client().ask(method, path, body: Array((body ?? "").utf8))
    } catch let failure as BlockingClient.Failure {
      throw fail(Self.reason(failure))
    }
  }

  /// The body of a response. For an error, prints it and throws the exit status.
  func body(of response: BlockingClient.Response) throws -> [UInt8] {
    if response.status < 300 { return response.body }
    throw fail(Self.reason(response))
  }

  /// Calls `line` for each line of a streaming response, until it ends.
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

  /// The path of the admin socket. A file given with --config must exist and be valid; the default
  /// config.json need not.
  private func socketPath() throws -> String {
    if let socket { return socket }
    guard let file = try ConfigurationFile.find(config) else { return AdminSocket.standardPath }
    let reading = Configuration.read(file.bytes, file: file.path)
    // Use admin.socket even if the default file has other errors, so that `reload` can print them.
    let configuration = config == nil ? reading.draft : try accept(reading)
    guard let configuration else { return AdminSocket.standardPath }
    guard let path = AdminSocket.path(in: configuration) else {
      throw fail("\(file.path): admin.socket is off; use --admin with the URL of admin.listen")
    }
    return path
  }

  private func fail(_ message: String) -> ExitCode {
    writeError("martlet: error: \(message)\n")
    return ExitCode(70)
  }

  private static func reason(_ failure: BlockingClient.Failure) -> String {
    if !failure.isUnreachable { return failure.message }
    return "\(failure.message); is Martlet running, and is this its admin address?"
  }

  /// The error in a response of the running process, with one line per reason.
  private static func reason(_ response: BlockingClient.Response) -> String {
    guard let reply = AdminReply(response.body), let error = reply["error"] else {
      return String(decoding: response.body, as: UTF8.self)
    }
    let reasons = reply["reasons"]?.items ?? []
    return reasons.reduce(error.text) { "\($0)\n\($1.text)" }
  }
}

extension String {
  /// Escaped as a segment of a path (RFC 3986 3.3).
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
