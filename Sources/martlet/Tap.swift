// `martlet tap`: shows requests of the running process, and connections of TCP listeners, when they
// end.

import ArgumentParser
import Configuration
import Server

struct Tap: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show each request when it ends, until Ctrl-C.",
    discussion: """
      Prints one line per request (exchange): time, client, request, version of HTTP, status, \
      status of gRPC for calls, result, bytes sent, duration, and each attempt. A connection of a \
      TCP listener has TCP, the server name (SNI), the listener with its pool, the result, and the \
      bytes received from and sent to the client. With --json it prints the line of a JSON access \
      log. If there are too many requests to show, some are skipped.

      EXAMPLES
        martlet tap --status 500
        martlet tap --text '"pool":"cache"'
        martlet tap --json --text /api/ | jq '.attempts[].backend'
      """)

  @OptionGroup var admin: AdminOptions

  @Option(
    help: ArgumentHelp(
      "Show only requests with this status or a higher one.", valueName: "status"),
    transform: Tap.status)
  var status = 0

  @Option(
    help: ArgumentHelp(
      "Show only requests whose line, as --json prints it, contains this text.",
      valueName: "text"))
  var text = ""

  @Flag(help: "Print JSON.")
  var json = false

  private static func status(_ text: String) throws -> Int {
    if let status = Int(text), (0...999).contains(status) { return status }
    throw ValidationError(
      "'\(text)' is not a status; write one such as 500, which also shows higher ones")
  }

  func run() throws {
    try admin.follow("/v1/tap?status=\(status)&text=\(text.pathSegment)") { line in
      let readable = json ? nil : AdminReply(Array(line)).map(Self.readable)
      writeOutput((readable ?? String(decoding: line, as: UTF8.self)) + "\n")
    }
  }

  /// `time client METHOD host target HTTP/2 status grpc-status 14 result sent ms [backend result
  /// ms, ...]`; only calls of gRPC have a status of gRPC. Of a connection `time client TCP sni
  /// listener>pool result received bytes sent bytes ms [...]`.
  private static func readable(_ exchange: AdminReply) -> String {
    func part(_ name: String) -> String {
      let text = exchange[name]?.text ?? ""
      return text.isEmpty ? "-" : text
    }
    let attempts = (exchange["attempts"]?.items ?? []).map { attempt in
      ["backend", "result", "ms"].compactMap { attempt[$0]?.text }.joined(separator: " ") + "ms"
    }
    let result = [exchange["failure"]?.text ?? "ok", exchange["reason"]?.text]
      .compactMap(\.self).joined(separator: ":")
    let end = "\(part("ms"))ms [\(attempts.joined(separator: ", "))]"
    if let kind = exchange["kind"]?.text {
      return [
        part("time"), part("client"), kind.uppercased(), part("sni"),
        "\(part("listener"))>\(part("pool"))", result, "received", part("received"), "sent",
        part("sent"), end,
      ].joined(separator: " ")
    }
    let version = (exchange["version"]?.text).map { "HTTP/\($0)" } ?? "-"
    let call = (exchange["grpc_status"]?.text).map { " grpc-status \($0)" } ?? ""
    return [
      part("time"), part("client"), part("method"), part("host"), part("target"), version,
      part("status") + call, result, part("sent"), end,
    ].joined(separator: " ")
  }
}
