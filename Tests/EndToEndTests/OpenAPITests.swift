// docs/openapi.json compared with the real interface: each operation exists, responds with a
// documented status and type, and includes all documented members.

import Foundation
import Testing

@Suite struct OpenAPITests {
  private typealias Object = [String: Any]

  private let document: Object

  init() throws {
    let path = Installation.root + "/docs/openapi.json"
    let data = try Data(contentsOf: URL(fileURLWithPath: path))
    document = try #require(try JSONSerialization.jsonObject(with: data) as? Object)
  }

  /// Follows `$ref`, which always points into the document.
  private func resolved(_ value: Any?) -> Object? {
    guard let object = value as? Object else { return nil }
    guard let reference = object["$ref"] as? String else { return object }
    var target: Any? = document
    for part in reference.dropFirst(2).split(separator: "/") {
      target = (target as? Object)?[String(part)]
    }
    return resolved(target)
  }

  private func check(_ answer: Message, _ operation: Object, _ name: String) throws {
    let responses = try #require(operation["responses"] as? Object)
    let response = try #require(
      resolved(responses["\(answer.status)"]), "\(name): \(answer.status) is not described")
    let content = response["content"] as? Object ?? [:]
    let type = answer.fields.first { $0.name.lowercased() == "content-type" }?.value ?? ""
    let short = String(type.prefix { $0 != ";" })
    if !content.isEmpty { #expect(content.keys.contains(short), "\(name): \(type)") }
    guard let schema = resolved((content["application/json"] as? Object)?["schema"]) else { return }
    let value = try JSONSerialization.jsonObject(with: Data(answer.body))
    check(value, schema, name)
  }

  private func check(_ value: Any, _ schema: Object, _ name: String) {
    if let allowed = schema["enum"] as? [String] {
      #expect(allowed.contains(value as? String ?? ""), "\(name): \(value)")
    }
    if let items = value as? [Any], let schema = resolved(schema["items"]) {
      for item in items { check(item, schema, name) }
    }
    guard let object = value as? Object else { return }
    for member in schema["required"] as? [String] ?? [] {
      #expect(object[member] != nil, "\(name): \(member) is missing")
    }
    for (member, schema) in schema["properties"] as? Object ?? [:] {
      if let value = object[member], let schema = resolved(schema) {
        check(value, schema, "\(name).\(member)")
      }
    }
  }

  @Test func `every operation responds as described`() throws {
    let (one, two) = (try StubBackend("one"), try StubBackend("two"))
    let martlet = try MartletProcess(
      backends: [one, two],
      rest: #""admin": { "listen": "127.0.0.1:0", "token-file": "token" }"#,
      token: "a-token-of-some-length")
    let port = try martlet.adminPort()
    let bodies = [
      "patch": #"{"state": "draining", "weight": null}"#,
      "post": #"{"address": "127.0.0.1:9", "weight": 2}"#,
      "put": #"{"level": "debug"}"#,
      "/v1/diff": #"{"pools": [{"backends": ["127.0.0.1:9"]}]}"#,
    ]
    let paths = try #require(document["paths"] as? Object)
    var count = 0
    // Backends are patched before they are deleted.
    for (path, item) in paths.sorted(by: { $0.key < $1.key }) {
      let operations = try #require(item as? Object).filter { $0.key != "parameters" }
      for (method, operation) in operations.sorted(by: { $0.key > $1.key }) {
        let name = "\(method.uppercased()) \(path)"
        let target = path.replacingOccurrences(of: "{pool}", with: "default")
          .replacingOccurrences(of: "{backend}", with: two.address)
        let body = path.contains("reload") ? "" : bodies[path] ?? bodies[method] ?? ""
        let wire = try Wire(port: port)
        try wire.send(
          "\(method.uppercased()) \(target)\(target.hasSuffix("explain") ? "?url=http://a/" : "")"
            + " HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer a-token-of-some-length\r\n"
            + "Content-Length: \(body.utf8.count)\r\n\r\n\(body)")
        var answer = try wire.takeHead()
        let isEndless = path.hasSuffix("/events") || path.hasSuffix("/tap")
        if !isEndless { try wire.takeBody(of: &answer, isResponse: true) }
        #expect(answer.status < 300, "\(name): \(answer.status) \(answer.text)")
        try check(answer, try #require(operation as? Object), name)
        count += 1
      }
    }
    #expect(count == 17)
  }
}
