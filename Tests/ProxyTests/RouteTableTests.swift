// RouteTable: the first matching route by host and path.

import Primitives
import Proxy
import Testing

@Suite struct RouteTableTests {
  private func match(_ table: RouteTable, _ host: String, _ path: String) -> Int? {
    table.match(host: Array(host.utf8).span, path: Array(path.utf8).span)
  }

  @Test func anEmptyTableMatchesNothing() {
    #expect(match(RouteTable([]), "example.org", "/") == nil)
  }

  @Test func theFirstMatchWinsWithAnyKindOfHost() {
    let hosts: [RouteMatch.Host] = [.any, .exact("a.example.org"), .below("example.org")]
    for first in 0..<3 {
      for second in 0..<3 where first != second {
        let table = RouteTable([RouteMatch(host: hosts[first]), RouteMatch(host: hosts[second])])
        #expect(match(table, "a.example.org", "/") == 0)
      }
    }
  }

  @Test func aLaterRouteIsTakenWhereTheFirstDoesNotMatchThePath() {
    let table = RouteTable([
      RouteMatch(host: .exact("a"), path: .prefix("/x")), RouteMatch(path: .prefix("/y")),
      RouteMatch(host: .exact("a")), RouteMatch(),
    ])
    #expect(match(table, "a", "/x/1") == 0)
    #expect(match(table, "a", "/y") == 1)
    #expect(match(table, "a", "/z") == 2)
    #expect(match(table, "b", "/x") == 3)
  }

  @Test(arguments: [
    ("example.org", 0), ("EXAMPLE.Org", 0), ("example.org.", 0), ("www.example.org", 1),
    ("a.b.example.ORG.", 1), ("wwwexample.org", nil), ("example.org..", 0), ("a.example.org...", 1),
    (".example.org", nil),
    ("org", nil), ("", nil), (".", nil), ("..", nil), ("example.com", nil), ("[::1]", 2),
    ("localhost", 3),
  ])
  func hostsAreComparedWithoutCaseAndTrailingDot(host: String, route: Int?) {
    let table = RouteTable([
      RouteMatch(host: .exact("example.org")), RouteMatch(host: .below("example.org")),
      RouteMatch(host: .exact("[::1]")), RouteMatch(host: .exact("LOCALHOST")),
    ])
    #expect(match(table, host, "/") == route)
  }

  @Test func theMostSpecificPatternWinsOnlyByItsPlace() {
    let table = RouteTable([
      RouteMatch(host: .below("b.example.org")), RouteMatch(host: .below("example.org")),
      RouteMatch(host: .below("c.example.org")),
    ])
    #expect(match(table, "a.b.example.org", "/") == 0)
    #expect(match(table, "a.c.example.org", "/") == 1)
    #expect(match(table, "b.example.org", "/") == 1)
  }

  @Test(arguments: [
    ("/api", true), ("/api/", true), ("/api/x", true), ("/apix", false), ("/ap", false),
    ("/", false), ("/API", false), ("/x/api", false), ("/api.", false), ("/%61pi", true),
    ("/ap%69/x", true), ("/api%2Fx", false), ("/api%", false), ("/ap%6", false), ("", false),
  ])
  func aPrefixMatchesWholeSegments(path: String, matches: Bool) {
    for prefix in ["/api", "/api/"] {
      let table = RouteTable([RouteMatch(path: .prefix(prefix))])
      #expect(match(table, "a", path) == (matches ? 0 : nil))
    }
  }

  @Test func anExactPathMatchesOnlyItself() {
    let table = RouteTable([
      RouteMatch(path: .exact("/a/")), RouteMatch(path: .exact("/")),
      RouteMatch(path: .exact("/b")),
    ])
    #expect(match(table, "", "/a/") == 0)
    #expect(match(table, "", "/a") == nil && match(table, "", "/a/b") == nil)
    #expect(match(table, "", "/") == 1 && match(table, "", "/b/") == nil)
    #expect(match(table, "", "/%62") == 2)
  }

  @Test func theRootPrefixMatchesEveryPath() {
    let table = RouteTable([RouteMatch(path: .prefix("/"))])
    for path in ["/", "/a", "/a/b", "/%2F", "/%"] { #expect(match(table, "", path) == 0) }
    #expect(match(table, "", "*") == nil)
  }

  @Test func anEncodedSlashIsNoSlash() {
    let table = RouteTable([RouteMatch(path: .exact("/a/b")), RouteMatch(path: .prefix("/a"))])
    #expect(match(table, "", "/a%2Fb") == nil && match(table, "", "/a/b") == 0)
  }

  @Test func hundredsOfHostsAreFoundEachByItsOwnName() {
    let table = RouteTable((0..<500).map { RouteMatch(host: .exact("h\($0).example")) })
    for index in 0..<500 { #expect(match(table, "H\(index).example", "/") == index) }
    #expect(match(table, "h500.example", "/") == nil)
  }
}
