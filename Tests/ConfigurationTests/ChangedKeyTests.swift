// Every key of the configuration: `diff` and `check` show a changed value of any key, even if the
// only change is that a section was added.

import Testing

@testable import Configuration

@Suite struct ChangedKeyTests {
  /// A file for each section, in which KEYS represents the keys of the section.
  private static let templates = [
    "configuration": "{ LISTENERS, POOLS, KEYS }",
    "listener": #"{ "listeners": [{ KEYS }], POOLS, "trusted-proxies": ["10.0.0.1"] }"#,
    "tls": #"{ "listeners": [{ "listen": "127.0.0.1:0", "tls": { KEYS } }], POOLS }"#,
    "certificate": """
    { "listeners": [{ "listen": "127.0.0.1:0", "tls": { "certificates": [{ KEYS }] } }], POOLS }
    """,
    "tcp route": """
    { "listeners": [{ "listen": "127.0.0.1:0", "protocol": "tcp", "routes": [{ KEYS }] }],
      "pools": [{ "name": "app", "backends": ["a:1"] }, { "name": "b", "backends": ["b:1"] }] }
    """,
    "tickets": tls(#""tickets": { KEYS }"#),
    "hsts": """
    { "listeners": [{ "listen": "127.0.0.1:0", "hsts": { KEYS } }], POOLS,
      "trusted-proxies": ["10.0.0.1"] }
    """,
    "pool": #"{ LISTENERS, "pools": [{ KEYS }] }"#,
    "backend": """
    { LISTENERS, "pools": [{ "name": "app", "backends": [{ KEYS }, "127.0.0.2:1"] }] }
    """,
    "health": pool("health"), "ejection": pool("ejection"), "queue": pool("queue"),
    "failover": pool("failover"),
    "stickiness": pool("stickiness"), "retry": pool("retry"), "timeouts": pool("timeouts"),
    "keep-alive": pool("keep-alive"), "tcp-keep-alive": pool("tcp-keep-alive"),
    "proxy-protocol": """
    { "listeners": [{ "listen": "127.0.0.1:0", "proxy-protocol": { KEYS } }], POOLS }
    """,
    "backend proxy-protocol": pool("proxy-protocol"),
    "backend tls": """
    { LISTENERS, "pools": [{ "name": "app", "backends": ["https://a"], "tls": { KEYS } }] }
    """,
    "route": """
    { LISTENERS,
      "pools": [{ "name": "app", "protocol": "h2", "backends": ["a:1"] },
        { "name": "b", "backends": ["b:1"] }],
      "routes": [{ KEYS }, { "path": "/y", "forward": "app" }] }
    """,
    "fault": route(#""forward": "app", "fault": { KEYS }"#),
    "redirect": route(#""redirect": { KEYS }"#),
    "respond": route(#""respond": { KEYS }"#),
    "edits": route(#""forward": "app", "request": { KEYS }"#),
    "limits": section("limits"), "paths": section("paths"), "log": section("log"),
    "tracing": section("tracing"), "process": section("process"), "admin": section("admin"),
  ]

  private static func tls(_ keys: String) -> String {
    """
    { "listeners": [{ "listen": "127.0.0.1:0", "tls": {
      "certificates": [{ "chain": "/c", "key": "/k" }], \(keys) } }], POOLS }
    """
  }

  private static func pool(_ section: String) -> String {
    """
    { LISTENERS, "pools": [{ "name": "app", "backends": [
      { "address": "127.0.0.1:9001", "max-connections": 3 }], "\(section)": { KEYS } }] }
    """
  }

  private static func route(_ keys: String) -> String {
    #"{ LISTENERS, POOLS, "routes": [{ "path": "/x", \#(keys) }, { "forward": "app" }] }"#
  }

  private static func section(_ name: String) -> String {
    #"{ LISTENERS, POOLS, "\#(name)": { KEYS } }"#
  }

  /// The other keys that a section needs.
  private static let beside: [String: [(String, String)]] = [
    "listener": [("name", #""web""#), ("listen", #""127.0.0.1:0""#)],
    "listener.pool": [
      ("listen", #""127.0.0.1:0""#), ("protocol", #""tcp""#),
      ("routes", #"[{ "sni": "x.example", "pool": "app" }]"#),
    ],
    "listener.alpn": [
      ("listen", #""127.0.0.1:0""#), ("protocol", #""tcp""#),
      ("tls", #"{ "certificates": [{ "chain": "/c", "key": "/k" }] }"#),
    ],
    "listener.max-connections": tcpListener,
    "listener.max-connections-per-client": tcpListener,
    "listener.max-sessions": udpListener,
    "listener.max-sessions-per-client": udpListener,
    "listener.idle": udpListener,
    "listener.responses": udpListener,
    "listener.per-datagram": udpListener,
    "tcp route": [("pool", #""app""#), ("alpn", #""x""#)],
    "tls": [("certificates", #"[{ "chain": "/c", "key": "/k" }]"#)],
    "certificate": [("chain", #""/c""#), ("key", #""/k""#)],
    "pool": [
      ("name", #""app""#), ("backends", #"["127.0.0.1:1"]"#), ("strategy", #""maglev""#),
    ],
    "backend": [("address", #""127.0.0.1:9001""#)],
    "stickiness": [("cookie", #""x""#)],
    "proxy-protocol": [("from", #"["10.0.0.1"]"#)],
    "backend proxy-protocol": [("version", #""v2""#)],
    "route": [("forward", #""app""#)],
    "fault": [("delay", #""5s""#)],
    "redirect": [("host", #""x.example""#)],
    "tracing": [("endpoint", #""http://127.0.0.1:4318""#)],
    "process": [("user", #""c""#)],
    "admin": [
      ("listen", #""127.0.0.1:0""#), ("certificate", #"{ "chain": "/c", "key": "/k" }"#),
    ],
  ]

  private static let udpListener = [
    ("listen", #""127.0.0.1:0""#), ("protocol", #""udp""#),
  ]

  private static let tcpListener = [
    ("listen", #""127.0.0.1:0""#), ("protocol", #""tcp""#),
  ]

  /// Values of all kinds; those that a key does not accept are skipped.
  private static let values = [
    "true", "false", "0", "1", "2", "3", "50", "60", "301", "302", "404", "0.25", "0.5", "1.25",
    "1.5",
    #""source""#, #""cookie:a""#, #""own""#, #""client""#,
    #""off""#, #""1s""#, #""2s""#, #""3s""#, #""40s""#, #""50s""#, #""200s""#, #""20m""#,
    #""1KiB""#, #""2KiB""#, #""4KiB""#, #""8KiB""#, #""2MiB""#, #""3MiB""#,
    #""a""#, #""b""#, #""app""#, #""/a""#, #""/b""#, #""a.example""#, #""b.example""#,
    #""127.0.0.1:1""#, #""127.0.0.1:2""#, #""http://127.0.0.1:1""#, #""http://127.0.0.1:2""#,
    #""0123456789abcdef0123456789abcdef""#, #""0123456789abcdef0123456789abcdeg""#,
    #""$status""#, #""$client""#, #""syslog:/a""#, #""syslog:/b""#,
    "[]", "[200]", "[204]", #"["a"]"#, #"["b"]"#, #"["web"]"#,
    #"["/a"]"#, #"["10.0.0.0/8"]"#, #"["10.0.0.0/9"]"#, #"["alpn"]"#, #"["tls"]"#, #"["h2"]"#,
    #"["http/1.1"]"#,
    #"["unavailable"]"#, #"["internal"]"#,
    "{}", #"{ "A": "1" }"#, #"{ "A": "2" }"#,
    #"{ "503": "a.html" }"#, #"{ "503": "b.html" }"#, #"{ "remove": ["A"] }"#,
    #"{ "from": ["10.0.0.0/8"] }"#, #"{ "from": ["10.0.0.0/9"] }"#,
    #"{ "remove": ["B"] }"#, #"["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="]"#,
  ]

  /// The words that a key accepts, from its schema.
  private func words(_ schema: JSON) -> [String] {
    (schema["enum"]?.items ?? []).compactMap(\.text).map { JSON.quoted($0) }
      + (schema["anyOf"]?.items ?? []).flatMap(words)
  }

  private func isMadeOfSections(_ schema: JSON) -> Bool {
    schema["$ref"] != nil || schema["items"].map(isMadeOfSections) ?? false
      || (schema["anyOf"]?.items ?? []).contains(where: isMadeOfSections)
  }

  private func read(_ section: String, _ key: String, _ value: String?) -> Configuration? {
    let beside = Self.beside["\(section).\(key)"] ?? Self.beside[section, default: []]
    var keys = beside.filter { $0.0 != key }
    if let value { keys.append((key, value)) }
    let text = (Self.templates[section] ?? "")
      .replacing("LISTENERS", with: #""listeners": [{ "name": "web", "listen": "127.0.0.1:0" }]"#)
      .replacing("POOLS", with: #""pools": [{ "name": "app", "backends": ["127.0.0.1:9001"] }]"#)
      .replacing("KEYS", with: keys.map { "\"\($0)\": \($1)" }.joined(separator: ", "))
      .replacing(", }", with: " }")
    return Configuration.read(Array(text.utf8)).configuration
  }

  /// A default that is written out is no change, and that of protocols depends on another key.
  private func spelledOut(_ configuration: Configuration) -> Configuration {
    var result = configuration
    for index in result.listeners.indices {
      result.listeners[index].protocols = result.listeners[index].spokenProtocols
    }
    return result
  }

  @Test func `a changed key shows, whatever key it is`() throws {
    for section in Reference.sections {
      for key in section.keys where key.name != "$schema" {
        let name = "\(section.title).\(key.name)"
        var found: [(value: String, configuration: Configuration)] = []
        for value in [nil] + (Self.values + words(key.form.schema)).map(Optional.some) {
          guard let configuration = read(section.title, key.name, value) else { continue }
          if !found.contains(where: { spelledOut($0.configuration) == spelledOut(configuration) }) {
            found.append((value ?? "nothing", configuration))
          }
        }
        // Their keys are tested separately.
        if found.count < 2 && isMadeOfSections(key.form.schema) { continue }
        #expect(found.count > 1, "\(name): no two values among those of this test")
        for (old, new) in zip(found, found.dropFirst() + found.prefix(1)) {
          let changes = old.configuration.changes(to: new.configuration)
          #expect(!changes.isEmpty, "\(name) from \(old.value) to \(new.value) doesn't show")
        }
      }
    }
  }

  private func difference(_ old: String, _ new: String) throws -> [String] {
    try #require(configuration(old)).changes(to: #require(configuration(new))).map { "\($0)" }
  }

  @Test func `a section that is only there shows, and a list in place of the default`() throws {
    let proxies = #""trusted-proxies": ["10.0.0.1"]"#
    let old = #"{ "listeners": [{ "listen": "*:80" }], \#(somePools), \#(proxies) }"#
    #expect(
      try difference(old, old.replacing(#""*:80""#, with: #""*:80", "hsts": {}"#))
        == ["~ listeners[*:80].hsts: not set -> {}"])
    #expect(
      try difference(old, old.replacing(proxies, with: #"\#(proxies), "upgrades": []"#))
        == [#"~ upgrades: ["websocket"] -> []"#])
    #expect(
      try difference(old, old.replacing(proxies, with: #"\#(proxies), "upgrades": ["tcp"]"#))
        == [#"~ upgrades: ["websocket"] -> ["tcp"]"#])
  }

  @Test func `the listener that there is by default shows when others take its place`() throws {
    let file = #"{ "listeners": [{ "listen": "*:80" }], \#(somePools) }"#
    let changes = try difference("{ \(somePools) }", file)
    #expect(changes.count == 2)
    #expect(changes.contains { $0.hasPrefix("+ listeners[*:80]") })
    #expect(changes.contains { $0.hasPrefix("- listeners[localhost:8443]") })
  }
}
