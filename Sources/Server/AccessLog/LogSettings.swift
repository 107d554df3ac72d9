// What of the access log a configuration decides, in the form that the request path reads: which
// exchanges have a line, and what it looks like. Where it is written to is AccessLogWriter's.

import Configuration
import Primitives

struct LogSettings: Sendable {
  var format = AccessLog.Format.off
  /// Of the template; empty for other formats.
  var template = LogTemplate([])
  /// Of the exchanges that went well and fast, one in so many has a line; 0 for none.
  var sample = 1
  /// From here on an exchange isn't fast.
  var slow = TimeSpan.nanoseconds(.max)
  /// Parameters of queries whose values are hidden.
  var hidden: [[UInt8]] = []

  init() {}

  init(_ log: Configuration.Log) {
    switch log.access {
    case .json: format = .json
    case .text: format = .text
    case .off: format = .off
    case .template(let parts):
      format = .template
      template = LogTemplate(parts.parts)
    }
    sample = log.sample
    slow = log.slow
    hidden = log.redactQuery.map { Array($0.utf8) }
  }
}

/// A template as it is filled in: the texts one behind the other in one block, so that no part has
/// memory of its own to be counted.
struct LogTemplate: Sendable {
  struct Part: Sendable {
    /// Where its text stands; empty for a field.
    let text: Range<Int>
    let field: Configuration.LogTemplate.Field?
  }

  private(set) var texts: [UInt8] = []
  private(set) var parts: [Part] = []

  init(_ parts: [Configuration.LogTemplate.Part]) {
    for part in parts {
      let start = texts.count
      switch part {
      case .text(let text):
        texts += Array(text.utf8)
        self.parts.append(Part(text: start..<texts.count, field: nil))
      case .field(let field):
        self.parts.append(Part(text: start..<start, field: field))
      }
    }
  }
}
