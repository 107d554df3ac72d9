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
      ["eval", #"document.querySelectorAll("button:not([disabled])").length"#],
      ["errors"],
    ])
    #expect(load.stop().errors.isEmpty)
    #expect(results[1] as? Bool == true && results[2] as? Bool == true)
    #expect((results[3] as? String)?.contains(stub.address) == true)
    // Nothing can be changed here; the only enabled button is the login's.
    #expect(results[4] as? Int == 1)
    #expect((results[5] as? [Any])?.isEmpty == true, "\(results[5])")
  }

  @Test func `with a token, its button drains a backend`() throws {
    let (one, two) = (try StubBackend("one"), try StubBackend("two"))
    let martlet = try MartletProcess(
      backends: [one, two],
      rest: #""admin": { "listen": "127.0.0.1:0", "token-file": "token" }"#,
      token: "a-token-of-some-length")
    let row = #"document.querySelector('#pools tbody tr')"#
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
    ])
    #expect(results[1] as? Bool == true && results[2] as? Bool == true)
    #expect(results[4] as? Bool == true && results[6] as? Bool == true)
    #expect(results[7] as? String == "Enable default/\(one.address)")
    for _ in 0..<4 { #expect(try martlet.get().text == "two") }
  }
}
