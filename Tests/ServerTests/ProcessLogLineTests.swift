// A line of the process log is always one line, begins with its message, and shows where each value
// ends, whatever the value is.

import Foundation
import Primitives
import Testing

@testable import Server

@Suite struct ProcessLogLineTests {
  private let line = ProcessLogLine(
    level: "warning", message: "backend down: checks-failed",
    metadata: [
      ("backend", "10.0.0.1:80"), ("reason", "status 503, expected 200-399"), ("empty", ""),
      ("odd", "a\"b\\c\nd=é"),
    ], time: 1_767_323_045_678_000_000)

  private func written(
    _ line: ProcessLogLine, json: Bool = false, hasTime: Bool = true
  ) -> String {
    var text = ByteBuffer()
    line.write(json ? .json : .text, hasTime: hasTime, to: &text)
    return String(decoding: text.array(0..<text.count), as: UTF8.self)
  }

  @Test func textHasTimeLevelMessageAndValuesWithQuotesWhereTheyAreNeeded() {
    #expect(
      written(line)
        == #"2026-01-02T03:04:05.678Z warning backend down: checks-failed backend=10.0.0.1:80 "#
        + #"reason="status 503, expected 200-399" empty="" odd="a\"b\\c\nd=é""#)
  }

  @Test func syslogHasTimeAndLevelElsewhere() {
    #expect(written(line, hasTime: false).hasPrefix("backend down: checks-failed backend="))
  }

  @Test func jsonHasTheSameMembers() throws {
    let text = written(line, json: true)
    let object = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: String]
    #expect(
      object == [
        "time": "2026-01-02T03:04:05.678Z", "level": "warning",
        "message": "backend down: checks-failed", "backend": "10.0.0.1:80",
        "reason": "status 503, expected 200-399", "empty": "", "odd": "a\"b\\c\nd=é",
      ])
  }

  @Test(arguments: ["one\ntwo", "bell\u{7}", "\u{1B}[31mred", "c1\u{9B}x", "\r\n"])
  func nothingInAMessageBreaksTheLine(message: String) {
    let line = ProcessLogLine(level: "error", message: message, metadata: [("key", message)])
    for json in [false, true] {
      let controls = written(line, json: json).unicodeScalars.filter {
        $0.properties.generalCategory == .control
      }
      #expect(controls.isEmpty)
    }
  }
}
