// Reads configurations for the tests of this target.

import Configuration

/// A valid pool, for tests of other sections.
let somePools = #""pools": [{ "backends": ["127.0.0.1:9001"] }]"#

/// The printed diagnostics for `text`.
func diagnose(_ text: String, _ overrides: Overrides = Overrides()) -> [String] {
  Configuration.read(Array(text.utf8), file: "c.json", overrides: overrides)
    .diagnostics.map(\.description)
}

/// The configuration of a text without errors.
func configuration(_ text: String?, _ overrides: Overrides = Overrides()) -> Configuration? {
  let bytes = text.map { Array($0.utf8) }
  return Configuration.read(bytes, file: "c.json", overrides: overrides).configuration
}
