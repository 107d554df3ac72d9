// `martlet explain`: shows which route, pool and backends a request or a connection would get.

import ArgumentParser
import Configuration
import Server

struct Explain: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show which route and backend a request would get, without sending it.",
    discussion: """
      Prints the listener, the route, the pool, and for each backend whether it can be selected, \
      with the reason. If the strategy has a fixed backend for each client or key (ip-hash, \
      maglev, stickiness), --client and --header select it.

      EXAMPLES
        martlet explain GET https://www.example.com/api/users
        martlet explain --header 'X-Tenant: a' GET https://www.example.com/
        martlet explain tcp 127.0.0.1:5432           a connection to a TCP listener
        martlet explain --client 192.0.2.7 tcp 127.0.0.1:5432
        martlet explain tls db.example.com:5432      with this server name (SNI)
        martlet explain udp 127.0.0.1:53             a datagram to a UDP listener
      """)

  @OptionGroup var admin: AdminOptions

  @Argument(help: "The method, such as GET; tcp or tls for a connection, udp for a datagram.")
  var method: String

  @Argument(
    help: "The whole URL, with https:// or http://; for a connection HOST:PORT or HOST:PORT/ALPN.")
  var url: String

  @Option(
    help: ArgumentHelp(
      "A header of the request, such as 'Cookie: id=7'. It can be repeated.",
      valueName: "name:value"))
  var header: [String] = []

  @Option(
    help: ArgumentHelp(
      "The client's address, or address and port.", valueName: "address"))
  var client: String?

  @Flag(help: "Print JSON.")
  var json = false

  func run() throws {
    let isConnection = ["tcp", "tls", "udp"].contains(method)
    let url = isConnection ? "\(method)://\(url)" : url
    var query = "method=\(method.pathSegment)&url=\(url.pathSegment)"
    if let client { query += "&client=\(client.pathSegment)" }
    if !header.isEmpty { query += "&headers=\(header.joined(separator: "\n").pathSegment)" }
    let body = try admin.ask("GET", "/v1/explain?\(query)")
    let readable = json ? nil : AdminReply(body).map(Self.readable)
    writeOutput(readable ?? String(decoding: body, as: UTF8.self) + "\n")
  }

  private static func readable(_ answer: AdminReply) -> String {
    let names = [
      "method", "url", "listener", "accepts", "note", "path", "route", "action", "stages", "pool",
      "strategy", "protocol", "sends", "order", "key", "backend", "answer",
    ]
    let facts = names.compactMap { name in answer[name].map { [name, $0.text] } }
    // Connections have no version of HTTP.
    let columns = ["backend", "protocol", "weight", "active", "verdict"].filter { column in
      column != "protocol" || !["tcp", "udp"].contains(answer["protocol"]?.text ?? "")
    }
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
