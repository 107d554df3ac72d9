// HTTP/1 messages for tests: deliberately simple, without any of Martlet's code.

import Foundation

struct Message {
  /// The request line or the status line.
  var line: String
  var fields: [(name: String, value: String)] = []
  var body: [UInt8] = []
  var trailers: [(name: String, value: String)] = []

  var words: [String] { line.split(separator: " ").map(String.init) }
  var method: String { words.first ?? "" }
  var target: String { words.count > 1 ? words[1] : "" }
  var status: Int { words.count > 1 ? Int(words[1]) ?? 0 : 0 }
  var text: String { String(decoding: body, as: UTF8.self) }

  /// All values of a field.
  subscript(all name: String) -> [String] {
    fields.filter { $0.name.lowercased() == name.lowercased() }.map(\.value)
  }

  /// The value of a field that must occur once; several are joined, so that a test fails.
  subscript(name: String) -> String? {
    let values = self[all: name]
    return values.isEmpty ? nil : values.joined(separator: " <and> ")
  }
}

extension Wire {
  func takeHead() throws -> Message {
    let lines = try take(until: "\r\n\r\n").components(separatedBy: "\r\n")
    return Message(line: lines[0], fields: lines.dropFirst().map(Self.field))
  }

  private static func field(_ line: String) -> (name: String, value: String) {
    let parts = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    return (String(parts[0]), parts.count > 1 ? parts[1].trimmingCharacters(in: .whitespaces) : "")
  }

  /// Reads the body that the head announces.
  func takeBody(of message: inout Message, isResponse: Bool) throws {
    if message["Transfer-Encoding"]?.lowercased() == "chunked" {
      while true {
        let size = try take(until: "\r\n").split(separator: ";").first.map(String.init) ?? ""
        guard let count = Int(size, radix: 16) else { throw HarnessError("bad chunk \(size)") }
        if count == 0 { break }
        message.body += try take(count)
        guard try take(2) == [13, 10] else { throw HarnessError("bad end of chunk") }
      }
      while true {
        let line = try take(until: "\r\n")
        if line.isEmpty { return }
        message.trailers.append(Self.field(line))
      }
    } else if let length = message["Content-Length"] {
      guard let count = Int(length) else { throw HarnessError("bad length \(length)") }
      message.body = try take(count)
    } else if isResponse {
      message.body = try takeRest()
    }
  }

  /// A complete response; interim ones before it are skipped.
  func takeResponse(to method: String = "GET") throws -> Message {
    var head = try takeHead()
    while (100..<200).contains(head.status) && head.status != 101 { head = try takeHead() }
    let hasBody = method != "HEAD" && head.status != 204 && head.status != 304 && head.status != 101
    if hasBody { try takeBody(of: &head, isResponse: true) }
    return head
  }

  /// Sends a request and reads its response.
  func exchange(_ request: String) throws -> Message {
    try send(request)
    return try takeResponse(to: String(request.prefix(while: { $0 != " " })))
  }

  func get(_ target: String = "/", _ fields: String = "") throws -> Message {
    try exchange("GET \(target) HTTP/1.1\r\nHost: localhost\r\n\(fields)\r\n")
  }
}
