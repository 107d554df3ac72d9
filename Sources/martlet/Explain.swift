// `martlet explain`: shows which route, pool and backends a request would get.

import ArgumentParser
import Configuration
import Server

struct Explain: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show which route and backend a request would get, without sending it.",
    discussion: """
      Prints the listener, the route, the pool, and for each backend whether it can be selected, \
      with the reason.

      EXAMPLES
        martlet explain GET https://www.example.com/api/users
        martlet explain tcp 127.0.0.1:5432           a connection to a TCP listener
        martlet explain tls db.example.com:5432      with this server name (SNI)
        martlet explain udp 127.0.0.1:53             a datagram to a UDP listener
      """)

  @OptionGroup var admin: AdminOptions

  @Argument(help: "The method, such as GET; tcp or tls for a connection, udp for a datagram.")
  var method: String

  @Argument(
    help: "The whole URL, with https:// or http://; for a connection HOST:PORT or HOST:PORT/ALPN.")
  var url: String

  @Flag(help: "Print JSON.")
  var json = false

  func run() throws {
    let url = ["tcp", "tls", "udp"].contains(method) ? "\(method)://\(url)" : url
    let body = try admin.ask(
      "GET", "/v1/explain?method=\(method.pathSegment)&url=\(url.pathSegment)")
    let readable = json ? nil : AdminReply(body).map(Self.readable)
    writeOutput(readable ?? String(decoding: body, as: UTF8.self) + "\n")
  }

  private static func readable(_ answer: AdminReply) -> String {
    let names = [
      "method", "url", "listener", "accepts", "note", "path", "route", "action", "stages", "pool",
      "strategy", "protocol", "sends", "order", "answer",
    ]
    let facts = names.compactMap { name in answer[name].map { [name, $0.text] } }
    let columns = ["backend", "protocol", "weight", "active", "verdict"]
    let candidates = (answer["candidates"]?.items ?? []).map { candidate in
      columns.map { column in
        let text = candidate[column]?.text ?? ""
        return text.isEmpty ? "-" : text
      }
    }
    var lines = TextTable.lines(facts)
    if !candidates.isEmpty {
      lines.append("")
      lines += TextTable.lines([columns.map { $0.uppercased() }] + candidates)
    }
    return lines.joined(separator: "\n") + "\n"
  }
}
