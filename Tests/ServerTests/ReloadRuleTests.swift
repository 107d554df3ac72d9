// The effect of a reload on each key of the configuration: either the new value is applied, or the
// reload names the key. Each new key needs a rule here, with its proof.

import Balancing
import Foundation
import Primitives
import TLS
import Testing

@testable import Configuration
@testable import Server

/// How a changed key takes effect, and the proof.
private enum ReloadRule {
  /// It reaches the workers in the snapshot, which differs for these two values. They are tested
  /// together with other keys of their section.
  case snapshot(String, String, beside: String = "")
  /// A test with this name proves it.
  case shown(by: String)
  /// The control thread reads it when it is needed: the sources contain this text.
  case read(String)
  /// Applied only by an upgrade or a restart; the reload reports it.
  case start(String, String, beside: String = "")
  /// An object, or a list of objects, whose keys have their own rules.
  case parts
  /// It has no effect.
  case nothing
}

@Suite struct ReloadRuleTests {
  /// A file for each section; `KEYS` is replaced by the keys of the rule.
  private static let templates = [
    "configuration": "{ LISTENERS, POOLS, KEYS }",
    "listener": #"""
    { "listeners": [{ KEYS }], "pools": [{ "name": "app", "backends": ["127.0.0.1:9001"] },
      { "name": "b", "backends": ["127.0.0.1:9002"] },
      { "name": "c", "backends": ["127.0.0.1:9003"] }], "routes": [{ "forward": "app" }] }
    """#,
    "tcp route": #"""
    { "listeners": [{ "listen": "127.0.0.1:0", "protocol": "tcp", "routes": [{ KEYS }] }],
      "pools": [{ "name": "app", "backends": ["127.0.0.1:9001"] },
        { "name": "b", "backends": ["127.0.0.1:9002"] }] }
    """#,
    "pool": #"{ LISTENERS, "pools": [{ KEYS }] }"#,
    "backend": #"{ LISTENERS, "pools": [{ "name": "app", "backends": [{ KEYS }] }] }"#,
    "health": pool("health", beside: #""protocol": "h2", "#), "ejection": pool("ejection"),
    "queue": pool("queue"), "failover": pool("failover"),
    "stickiness": pool("stickiness"), "retry": pool("retry"), "timeouts": pool("timeouts"),
    "keep-alive": pool("keep-alive"), "tcp-keep-alive": pool("tcp-keep-alive"),
    "proxy-protocol": #"""
    { "listeners": [{ "listen": "127.0.0.1:0", "proxy-protocol": { KEYS } }], POOLS }
    """#,
    "backend proxy-protocol": pool("proxy-protocol"),
    "backend tls": #"""
    { LISTENERS, "pools": [{ "name": "app", "backends": ["https://app.internal"],
      "tls": { KEYS } }] }
    """#,
    "route": #"{ LISTENERS, POOLS, "routes": [{ KEYS }, { "forward": "app" }] }"#,
    "fault": route(#""forward": "app", "fault": { KEYS }"#),
    "redirect": route(#""redirect": { KEYS }"#),
    "respond": route(#""respond": { KEYS }"#),
    "edits": route(#""forward": "app", "request": { KEYS }"#),
    "limits": #"{ LISTENERS, POOLS, "limits": { KEYS } }"#,
    "paths": #"{ LISTENERS, POOLS, "paths": { KEYS } }"#,
    "log": #"{ LISTENERS, POOLS, "log": { KEYS } }"#,
    "process": #"{ LISTENERS, POOLS, "process": { KEYS } }"#,
  ]

  private static func pool(_ section: String, beside keys: String = "") -> String {
    """
    { LISTENERS, "pools": [{ "name": "app", \(keys)"backends": [
      { "address": "127.0.0.1:9001", "max-connections": 3 }], "\(section)": { KEYS } }] }
    """
  }

  private static func route(_ keys: String) -> String {
    #"{ LISTENERS, POOLS, "routes": [{ "path": "/x", \#(keys) }, { "forward": "app" }] }"#
  }

  private static let rules: [String: [String: ReloadRule]] = [
    "configuration": configurationRules,
    "listener": listenerRules,
    "tcp route": tcpRouteRules,
    "tls": tlsRules,
    "certificate": certificateRules,
    "tickets": ticketsRules,
    "hsts": hstsRules,
    "proxy-protocol": ["from": .snapshot(#"["10.0.0.0/8"]"#, #"["10.0.0.0/9"]"#)],
    "backend proxy-protocol": proxyHeaderRules,
    "pool": poolRules,
    "backend": backendRules,
    "backend tls": backendTLSRules,
    "health": healthRules,
    "ejection": ejectionRules,
    "queue": queueRules, "failover": failoverRules,
    "stickiness": stickinessRules,
    "retry": retryRules,
    "timeouts": timeoutsRules,
    "keep-alive": keepAliveRules,
    "tcp-keep-alive": tcpKeepAliveRules,
    "route": routeRules,
    "redirect": redirectRules,
    "fault": faultRules,
    "respond": respondRules,
    "edits": editsRules,
    "limits": limitsRules,
    "paths": pathsRules,
    "log": logRules,
    "tracing": tracingRules,
    "process": processRules,
    "admin": adminRules,
  ]

  private static let configurationRules: [String: ReloadRule] = [
    "$schema": .nothing, "listeners": .parts, "pools": .parts, "routes": .parts,
    "error-pages": .shown(by: "a changed error page is used, and an invalid one changes nothing"),
    "limits": .parts,
    "paths": .parts, "log": .parts,
    "tracing": .shown(by: "a reload turns traces on and off, and the last ones are sent"),
    "trusted-proxies": .snapshot(#"["10.0.0.0/8"]"#, "[]"), "via": .snapshot("true", "false"),
    "forwarding-field": .snapshot(#""forwarded""#, #""both""#),
    "via-to-backends": .snapshot("true", "false"),
    "request-id": .snapshot(#""return""#, #""off""#),
    "upgrades": .snapshot("[]", #"["websocket"]"#), "workers": .start("2", "3"),
    "zone": .snapshot(#""a""#, #""b""#),
    "process": .parts, "admin": .parts, "watch": .read("configuration.watch"),
  ]

  private static let listenerRules: [String: ReloadRule] = [
    "name": .snapshot(#""a""#, #""b""#, beside: #""listen": "127.0.0.1:0""#),
    "listen": .shown(by: "a listener that is added serves, and one that is removed is closed"),
    "tls": .shown(by: "a listener's TLS is changed by a reload"),
    "redirect-to-https": .snapshot("443", "8443", beside: #""listen": "127.0.0.1:0""#),
    "desync": .snapshot(#""strict""#, #""monitor""#, beside: #""listen": "127.0.0.1:0""#),
    "half-close": .snapshot(#""abort""#, #""answer""#, beside: #""listen": "127.0.0.1:0""#),
    "protocols": .snapshot(
      #"["h2"]"#, #"["h2", "http/1.1"]"#, beside: #""listen": "127.0.0.1:0""#),
    "tcp-keep-alive": .shown(
      by: "connections on both sides are probed, unless a reload turns that off"),
    "proxy-protocol": .parts, "routes": .parts, "hsts": .parts,
    "backlog": .shown(by: "a new backlog counts for a socket that is open already"),
    // Only a TCP listener may have a pool, and with several pools it must.
    "protocol": .snapshot(
      #""http""#, #""tcp", "pool": "b""#, beside: #""listen": "127.0.0.1:0""#),
    "pool": .snapshot(#""b""#, #""c""#, beside: #""listen": "127.0.0.1:0", "protocol": "tcp""#),
    "alpn": .shown(by: "TLS ends here, and ALPN selects the pool"),
    "max-connections": .snapshot("5", "6", beside: tcp),
    "max-connections-per-client": .snapshot("5", "6", beside: tcp),
    "max-sessions": udpCount, "max-sessions-per-client": udpCount, "responses": udpCount,
    "idle": .snapshot(#""5s""#, #""6s""#, beside: udp),
    "per-datagram": .snapshot("true", "false", beside: udp),
  ]

  private static let udp = #""listen": "127.0.0.1:0", "protocol": "udp", "pool": "b""#
  private static let udpCount = ReloadRule.snapshot("5", "6", beside: udp)
  private static let tcp = #""listen": "127.0.0.1:0", "protocol": "tcp", "pool": "b""#

  private static let tcpRouteRules: [String: ReloadRule] = [
    "sni": .snapshot(#""a.example""#, #""b.example""#, beside: #""pool": "app""#),
    "alpn": .snapshot(#""a""#, #""b""#, beside: #""pool": "app""#),
    "pool": .snapshot(#""app""#, #""b""#, beside: #""alpn": "a""#),
  ]

  private static let tlsRules: [String: ReloadRule] = [
    "certificates": .shown(by: "a renewed certificate is served after a reload"),
    "minimum-version": .shown(by: "a listener's TLS is changed by a reload"),
    "policy": .shown(by: "a listener's TLS is changed by a reload"),
    "tickets": .shown(by: "a listener's TLS is changed by a reload"),
  ]

  private static let certificateRules: [String: ReloadRule] = [
    "chain": .shown(by: "a renewed certificate is served after a reload"),
    "key": .shown(by: "a renewed certificate is served after a reload"),
  ]

  private static let ticketsRules: [String: ReloadRule] = [
    "key-files": .read("tickets.keyFiles"), "rotation": .read("tickets.rotation"),
  ]

  private static let hstsRules: [String: ReloadRule] = [
    "max-age": .shown(by: "a listener's TLS is changed by a reload"),
    "include-subdomains": .shown(by: "a listener's TLS is changed by a reload"),
  ]

  private static let poolRules: [String: ReloadRule] = [
    "name": .snapshot(#""a""#, #""b""#, beside: backends),
    "strategy": .snapshot(#""random""#, #""ip-hash""#, beside: backends),
    "hash-key": .snapshot(
      #""source""#, #""cookie:a""#, beside: backends + #", "strategy": "maglev""#),
    "bounded-load": .snapshot(
      #""off""#, "1.5", beside: backends + #", "strategy": "maglev""#),
    "failover": .snapshot(#""off""#, #"{ "factor": 2 }"#, beside: backends),
    "zone": .snapshot(#""a""#, #""b""#, beside: backends), "timeouts": .parts, "keep-alive": .parts,
    "backends": .parts, "tls": .parts, "health": .snapshot(#""off""#, "{}", beside: backends),
    "ejection": .snapshot(#""off""#, "{}", beside: backends),
    "queue": .snapshot(#""off""#, "{}", beside: backends),
    "slow-start": .snapshot(#""off""#, #""9s""#, beside: backends),
    "stickiness": .snapshot(#""off""#, #""c""#, beside: backends), "retry": .parts,
    "tcp-keep-alive": .snapshot(#""off""#, "{}", beside: backends),
    "desync": .snapshot(#""strict""#, #""tolerant""#, beside: backends),
    "protocol": .snapshot(#""http/1.1""#, #""h2""#, beside: backends),
    "when-all-down": .snapshot(#""refuse""#, #""fail-open""#, beside: backends),
    "proxy-protocol": .snapshot(#""v1""#, #""v2""#, beside: backends),
    "source-address": .snapshot(#""own""#, #""client""#, beside: backends),
    "resolve-interval": .read("pool.resolveInterval"),
  ]

  private static let proxyHeaderRules: [String: ReloadRule] = [
    "version": .snapshot(#""v1""#, #""v2""#),
    "tlvs": .snapshot("[]", #"["alpn"]"#, beside: #""version": "v2""#),
  ]

  private static let backendRules: [String: ReloadRule] = [
    "address": .snapshot(#""127.0.0.1:1""#, #""127.0.0.1:2""#),
    "weight": .snapshot("2", "3", beside: address),
    "max-connections": .snapshot("2", "3", beside: address),
    "backup": .shown(by: "aChangedValueArrives"),
    "tier": .shown(by: "aChangedValueArrives"), "zone": .shown(by: "aChangedValueArrives"),
    "name": .snapshot(#""a""#, #""b""#, beside: address),
  ]

  private static let backendTLSRules: [String: ReloadRule] = [
    "verify": .snapshot(#""on""#, #""off""#), "ca": .snapshot(#""a.crt""#, #""b.crt""#),
    "server-name": .snapshot(#""a""#, #""b""#),
    "certificate": .snapshot(#"{ "chain": "a", "key": "a" }"#, #"{ "chain": "b", "key": "b" }"#),
    "minimum-version": .snapshot(#""1.2""#, #""1.3""#),
    "pins": .snapshot("[]", #"["\#(String(repeating: "A", count: 43))="]"#),
  ]

  private static let healthRules: [String: ReloadRule] = [
    "check": .snapshot(#""tcp""#, #""http""#),
    "service": .snapshot(#""a""#, #""b""#, beside: grpc),
    "port": .snapshot("81", "82"),
    "path": .snapshot(#""/a""#, #""/b""#, beside: http),
    "host": .snapshot(#""a""#, #""b""#, beside: http),
    "expect": .snapshot("[200]", "[204]", beside: http), "interval": .snapshot(#""5s""#, #""6s""#),
    "fast-interval": .snapshot(#""1s""#, #""2s""#), "timeout": .snapshot(#""1s""#, #""2s""#),
    "rise": .snapshot("3", "4"), "fall": .snapshot("4", "5"),
    "initially": .snapshot(#""up""#, #""down""#),
    "send": .snapshot(#""a""#, #""b""#, beside: #""reply": "c""#),
    "reply": .snapshot(#""a""#, #""b""#),
  ]

  private static let ejectionRules: [String: ReloadRule] = [
    "failures": .snapshot("3", "4"), "base": .snapshot(#""5s""#, #""6s""#),
    "max": .snapshot(#""100s""#, #""200s""#), "failure-percent": .snapshot("50", "60"),
    "window": .snapshot(#""8s""#, #""9s""#), "minimum-requests": .snapshot("50", "60"),
    "max-ejected-percent": .snapshot("50", "60"),
  ]

  private static let failoverRules: [String: ReloadRule] = [
    "factor": .snapshot("1.5", "2"), "panic-percent": .snapshot("30", "40"),
  ]

  private static let queueRules: [String: ReloadRule] = [
    "size": .snapshot("3", "4"), "timeout": .snapshot(#""3s""#, #""4s""#),
  ]

  private static let stickinessRules: [String: ReloadRule] = [
    "cookie": .snapshot(#""a""#, #""b""#), "key": .snapshot(key("1"), key("2"), beside: cookie),
    "path": .snapshot(#""/a""#, #""/b""#, beside: cookie),
    "domain": .snapshot(#""a.example""#, #""b.example""#, beside: cookie),
    "max-age": .snapshot(#""3s""#, #""4s""#, beside: cookie),
    "same-site": .snapshot(#""lax""#, #""strict""#, beside: cookie),
    "secure": .snapshot(#""always""#, #""never""#, beside: cookie),
    "http-only": .snapshot("true", "false", beside: cookie),
  ]

  private static let retryRules: [String: ReloadRule] = [
    "max-attempts": .snapshot("2", "4"), "statuses": .snapshot("[502]", "[503]"),
    "grpc-statuses": .snapshot(#"["unavailable"]"#, #"["internal"]"#),
    "budget-percent": .snapshot("30", "40"), "budget-minimum": .snapshot("5", "6"),
    "replay-size": .snapshot(#""1KiB""#, #""2KiB""#),
  ]

  private static let timeoutsRules: [String: ReloadRule] = [
    "connect": .snapshot(#""3s""#, #""4s""#), "response": .snapshot(#""5s""#, #""6s""#),
    "request": .snapshot(#""70s""#, #""80s""#), "idle": .snapshot(#""7s""#, #""8s""#),
    "relay-idle": .snapshot(#""700s""#, #""800s""#), "grpc-max": .snapshot(#""7s""#, #""8s""#),
  ]

  private static let tcpKeepAliveRules: [String: ReloadRule] = [
    "idle": .snapshot(#""7s""#, #""8s""#), "interval": .snapshot(#""7s""#, #""8s""#),
    "count": .snapshot("7", "8"),
  ]

  private static let keepAliveRules: [String: ReloadRule] = [
    "idle": .snapshot(#""7s""#, #""8s""#), "max-idle": .snapshot("7", "8"),
    "max-age": .snapshot(#""7s""#, #""8s""#),
  ]

  private static let routeRules: [String: ReloadRule] = [
    "host": .snapshot(#""a.example""#, #""b.example""#, beside: #""forward": "app""#),
    "path": .snapshot(#""/a""#, #""/b""#, beside: #""forward": "app""#),
    "match": .snapshot(#""exact""#, #""prefix""#, beside: #""forward": "app", "path": "/a""#),
    "listeners": .read("configuration.routes(on: listener)"),
    "forward": .parts, "redirect": .parts, "respond": .parts, "request": .parts,
    "response": .snapshot(
      #"{ "remove": ["A"] }"#, #"{ "remove": ["B"] }"#, beside: #""forward": "app", "path": "/a""#),
    "error-pages": .shown(by: "a changed error page is used, and an invalid one changes nothing"),
    "grpc-web": .shown(by: "a call of gRPC-Web is translated, and its trailers are in the body"),
    "fault": .parts,
  ]

  private static let faultRules: [String: ReloadRule] = [
    "delay": .snapshot(#""1s""#, #""2s""#), "abort": .snapshot("500", "501"),
    "delay-percent": .snapshot("3", "4", beside: #""delay": "1s""#),
    "abort-percent": .snapshot("3", "4", beside: #""abort": 500"#),
  ]

  private static let redirectRules: [String: ReloadRule] = [
    "status": .snapshot("301", "302", beside: #""scheme": "https""#),
    "scheme": .snapshot(#""http""#, #""https""#, beside: #""host": "a.example""#),
    "host": .snapshot(#""a.example""#, #""b.example""#), "port": .snapshot("81", "82"),
    "path": .snapshot(#""/a""#, #""/b""#),
  ]

  private static let respondRules: [String: ReloadRule] = [
    "status": .snapshot("200", "404"), "draining-status": .snapshot("503", "500"),
    "body": .snapshot(#""a""#, #""b""#),
    "content-type": .snapshot(#""text/a""#, #""text/b""#, beside: #""body": "x""#),
  ]

  private static let editsRules: [String: ReloadRule] = [
    "set": .snapshot(#"{ "A": "1" }"#, #"{ "A": "2" }"#),
    "remove": .snapshot(#"["A"]"#, #"["B"]"#),
  ]

  private static let limitsRules: [String: ReloadRule] = [
    "head-size": .snapshot(#""4KiB""#, #""8KiB""#), "field-count": .snapshot("50", "60"),
    "target-size": .snapshot(#""1KiB""#, #""2KiB""#),
    "body-size": .snapshot(#""1KiB""#, #""2KiB""#),
    "chunk-extensions": .snapshot(#""1KiB""#, #""2KiB""#),
    "trailer-size": .snapshot(#""1KiB""#, #""2KiB""#), "connections": .snapshot("50", "60"),
    "connections-per-address": .snapshot("50", "60"),
    "memory": .read("limits.memory"), "requests-per-connection": .snapshot("50", "60"),
    "streams-per-connection": .snapshot("50", "60"),
    "handshakes": .snapshot("50", "60"), "handshake": .snapshot(#""3s""#, #""4s""#),
    "head": .snapshot(#""3s""#, #""4s""#), "body-idle": .snapshot(#""40s""#, #""50s""#),
    "minimum-rate": .snapshot(#""1KiB""#, #""2KiB""#), "rate-grace": .snapshot(#""3s""#, #""4s""#),
    "keep-alive": .snapshot(#""3s""#, #""4s""#), "lame-duck": .read("limits.lameDuck"),
    "drain": .read("limits.drain"), "upgrade": .read("limits.upgrade"),
    "response-head-size": .snapshot(#""4KiB""#, #""8KiB""#),
    "response-field-count": .snapshot("50", "60"), "linger": .snapshot(#""3s""#, #""4s""#),
    "collect-size": .snapshot(#""1KiB""#, #""2KiB""#),
    "collect-wait": .snapshot(#""3s""#, #""4s""#),
  ]

  private static let pathsRules: [String: ReloadRule] = [
    "encoded-slashes": .snapshot(#""keep""#, #""decode""#),
    "dot-segments": .snapshot(#""refuse""#, #""resolve""#),
  ]

  private static let logRules: [String: ReloadRule] = [
    "access": .snapshot(#""json""#, #""text""#), "sample": .snapshot("2", "3"),
    "slow": .snapshot(#""3s""#, #""4s""#), "redact-query": .snapshot(#"["a"]"#, #"["b"]"#),
    "target": .shown(by: "a reload turns the access log on, over and off"),
    "level": .shown(by: "a new level of the process log is used until the next reload"),
    "format": .read("log.format"),
    "process-target": .shown(by: "both logs go to a Unix socket, message for message"),
  ]

  private static let tracingRules: [String: ReloadRule] = [
    "endpoint": .read("tracing.endpoint"), "sample": .read("tracing.sample"),
    "service-name": .read("tracing.serviceName"),
  ]

  private static let processRules: [String: ReloadRule] = [
    "user": .start(#""a""#, #""b""#), "group": .start(#""a""#, #""b""#, beside: #""user": "c""#),
    "pid-file": .read("configuration.process.pidFile"), "core-dumps": .start("true", "false"),
    "exposed-keys": .read("process.exposedKeys"),
  ]

  private static let adminRules: [String: ReloadRule] = [
    "socket": .shown(by: "a reload moves, removes and creates the admin socket"),
    "listen": .shown(by: "a new address is listened on, and the old one no longer"),
    "certificate": .shown(by: "certificates and authorities of the address are changed"),
    "client-ca": .shown(by: "certificates and authorities of the address are changed"),
    "token-file": .shown(by: "a new token file counts at once, and the old token no longer"),
  ]

  private static let backends = #""backends": [{ "address": "127.0.0.1:1", "max-connections": 3 }]"#
  private static let address = #""address": "127.0.0.1:9001""#
  private static let http = #""check": "http""#
  private static let grpc = #""check": "grpc""#
  private static let cookie = #""cookie": "c""#

  /// A secret of sufficient length.
  private static func key(_ end: String) -> String { "\"0123456789abcdef0123456789abcdef\(end)\"" }

  @Test func `each key is put into force by a reload, or named by it`() throws {
    for section in Reference.sections {
      for key in section.keys {
        let name = "\(section.title).\(key.name)"
        guard let rule = Self.rules[section.title]?[key.name] else {
          Issue.record("\(name) has no rule: say in `rules` how a reload puts it into force")
          continue
        }
        try check(rule, of: key.name, in: section.title)
      }
      let known = Set(section.keys.map(\.name))
      for name in Self.rules[section.title, default: [:]].keys where !known.contains(name) {
        Issue.record("\(section.title).\(name) has a rule, and is no key")
      }
    }
  }

  private func check(_ rule: ReloadRule, of key: String, in section: String) throws {
    let name = "\(section).\(key)"
    switch rule {
    case .snapshot(let old, let new, let beside):
      guard let first = configuration(section, key, old, beside),
        let second = configuration(section, key, new, beside)
      else { return }
      let text = try text(first)
      #expect(try self.text(first) == text, "\(name): not the same twice, so nothing is shown")
      #expect(try self.text(second) != text, "\(name): the snapshot doesn't know it")
      #expect(
        first.changes(to: second).allSatisfy { !$0.needsRestart }, "\(name) is said to stay")
    case .start(let old, let new, let beside):
      guard let first = configuration(section, key, old, beside),
        let second = configuration(section, key, new, beside)
      else { return }
      let staying = first.changes(to: second).filter(\.needsRestart).map(\.what)
      #expect(staying == [section == "configuration" ? key : name])
    case .shown(let test):
      #expect(Self.tests.contains(test), "\(name): there is no test \"\(test)\"")
    case .read(let text):
      #expect(Self.sources.contains(text), "\(name): nothing reads \(text)")
    case .parts, .nothing: break
    }
  }

  private func configuration(
    _ section: String, _ key: String, _ value: String, _ beside: String
  ) -> Configuration? {
    let keys = "\"\(key)\": \(value)" + (beside.isEmpty ? "" : ", \(beside)")
    let file = (Self.templates[section] ?? "")
      .replacing("LISTENERS", with: #""listeners": [{ "name": "web", "listen": "127.0.0.1:0" }]"#)
      .replacing("POOLS", with: #""pools": [{ "name": "app", "backends": ["127.0.0.1:9001"] }]"#)
      .replacing("KEYS", with: keys)
    let result = Configuration.read(Array(file.utf8))
    #expect(result.configuration != nil, "\(section).\(key): \(file)\n\(result)")
    return result.configuration
  }

  // MARK: Snapshots as text

  private static let builder = SnapshotBuilder(workerCount: 1)

  private func text(_ configuration: Configuration) throws -> String {
    let snapshot = try Self.builder.build(
      configuration, certificates: [:], names: NameTable())
    var lines = ["\(snapshot.settings)"]
    for listener in snapshot.listeners {
      lines.append(
        "\(listener.name) \(listener.protocols) \(listener.desync) \(listener.answersHalfClosed) "
          + "\(listener.proxies as [AddressRange]?) \(listener.rules.table) "
          + "\(listener.tcp.map(members) ?? "") \(listener.udp.map(members) ?? "")")
      for route in listener.rules.routes { lines.append(members(of: route)) }
    }
    for settings in snapshot.pools {
      let pool = settings.pool
      lines.append(
        "\(pool.name) \(pool.strategy) \(pool.health) \(pool.allDown) \(pool.budget) "
          + "\(pool.affinityKey) \(pool.boundPercent as Int?) \(pool.failover) "
          + "\(pool.queueMax) \(pool.slowStart as TimeSpan?) \(members(of: settings)) "
          + "\(settings.tls?.id ?? 0) \(settings.protocol)")
      for member in pool.membership.members {
        lines.append(
          "\(member.address) \(member.weight) \(member.maxConnections as Int?) "
            + "\(member.stickyToken) \(member.serverName) \(member.affinityID)")
      }
    }
    return lines.joined(separator: "\n")
  }

  private func members(of object: Any) -> String {
    Mirror(reflecting: object).children.map { "\($0.label ?? "") \($0.value)" }
      .joined(separator: " ")
  }

  // MARK: Files

  private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent()
  private static let tests = text(below: "Tests", except: "ReloadRuleTests.swift")
  private static let sources = text(below: "Sources/Server", except: "")

  private static func text(below folder: String, except name: String) -> String {
    let files = FileManager.default.enumerator(
      at: root.appending(path: folder), includingPropertiesForKeys: nil)
    var texts: [String] = []
    while let file = files?.nextObject() as? URL {
      guard file.pathExtension == "swift" && file.lastPathComponent != name else { continue }
      texts.append((try? String(contentsOf: file, encoding: .utf8)) ?? "")
    }
    return texts.joined()
  }
}
