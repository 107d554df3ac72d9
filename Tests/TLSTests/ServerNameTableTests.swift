// The certificate for each server name.

import Testing

@testable import TLS

@Suite("ServerNameTable") struct ServerNameTableTests {
  @Test("An exact name takes precedence over a wildcard, in any order")
  func exactFirst() {
    let table = ServerNameTable([
      (names: ["*.a.test"], algorithm: 0), (names: ["x.a.test"], algorithm: 0),
    ])
    #expect(table.groups[table.group(for: "x.a.test")] == [1])
    #expect(table.groups[table.group(for: "y.a.test")] == [0])
  }

  @Test("A wildcard matches exactly one label")
  func oneLabel() {
    let table = ServerNameTable([
      (names: ["default.test"], algorithm: 0), (names: ["*.a.test"], algorithm: 0),
    ])
    #expect(table.groups[table.group(for: "x.a.test")] == [1])
    for name in ["a.test", "x.y.a.test", ".a.test", "a", "", ".", "*.b.test"] {
      #expect(table.group(for: name) == 0)
    }
  }

  @Test("Certificates of different algorithms form a group; of the same, the first wins")
  func groups() {
    let table = ServerNameTable([
      (names: ["a.test", "b.test"], algorithm: 0), (names: ["a.test"], algorithm: 1),
      (names: ["a.test", "b.test"], algorithm: 0),
    ])
    #expect(table.groups[table.group(for: "a.test")] == [0, 1])
    #expect(table.groups[table.group(for: "b.test")] == [0])
    #expect(table.groups[0] == [0, 1])
  }

  @Test("A certificate without names can be the default")
  func nameless() {
    let table = ServerNameTable([
      (names: [], algorithm: 0), (names: ["a.test"], algorithm: 0),
    ])
    #expect(table.groups[table.group(for: "b.test")] == [0])
    #expect(table.groups[table.group(for: "a.test")] == [1])
  }
}
