// The dashboard in a real browser: it loads without an error, its numbers change, and its buttons
// work.

import Foundation
import Testing

@Suite(.serialized) struct DashboardTests {
  /// Runs `commands` in a browser (Browser/browser.py), and returns their results.
  private func browse(_ commands: [[Any]]) throws -> [Any] {
    let lines = try commands.map { command in
      String(decoding: try JSONSerialization.data(withJSONObject: command), as: UTF8.self)
    }
    let script = (#filePath as NSString).deletingLastPathComponent + "/Browser/browser.py"
    let result = try run(
      ["python3", script], input: lines.joined(separator: "\n") + "\n", atMost: 120)
    #expect(result.status == 0, "\(result.errors)")
    return try result.output.split(separator: "\n").map { line in
      let value = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
      let object = try #require(value)
      #expect(object["error"] == nil, "\(line)")
      return object["result"] ?? NSNull()
    }
  }

  private func address(_ martlet: MartletProcess) throws -> String {
    "http://127.0.0.1:\(try martlet.adminPort())/"
  }

  private static let requestsMove =
    #"Number(document.getElementById("requests")?.textContent.replaceAll(",", "")) > 0"#

  @Test func `it loads without an error, and its numbers change under load`() throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(
      backends: [stub], rest: #""admin": { "listen": "127.0.0.1:0" }"#)
    let load = Load(martlet)
    let results = try browse([
      ["open", address(martlet)],
      ["until", Self.requestsMove, 30],
      ["until", #"document.querySelector('#pools .mark.up') !== null"#, 10],
      ["eval", #"document.querySelector('#pools tbody').textContent"#],
      ["eval", "document.title"],
      ["eval", "document.querySelectorAll('.alarm').length"],
      ["eval", "document.getElementById('tools').hidden"],
      ["errors"],
    ])
    #expect(load.stop().errors.isEmpty)
    #expect(results[1] as? Bool == true && results[2] as? Bool == true)
    #expect((results[3] as? String)?.contains(stub.address) == true)
    #expect(results[4] as? String == "Martlet" && results[5] as? Int == 0)
    // One backend needs no filter.
    #expect(results[6] as? Bool == true)
    #expect((results[7] as? [Any])?.isEmpty == true, "\(results[7])")
  }

  @Test func `a pool without an available backend is the loudest thing on the page`() throws {
    let dead = try (0..<3).map { _ in "127.0.0.1:\(try freePort())" }
    let martlet = try MartletProcess(
      backends: dead, pool: #""health": { "interval": "100ms", "fall": 1 }"#,
      rest: #""admin": { "listen": "127.0.0.1:0" }"#)
    let banner = "document.querySelector('.alarm.down')"
    let results = try browse([
      ["open", address(martlet)],
      ["until", "document.title === '0 of 3 up: default – Martlet'", 30],
      ["eval", "\(banner).textContent"],
      ["eval", "getComputedStyle(\(banner)).backgroundColor"],
      ["eval", "parseFloat(getComputedStyle(\(banner).querySelector('.count')).fontSize)"],
      [
        "eval",
        "Math.max(...[...document.querySelectorAll('#seen *')]"
          + ".map(node => parseFloat(getComputedStyle(node).fontSize)))",
      ],
      ["eval", "decodeURIComponent(document.querySelector('link[rel=icon]').href)"],
      ["eval", "document.querySelector('#pools .pill').textContent"],
      ["eval", "document.getElementById('spoken').textContent"],
      ["eval", "[...document.querySelectorAll('#pools tr.out')].length"],
      ["errors"],
    ])
    #expect(results[1] as? Bool == true)
    let text = try #require(results[2] as? String)
    for part in ["0 of 3 up", "default: no backend is available. Clients get 503."] + dead {
      #expect(text.contains(part), "\(text)")
    }
    #expect(["rgb(185, 28, 28)", "rgb(194, 38, 38)"].contains(results[3] as? String ?? ""))
    let (count, largest) = (results[4] as? Double ?? 0, results[5] as? Double ?? 99)
    #expect(count > largest, "\(count) \(largest)")
    let icon = try #require(results[6] as? String)
    #expect(icon.contains("fill='#dc2626'") && icon.contains(">0/3<"), "\(icon)")
    #expect(results[7] as? String == "0 of 3 up")
    #expect(results[8] as? String == "Pool default: no backend is available, 0 of 3 up.")
    #expect(results[9] as? Int == 3)
    #expect((results[10] as? [Any])?.isEmpty == true, "\(results[10])")
  }

  @Test func `a pool whose requests all fail is red before a health check has failed`() throws {
    let dead = "127.0.0.1:\(try freePort())"
    let martlet = try MartletProcess(
      backends: [dead], pool: #""health": "off""#,
      rest: #""admin": { "listen": "127.0.0.1:0" }"#)
    let load = Load(martlet)
    let results = try browse([
      ["open", address(martlet)],
      ["until", "document.title === 'Requests fail: default – Martlet'", 30],
      ["eval", "document.querySelector('.alarm.down').textContent"],
      ["eval", "document.querySelector('#pools .pool').className"],
      ["eval", "document.getElementById('spoken').textContent"],
      ["errors"],
    ])
    load.stop()
    #expect(results[1] as? Bool == true)
    let text = try #require(results[2] as? String)
    let title = "default: almost all requests to its backends fail."
    for part in ["1 of 1 up", title, "\(dead) up: connect-refused"] {
      #expect(text.contains(part), "\(text)")
    }
    #expect(results[3] as? String == "card pool none")
    #expect(results[4] as? String == "Pool default: almost all requests fail, 1 of 1 up.")
    #expect((results[5] as? [Any])?.isEmpty == true, "\(results[5])")
  }

  @Test func `a TCP listener and its pool are shown by their connections`() throws {
    let stub = try StubBackend()
    let dead = "127.0.0.1:\(try freePort())"
    let martlet = try MartletProcess(
      """
      { "listeners": [{ "name": "in", "listen": "127.0.0.1:0", "protocol": "tcp", "pool": "app",
          "max-connections": 1 }],
        "pools": [{ "name": "app", "backends": ["\(stub.address)", "\(dead)"], "health": "off",
          "ejection": "off" }],
        "log": { "target": "access.log" }, "admin": { "listen": "127.0.0.1:0" } }
      """, keeping: [stub])
    for number in 1...6 {
      #expect(try martlet.get().status == 200)
      _ = try martlet.accessLines(atLeast: number)
    }
    let open = try martlet.wire()
    try open.send("GET")
    eventually("it is open") { hasEstablishedConnection(toPort: stub.port) }
    #expect((try? martlet.get()) == nil)
    let visible = "[...document.querySelectorAll('.figures .card')].filter(card => !card.hidden)"
    let results = try browse([
      ["open", address(martlet)],
      [
        "until",
        "document.querySelectorAll('#incidents li').length > 0"
          + " && document.querySelectorAll('#pools tbody tr').length > 1",
        30,
      ],
      ["eval", "\(visible).map(card => card.querySelector('h2').textContent)"],
      ["eval", "[...document.querySelectorAll('#pools th')].map(cell => cell.textContent)"],
      [
        "eval",
        "[...document.querySelectorAll('#pools tbody tr')].map(row =>"
          + " [...row.querySelectorAll('td.number span')].map(cell => cell.textContent))",
      ],
      ["eval", "[...document.querySelectorAll('#flows tbody td')].map(cell => cell.textContent)"],
      ["eval", "document.getElementById('routes-card').hidden"],
      ["eval", "document.querySelector('#incidents summary').textContent"],
      ["eval", "document.querySelector('#incidents tbody').textContent"],
      ["eval", "document.querySelectorAll('.alarm').length"],
      ["errors"],
    ])
    open.end()
    #expect(results[1] as? Bool == true)
    #expect(
      results[2] as? [String] == ["TCP connections", "TCP failures", "Sent", "Client connections"])
    let titles = try #require(results[3] as? [String])
    for title in ["Att/s", "Failed/s", "Open", "Ended well", "Failed", "Received", "Sent"] {
      #expect(titles.contains(title), "\(titles)")
    }
    let rows = try #require(results[4] as? [[String]])
    // Attempts, failed attempts, open, ended well, failed, received, sent.
    #expect(rows.count == 2 && rows[0][2] == "1" && rows[0][3] == "6", "\(rows)")
    #expect(rows[0][5].hasSuffix(" B") && rows[0][5] != "0 B" && rows[1][3] == "0", "\(rows)")
    let flow = try #require(results[5] as? [String])
    #expect(Array(flow.prefix(6)) == ["in", "all → app", "1", "6", "0", "1"], "\(flow)")
    #expect(results[6] as? Bool == true)
    let incident = try #require(results[7] as? String)
    #expect(incident.contains("connect-refused") && incident.contains("connected after a retry"))
    #expect(!incident.contains("undefined"), "\(incident)")
    let incidents = try #require(results[8] as? String)
    #expect(incidents.contains("TCP in → app") && !incidents.contains("undefined"), "\(incidents)")
    #expect(results[9] as? Int == 0)
    #expect((results[10] as? [Any])?.isEmpty == true, "\(results[10])")
  }

  @Test func `a disabled button says why`() throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(
      backends: [stub, "nowhere.invalid:80"], rest: #""admin": { "listen": "127.0.0.1:0" }"#)
    let button = "document.querySelector('#pools button[data-key=\"default/\(stub.address)\"]')"
    let results = try browse([
      ["open", address(martlet)],
      ["until", "\(button)?.getAttribute('aria-disabled') === 'true'", 30],
      [
        "eval",
        "document.getElementById(\(button).getAttribute('aria-describedby')).textContent",
      ],
      ["eval", "\(button).focus(); document.getElementById('tip').textContent"],
      ["eval", "\(button).click(); document.activeElement === \(button)"],
      ["errors"],
    ])
    #expect(results[1] as? Bool == true)
    let why = try #require(results[2] as? String)
    #expect(why.hasPrefix("Read-only: ") && why.contains("admin.token-file"), "\(why)")
    // It can be reached by keyboard, and then shows its reason.
    #expect(results[3] as? String == why && results[4] as? Bool == true)
    #expect((results[5] as? [Any])?.isEmpty == true, "\(results[5])")
    #expect(try martlet.get().status == 200)
  }

  @Test func `from twenty backends on it filters and sorts`() throws {
    let stubs = try (0..<20).map { try StubBackend("\($0)") }
    let martlet = try MartletProcess(
      backends: stubs, rest: #""admin": { "listen": "127.0.0.1:0" }"#)
    let drained = stubs[13].address
    let drain = try MartletProcess.start(["drain", "default/\(drained)"], in: martlet.folder)
    #expect(try drain.waitForExit() == 0, "\(drain.errorText)")
    let listed =
      "[...document.querySelectorAll('#pools tbody tr')].map(row => row.firstChild.textContent)"
    func choose(_ id: String, _ value: String) -> String {
      "document.getElementById('\(id)').value = '\(value)';"
        + "document.getElementById('\(id)').dispatchEvent(new Event('input')); \(listed)"
    }
    let results = try browse([
      ["open", address(martlet)],
      ["until", "document.querySelector('#pools .mark.draining') !== null", 30],
      ["eval", "document.getElementById('tools').hidden"],
      ["eval", listed],
      ["eval", choose("sort", "state")],
      ["eval", choose("only", "out")],
      ["eval", choose("only", "") + ".length"],
      ["eval", choose("filter", stubs[4].address)],
      ["eval", "document.getElementById('matches').textContent"],
      ["errors"],
    ])
    #expect(results[1] as? Bool == true && results[2] as? Bool == false)
    #expect(results[3] as? [String] == stubs.map(\.address))
    #expect((results[4] as? [String])?.first == drained && results[5] as? [String] == [drained])
    #expect(results[6] as? Int == 20)
    #expect(results[7] as? [String] == [stubs[4].address])
    #expect(results[8] as? String == "1 of 20 backends")
    #expect((results[9] as? [Any])?.isEmpty == true, "\(results[9])")
  }

  @Test func `retries with the same cause are one row, and charts and strips show times`() throws {
    let (one, dead) = (try StubBackend("one"), "127.0.0.1:\(try freePort())")
    let martlet = try MartletProcess(
      backends: [one, dead], pool: #""health": "off", "ejection": "off""#,
      rest: #""admin": { "listen": "127.0.0.1:0" }"#)
    for _ in 0..<16 { #expect(try martlet.get().status == 200) }
    func point(_ selector: String) -> String {
      "(box => (document.querySelector('\(selector)').dispatchEvent(new PointerEvent("
        + "'pointermove', { clientX: box.right - 1, clientY: box.top + 2 })),"
        + "document.getElementById('tip').textContent))"
        + "(document.querySelector('\(selector)').getBoundingClientRect())"
    }
    let results = try browse([
      ["open", address(martlet)],
      ["until", "document.querySelectorAll('#incidents li').length > 0", 30],
      ["eval", "document.querySelectorAll('#incidents li').length"],
      [
        "eval",
        "[...document.querySelector('#incidents summary').children].map(node => node.textContent)",
      ],
      ["eval", "document.querySelectorAll('#incidents tbody tr').length"],
      ["until", "document.querySelector('#pools .strip rect') !== null", 10],
      ["eval", point(".chart svg")],
      ["eval", point("#pools .strip")],
      ["eval", "document.getElementById('clock').textContent"],
      ["errors"],
    ])
    #expect(results[1] as? Bool == true && results[2] as? Int == 1)
    let row = try #require(results[3] as? [String])
    // The number of requests to the dead backend depends on the retries, which also take turns.
    let count = try #require(Int(row[1].split(separator: "×").last ?? ""), "\(row)")
    #expect(row[1] == "\(dead): connect-refused ×\(count)" && count >= 8, "\(row)")
    #expect(row[2] == "\(count) requests, all answered after a retry", "\(row)")
    #expect((results[4] as? Int ?? 0) >= 8 && results[5] as? Bool == true)
    #expect((results[6] as? String)?.contains(#/^[0-9:]{8}  .*/s$/#) == true, "\(results[6])")
    #expect(
      (results[7] as? String)?.contains(#/^[0-9:]{8}(–[0-9:]{8})?  up$/#) == true, "\(results[7])")
    #expect((results[8] as? String)?.contains(#/^[0-9:]{8} [A-Z]/#) == true, "\(results[8])")
    #expect((results[9] as? [Any])?.isEmpty == true, "\(results[9])")
  }

  @Test func `with a token, its button drains a backend`() throws {
    let (one, two) = (try StubBackend("one"), try StubBackend("two"))
    let martlet = try MartletProcess(
      backends: [one, two],
      rest: #""admin": { "listen": "127.0.0.1:0", "token-file": "token" }"#,
      token: "a-token-of-some-length")
    let row = #"document.querySelector('#pools tbody tr')"#
    let last = "\(row).nextSibling"
    let dialog = "document.getElementById('confirm')"
    let results = try browse([
      ["open", address(martlet)],
      ["until", #"document.getElementById("login")?.hidden === false"#, 30],
      ["eval", #"document.querySelector('#pools tbody') === null"#],
      [
        "eval",
        #"document.getElementById("token").value = "a-token-of-some-length";"#
          + #"document.getElementById("login").requestSubmit()"#,
      ],
      ["until", "\(row) !== null", 20],
      ["eval", "\(row).querySelector(\"button\").click()"],
      ["until", "\(row).querySelector(\".mark\").textContent === \"draining\"", 20],
      ["eval", "\(row).querySelector(\"button\").getAttribute(\"aria-label\")"],
      // The last available backend is drained only after a confirmation.
      ["eval", "\(last).querySelector('button').click()"],
      ["until", "\(dialog).open", 20],
      ["eval", "\(dialog).querySelector('p').textContent"],
      ["eval", "\(dialog).querySelector('[value=no]').click()"],
      ["eval", "\(last).querySelector('.mark').textContent"],
      ["until", "\(last).querySelector('button').click(), \(dialog).open", 20],
      ["eval", "\(dialog).querySelector('[value=yes]').click()"],
      ["until", "document.title === '0 of 2 up: default – Martlet'", 20],
    ])
    #expect(results[1] as? Bool == true && results[2] as? Bool == true)
    #expect(results[4] as? Bool == true && results[6] as? Bool == true)
    #expect(results[7] as? String == "Enable default/\(one.address)")
    #expect(results[9] as? Bool == true)
    let question = try #require(results[10] as? String)
    #expect(question.hasPrefix("\(two.address) is the last available backend of default"))
    #expect(results[12] as? String == "up" && results[15] as? Bool == true)
    #expect(try martlet.get().status == 503)
  }
}
