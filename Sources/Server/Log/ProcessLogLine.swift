// One line of the process log: `TIME LEVEL message key=value ...`, or the same as a JSON object.
//
// It is always one line: characters in the message and the values that could break it are escaped.

import Configuration
import Primitives
import Reactor

struct ProcessLogLine {
  let level: String
  let message: String
  let metadata: [(key: String, value: String)]
  /// Nanoseconds since 1970.
  var time = SystemClock.wall()

  /// Appends the line, without a line end. `hasTime` adds the time and the level, for which syslog
  /// has its own fields.
  func write(
    _ format: Configuration.Log.Format, hasTime: Bool = true, to line: inout ByteBuffer
  ) {
    switch format {
    case .text: writeText(hasTime, to: &line)
    case .json: writeJSON(to: &line)
    }
  }

  private func writeText(_ hasTime: Bool, to line: inout ByteBuffer) {
    if hasTime {
      var clock = LogClock()
      clock.writeTime(time, to: &line)
      line.append(string: " \(level) ")
    }
    line.append(string: Self.oneLine(message))
    for (key, value) in metadata {
      line.append(string: " \(key)=")
      if Self.isPlain(value) {
        line.append(string: value)
      } else {
        line.appendJSONString(Array(value.utf8).span)
      }
    }
  }

  private func writeJSON(to line: inout ByteBuffer) {
    var clock = LogClock()
    line.append("{\"time\":\"")
    clock.writeTime(time, to: &line)
    line.append("\",\"level\":")
    line.appendJSONString(Array(level.utf8).span)
    line.append(",\"message\":")
    line.appendJSONString(Array(message.utf8).span)
    for (key, value) in metadata {
      line.append(",")
      line.appendJSONString(Array(key.utf8).span)
      line.append(":")
      line.appendJSONString(Array(value.utf8).span)
    }
    line.append("}")
  }

  /// Whether the value needs no quotes.
  private static func isPlain(_ value: String) -> Bool {
    !value.isEmpty
      && value.utf8.allSatisfy { byte in
        byte > 0x20 && byte < 0x7F && byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "=")
          && byte != UInt8(ascii: "\\")
      }
  }

  /// A message with escaped line ends and other control characters.
  private static func oneLine(_ message: String) -> String {
    var text = ""
    for scalar in message.unicodeScalars {
      switch scalar {
      case "\n": text += "\\n"
      case _ where scalar.properties.generalCategory == .control:
        text += "\\u{" + String(scalar.value, radix: 16) + "}"
      default: text.unicodeScalars.append(scalar)
      }
    }
    return text
  }
}
