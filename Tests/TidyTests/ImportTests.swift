// Checks every import line against one table, which is the architecture (docs/ARCHITECTURE.md).
//
// The compiler refuses a target that Package.swift doesn't declare, but a file can import targets
// that are only reachable through another one. The compiler also doesn't know pure targets, which
// may not call the C library. This table does.

import Testing

/// The allowed imports of each target. Every target must be listed here.
private let allowedImports: [String: Set<String>] = [
  // Pure: no C library, no Foundation, no clock, no randomness. Synchronization is atomics.
  "Primitives": ["Synchronization"],
  "HTTP": ["Primitives"],
  "HTTP1": ["HTTP", "Primitives"],
  "HTTP2": ["HTTP", "Primitives"],
  "ProxyProtocol": ["Primitives"],
  "Balancing": ["Primitives", "Synchronization"],
  "Proxy": ["Balancing", "HTTP", "Primitives"],
  "Configuration": ["Primitives"],

  "Metrics": ["Primitives", "Synchronization"],
  "Reactor": ["CLinux", "Glibc", "Primitives", "Synchronization"],
  "TLS": ["COpenSSL", "Glibc", "Primitives", "Synchronization"],
  "Server": [
    "Balancing", "Configuration", "Glibc", "HTTP", "HTTP1", "HTTP2", "Logging", "Metrics",
    "Primitives", "Proxy", "ProxyProtocol", "Reactor", "Synchronization", "TLS",
  ],
  "martlet": [
    "ArgumentParser", "Configuration", "Glibc", "Logging", "Primitives", "Reactor", "Server",
  ],
  // The load generator of the benchmark, which isn't part of the product.
  "Steady": ["ArgumentParser", "HTTP", "HTTP1", "Metrics", "Primitives", "Reactor"],
]

/// The module in an import line, or nil for any other line.
func importedModule(_ line: String) -> String? {
  guard line.contains("import") else { return nil }
  var words = line.split(whereSeparator: \.isWhitespace)
  let levels: Set<Substring> = ["public", "package", "internal", "fileprivate", "private"]
  while let first = words.first, first.hasPrefix("@") || levels.contains(first) {
    words.removeFirst()
  }
  guard words.first == "import", words.count > 1 else { return nil }
  // `import struct Module.Name` contains a kind first.
  let kinds: Set<Substring> = [
    "struct", "class", "enum", "protocol", "typealias", "func", "let", "var",
  ]
  let name = kinds.contains(words[1]) && words.count > 2 ? words[2] : words[1]
  return name.split(separator: ".").first.map(String.init)
}

@Suite struct ImportTests {
  @Test(arguments: [
    ("import Glibc", "Glibc"), ("  public import HTTP", "HTTP"),
    ("@testable import Server", "Server"), ("@_exported public import TLS", "TLS"),
    ("import struct Foundation.Data", "Foundation"), ("import Foundation.NSData", "Foundation"),
  ])
  func everyFormOfAnImportIsRead(line: String, module: String) {
    #expect(importedModule(line) == module)
  }

  @Test func aTargetImportsOnlyWhatTheTableAllows() {
    var broken: [String] = []
    for file in SourceTree.sources {
      guard let target = file.target, let allowed = allowedImports[target] else {
        broken.append("\(file.path): its target is not in the table")
        continue
      }
      broken += places(in: [file], of: \.codeLines) { line in
        importedModule(line).flatMap { allowed.contains($0) ? nil : "\(target) imports \($0)" }
      }
    }
    expectNone("Arrows only go down, and pure targets stay pure.", broken)
  }

  @Test func theTableNamesNoTargetThatIsGone() {
    let present = Set(SourceTree.sources.compactMap(\.target))
    #expect(Set(allowedImports.keys).subtracting(present) == [])
  }
}
