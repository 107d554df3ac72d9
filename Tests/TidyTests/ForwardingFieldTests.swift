// docs/SECURITY.md lists the forwarding fields that Martlet knows, and no others.

import Foundation
import Testing

@Suite struct ForwardingFieldTests {
  private static func names(in text: Substring) -> Set<String> {
    Set(text.matches(of: /[`"]([A-Z][A-Za-z]*(?:-[A-Za-z]+)*-?)[`"]/).map { String($0.1) })
  }

  @Test func theTableHasEveryForwardingField() throws {
    let code = try #require(SourceTree.file("Sources/HTTP/ForwardingFields.swift")?.text)
    // The fields that Martlet reads or writes are cases there.
    let known: Set = [
      "Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host",
      "X-Forwarded-Port", "X-Real-IP",
    ]
    let page = try #require(SourceTree.file("docs/SECURITY.md")?.text)
    let section = try #require(page.range(of: "### Forwarding fields"))
    let end = try #require(page[section.upperBound...].range(of: "The rules:"))
    let table = Self.names(in: page[section.upperBound..<end.lowerBound])
    let listed = Self.names(in: code[...])
    #expect(listed.count > 12)
    // An example of a name that begins with `X-Forwarded-`.
    #expect(table.subtracting(["X-Forwarded-Scheme"]) == listed.union(known))
  }
}
