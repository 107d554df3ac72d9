// A page of the documentation as a list of steps: its fenced blocks in order, and instructions for
// the test.
//
// The text after the fence tells the kind of a block: `sh` (commands), `console` (commands after "$
// ", each with its output), `json` (a configuration, or a part of one, and its file name), `nginx`,
// `haproxy` or `caddyfile`. `text` and `mermaid` are ignored. A comment `<!-- test: COMMAND -->` is
// a step that readers don't see; `<!-- not run: REASON -->` before a block skips it.

import Foundation

struct DocumentedPage: CustomStringConvertible, Sendable {
  struct Step: Sendable {
    enum Kind: Sendable, Equatable {
      case commands
      /// Commands, each with its output.
      case console
      case configuration
      case peer(String)
      case notRun(reason: String)
      case unknown(String)
    }

    let kind: Kind
    let text: String
    /// The file name of the block.
    let file: String?
    let line: Int
  }

  struct Command {
    let text: String
    /// The output in the page; empty if there is none.
    var output = ""
    /// Whether it runs until it is ended.
    var isLasting: Bool {
      text.contains(#/^martlet (run|backend|top|tap)\b/#) && !text.contains("--count")
    }
  }

  let path: String
  let steps: [Step]
  var description: String { path }

  /// `path` is relative to the root of the project.
  init(_ path: String) throws {
    self.path = path
    let whole = try String(contentsOfFile: "\(Installation.root)/\(path)", encoding: .utf8)
    var steps: [Step] = []
    var lines = ArraySlice(whole.components(separatedBy: "\n"))
    var reason: String?
    while let line = lines.popFirst() {
      let number = lines.startIndex
      let words = line.split(separator: " ").map(String.init)
      if let command = Self.comment("test", line) {
        steps.append(Step(kind: .commands, text: command, file: nil, line: number))
      } else if let said = Self.comment("not run", line) {
        reason = said
      } else if let fence = words.first, fence.hasPrefix("```") {
        let body = lines.prefix { !$0.hasPrefix("```") }
        lines = lines.dropFirst(body.count + 1)
        let kind = reason.map { .notRun(reason: $0) } ?? Self.kind(String(fence.dropFirst(3)))
        reason = nil
        guard let kind else { continue }
        steps.append(
          Step(
            kind: kind, text: body.joined(separator: "\n"),
            file: words.count > 1 ? words[1] : nil, line: number))
      }
    }
    self.steps = steps
  }

  private static func comment(_ name: String, _ line: String) -> String? {
    guard line.hasPrefix("<!-- \(name): "), line.hasSuffix(" -->") else { return nil }
    return String(line.dropFirst(name.count + 7).dropLast(4))
  }

  /// Nil for a block that is ignored.
  private static func kind(_ info: String) -> Step.Kind? {
    switch info {
    case "text", "mermaid": nil
    case "sh": .commands
    case "console": .console
    case "json": .configuration
    case "nginx", "haproxy", "caddyfile": .peer(info)
    default: .unknown(info)
    }
  }
}

extension DocumentedPage.Step {
  /// The commands of a block. Consecutive commands without output are one script, unless they run
  /// until they are ended.
  var commands: [DocumentedPage.Command] {
    var result: [DocumentedPage.Command] = []
    var continues = false
    for line in text.components(separatedBy: "\n") {
      let isCommand = continues || kind != .console || line.hasPrefix("$ ")
      if isCommand {
        let joins = continues || kind != .console && !(result.last?.isLasting ?? true)
        let command = DocumentedPage.Command(
          text: kind == .console && !continues ? String(line.dropFirst(2)) : line)
        if joins && (continues || !command.isLasting), let last = result.popLast() {
          result.append(DocumentedPage.Command(text: "\(last.text)\n\(line)"))
        } else {
          result.append(command)
        }
      } else if let last = result.indices.last {
        result[last].output += line + "\n"
      }
      continues = isCommand && line.hasSuffix("\\")
    }
    return result
  }
}
