// The reference and the schema: they are up to date and complete, and the schema and the decoder
// accept the same files.

import Foundation
import Testing

@testable import Configuration

@Suite("The reference")
struct ReferenceTests {
  @Test("the committed pages match the tables of keys; print them with martlet reference")
  func committed() throws {
    let docs = repository.appending(path: "docs")
    let page = try String(contentsOf: docs.appending(path: "CONFIGURATION.md"), encoding: .utf8)
    #expect(page == Reference.markdown, "run: martlet reference > docs/CONFIGURATION.md")
    let schema = try String(contentsOf: docs.appending(path: "config.schema.json"), encoding: .utf8)
    #expect(schema == Reference.schema, "run: martlet reference --schema > docs/config.schema.json")
  }

  @Test("every key is explained in a sentence, and named in lower case with hyphens")
  func explained() {
    for section in Reference.sections {
      #expect(section.about.hasSuffix("."))
      #expect(Set(section.keys.map(\.name)).count == section.keys.count)
      for key in section.keys {
        let name = "\(section.title).\(key.name)"
        #expect(key.meaning.hasSuffix("."), "\(name)")
        #expect(key.meaning.count >= 15, "\(name)")
        #expect(key.name.allSatisfy { $0.isLowercase || $0 == "-" || $0 == "$" }, "\(name)")
        #expect(Reference.markdown.contains("| `\(key.name)` |"), "\(name)")
      }
    }
  }

  @Test("every section that a key refers to is described, and every described section is used")
  func complete() {
    var references: Set<String> = []
    func collect(_ json: JSON) {
      switch json.value {
      case .list(let items): items.forEach(collect)
      case .object(let members):
        for member in members {
          if member.name == "$ref", let text = member.value.text { references.insert(text) }
          collect(member.value)
        }
      default: break
      }
    }
    collect(Reference.schemaDocument)
    #expect(references == Set(Reference.sections.map { "#/$defs/\($0.title.anchor)" }))
  }

  @Test("the examples of the page are valid configurations")
  func examples() {
    let blocks = Reference.markdown.components(separatedBy: "```")
    let examples = blocks.filter { $0.hasPrefix("json\n") }.map { $0.dropFirst(5) }
    #expect(examples.count == 2)
    for example in examples {
      #expect(diagnose(String(example)) == [])
      #expect(SchemaChecker().accepts(example) == true)
    }
  }

  @Test("every default is a value that its own key accepts")
  func defaults() {
    for section in Reference.sections {
      for key in section.keys {
        if let standard = key.standard {
          let isAccepted = SchemaChecker().matches(standard, key.form.schema)
          #expect(isAccepted, "\(section.title).\(key.name)")
        }
      }
    }
  }

  @Test("the schema accepts what the decoder accepts, and refuses values of the wrong form")
  func agreement() {
    let checker = SchemaChecker()
    let base = JSONReader.read(Array(Self.sample.utf8)).document
    #expect(checker.accepts(Self.sample[...]))
    #expect(diagnose(Self.sample) == [])

    // Every value of the sample is replaced by values of every kind, every key is renamed, and
    // every object gets an unknown key.
    let replacements: [JSON] = [
      JSON(.null), true, 0, 1, 300, -1, 70_000, "", "x", "5s", "64KiB", "127.0.0.1:80", "/a", "off",
      "http", "1.2", [], [1], ["x"], [:], ["x": 1], ["y": "z"], JSON(.number("1.5")),
    ]
    var refusedCount = 0
    var acceptedCount = 0
    for variant in variants(of: base, replacements) {
      let text = variant.compact
      let isDecoded = !hasFormError(text)
      let isAccepted = checker.accepts(text[...])
      // The schema can't express ranges of durations or the grammar of a host: it may accept more.
      if isDecoded { #expect(isAccepted, "the schema refuses what is read: \(text)") }
      if !isAccepted { refusedCount += 1 } else if isDecoded { acceptedCount += 1 }
      if isAccepted && !isDecoded {
        let isGrammar = diagnose(text).allSatisfy { message in
          Self.beyondSchema.contains { message.contains($0) }
        }
        #expect(isGrammar, "the schema accepts what is refused: \(text)\n\(diagnose(text))")
      }
    }
    #expect(refusedCount > 1000)
    #expect(acceptedCount > 100)
  }

  /// Whether there is an error in the form of a value, not in how values fit together.
  private func hasFormError(_ text: String) -> Bool {
    diagnose(text).contains { $0.contains("is not a") || $0.contains("is out of range")
      || $0.contains("no such key") || $0.contains("is missing") || $0.contains("list is empty")
      || $0.contains("is larger than 65535") || $0.contains("controls framing")
      || $0.contains("is not the") || $0.contains("is not text")
    }
  }

  /// Parts of messages about rules that a schema can't express.
  private static let beyondSchema = [
    "is out of range", "is not an address to listen on", "is not the address of a backend",
    "is not a host", "is not the name of a host", "is not a path", "is not a block of addresses",
    "is not the name of a field", "is not a token", "is not a protocol",
    "is not a port to redirect to",
    "controls framing", "two listeners", "already used", "no listener", "no pool", "the route has",
    "ignores", "is never used", "there is nothing", "is empty, and", "not supported", "already",
    "no route forwards", "routes must select", "has no effect", "not allowed together",
    "is not a name",
    "is longer than", "is larger than", "would lead", "is not a status",
  ]

  private static let sample = """
    {
      "listeners": [
        { "name": "a", "listen": ["127.0.0.1:1"], "backlog": 5, "hsts": { "max-age": "1d" },
          "desync": "strict",
          "tls": { "certificates": [{ "chain": "c", "key": "k" }], "policy": "modern",
            "tickets": { "key-files": ["f"], "rotation": "2h" } } },
        { "listen": "127.0.0.1:2", "redirect-to-https": 443 }
      ],
      "pools": [
        { "name": "p", "strategy": "random", "when-all-down": "refuse",
          "backends": [
            "127.0.0.1:3", { "address": "127.0.0.1:4", "weight": 2, "max-connections": 9 }],
          "health": { "check": "http", "path": "/", "expect": [200, "300-399"], "rise": 1 },
          "ejection": { "failures": 3, "failure-percent": "off" }, "slow-start": "5s",
          "queue": { "size": 3 }, "stickiness": { "cookie": "c", "same-site": "none" },
          "keep-alive": { "max-idle": 0 }, "tcp-keep-alive": { "count": 3 },
          "retry": { "statuses": [502], "replay-size": "1KiB" }, "timeouts": { "idle": "5s" } }
      ],
      "routes": [
        { "host": ["h"], "path": "/a", "match": "exact", "listeners": ["a"], "forward": "p",
          "request": { "set": { "x": "y" }, "remove": ["z"] } },
        { "path": "/b", "redirect": { "status": 301, "scheme": "https", "port": 444 } },
        { "respond": { "status": 200, "body": "x", "content-type": "t" } }
      ],
      "limits": { "body-size": "1GiB", "field-count": 50, "head": "5s" },
      "paths": { "encoded-slashes": "keep" }, "log": { "access": "off", "target": "x" },
      "trusted-proxies": ["10.0.0.0/8"], "via": true, "upgrades": ["websocket"], "workers": 2
    }
    """

  /// All variants of `json` with one value replaced, one key renamed or dropped, or one key added.
  private func variants(of json: JSON, _ replacements: [JSON]) -> [JSON] {
    var result = replacements
    switch json.value {
    case .list(let items):
      for index in items.indices {
        for variant in variants(of: items[index], replacements) {
          var changed = items
          changed[index] = variant
          result.append(.list(changed))
        }
      }
    case .object(let members):
      for index in members.indices {
        for variant in variants(of: members[index].value, replacements) {
          var changed = members
          changed[index].value = variant
          result.append(JSON(.object(changed)))
        }
        var changed = members
        changed[index].name += "-x"
        result.append(JSON(.object(changed)))
        changed.remove(at: index)
        result.append(JSON(.object(changed)))
      }
    default: break
    }
    return result
  }
}

/// The part of JSON Schema (draft 2020-12) that the schema of this project uses. An unknown keyword
/// is a failure, since it would otherwise be ignored.
private struct SchemaChecker {
  private let schema = Reference.schemaDocument

  func accepts(_ text: Substring) -> Bool {
    matches(JSONReader.read(Array(text.utf8)).document, schema)
  }

  func matches(_ json: JSON, _ schema: JSON) -> Bool {
    guard case .object(let keywords) = schema.value else { return false }
    return keywords.allSatisfy { matches(json, $0.name, $0.value, schema) }
  }

  private func matches(_ json: JSON, _ keyword: String, _ value: JSON, _ schema: JSON) -> Bool {
    switch keyword {
    case "$schema", "$defs", "title", "description", "default", "properties": return true
    case "$ref":
      let name = value.text?.split(separator: "/").last.map(String.init) ?? ""
      guard let target = self.schema["$defs"]?[name] else {
        Issue.record("\(name) is not defined")
        return false
      }
      return matches(json, target)
    case "type":
      switch (value.text, json.value) {
      case ("object", .object), ("array", .list), ("string", .string), ("boolean", .bool):
        return true
      case ("integer", .number): return json.integer != nil
      case ("number", .number): return true
      default: return false
      }
    case "additionalProperties":
      guard case .object(let members) = json.value else { return true }
      return members.allSatisfy { member in
        if let property = schema["properties"]?[member.name] {
          return matches(member.value, property)
        }
        if case .bool(let isAllowed) = value.value { return isAllowed }
        return matches(member.value, value)
      }
    case "propertyNames":
      guard case .object(let members) = json.value else { return true }
      return members.allSatisfy { matches(.string($0.name), value) }
    case "required": return value.items?.allSatisfy { json[$0.text ?? ""] != nil } ?? false
    case "items": return json.items?.allSatisfy { matches($0, value) } ?? true
    case "minItems": return json.items.map { $0.count >= value.integer ?? 0 } ?? true
    case "anyOf": return value.items?.contains { matches(json, $0) } ?? false
    case "enum": return value.items?.contains { $0.compact == json.compact } ?? false
    case "const": return value.compact == json.compact
    case "minimum": return json.integer.map { $0 >= value.integer ?? 0 } ?? true
    case "maximum": return json.integer.map { $0 <= value.integer ?? 0 } ?? true
    case "minLength": return json.text.map { $0.count >= value.integer ?? 0 } ?? true
    case "pattern":
      guard let text = json.text else { return true }
      return text.range(of: value.text ?? "", options: .regularExpression) != nil
    default:
      Issue.record("the checker doesn't know \(keyword)")
      return false
    }
  }
}
