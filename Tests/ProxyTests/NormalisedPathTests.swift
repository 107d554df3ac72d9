// NormalisedPath: one normal form for every spelling of a path, which can't be bypassed.

import Primitives
import Proxy
import Testing

/// The path to match, followed by an arrow if it is also forwarded; nil when it is refused.
private func normal(_ path: String, _ policy: PathPolicy = PathPolicy()) -> String? {
  var output = ByteBuffer()
  output.append("stale")
  switch normalise(Array(path.utf8).span, policy: policy, into: &output) {
  case .normal: return path
  case .rewritten(let forward): return String(decoding: output) + (forward ? " ->" : "")
  case .refused: return nil
  }
}

@Suite struct NormalisedPathTests {
  @Test(arguments: [
    "/", "/a", "/a/b.c/", "/a;x=1/b", "/~user/-._", "*", "/a.", "/a..",
  ])
  func aPathInNormalFormIsLeftAlone(path: String) {
    var output = ByteBuffer()
    #expect(normalise(Array(path.utf8).span, policy: PathPolicy(), into: &output) == .normal)
    let isEmpty = output.isEmpty
    #expect(isEmpty)
  }

  @Test(arguments: [
    ("/%61dmin", "/admin"), ("/%7Euser%2d%2E%5f", "/~user-._"), ("/caf%c3%a9", "/caf%C3%A9"),
    ("/a%20b%3f%23", "/a%20b%3F%23"), ("/%2561", "/%2561"), ("/%252e%252e/", "/%252e%252e/"),
    ("//a///b//", "/a/b/"), ("/...", "/..."), ("/.a/..b/%2e%2e%2e", "/.a/..b/..."),
    ("/%0a%0D", "/%0A%0D"), ("/a%3Bb;c", "/a%3Bb;c"),
  ])
  func escapesAndRepeatedSlashesCountForMatchingOnly(path: String, expected: String) {
    #expect(normal(path) == expected)
  }

  @Test(arguments: [
    ("/a/./b", "/a/b"), ("/a/../b", "/b"), ("/a/b/../../c", "/c"), ("/a/..", "/"), ("/a/.", "/a/"),
    ("/.", "/"), ("/./", "/"), ("/a/b/..", "/a/"), ("/a/b/../", "/a/"),
    ("/x/%2e%2E/admin", "/admin"),
    ("/x/.%2e/admin", "/admin"), ("/a/%2e", "/a/"), ("/a//../b", "/b"), ("/a/.//./b", "/a/b"),
    ("/a/..b/../c", "/a/c"), ("/longer/../b/c%20d/./e", "/b/c%20d/e"),
  ])
  func dotSegmentsAreResolvedAndForwardedSo(path: String, expected: String) {
    #expect(normal(path) == expected + " ->")
    #expect(normal(path, PathPolicy(dotSegments: .refuse)) == nil)
  }

  @Test(arguments: [
    "/..", "/../", "/a/../..", "/a/../../b", "/%2e%2e/etc", "//..", "/./..", "/a/%2e%2E/../b",
  ])
  func aPathCanNotLeaveTheRoot(path: String) {
    #expect(normal(path) == nil)
  }

  @Test(arguments: [
    "/%", "/%4", "/%4g", "/%g4", "/a%%20", "/%-1", "/% 1", "/a%2", "/%00", "/a%00b",
  ])
  func brokenEscapesAndNULAreRefused(path: String) {
    for slashes in [EncodedSlashPolicy.refuse, .keep, .decode] {
      #expect(normal(path, PathPolicy(encodedSlashes: slashes)) == nil)
    }
  }

  @Test(arguments: [
    ("/a%2Fb", "/a%2Fb", "/a/b ->"), ("/a%2fb", "/a%2Fb", "/a/b ->"),
    ("/a%5cb", "/a%5Cb", "/a/b ->"), ("/a\\b", "/a%5Cb", "/a/b ->"),
    ("/a/%2Fb", "/a/%2Fb", "/a/b ->"), ("/a%2F/b", "/a%2F/b", "/a/b ->"),
    ("/a%2F%2fb", "/a%2F%2Fb", "/a/b ->"),
    ("/a/..%2Fb", "/a/..%2Fb", "/b ->"), ("/a%2F..", "/a%2F..", "/ ->"),
    ("/a/x\\..\\b", "/a/x%5C..%5Cb", "/a/b ->"), ("/%2F", "/%2F", "/ ->"),
  ])
  func encodedSlashesAndBackslashesFollowTheirPolicy(path: String, kept: String, decoded: String) {
    #expect(normal(path, PathPolicy(encodedSlashes: .keep)) == kept)
    #expect(normal(path, PathPolicy(encodedSlashes: .decode)) == decoded)
    #expect(normal(path, PathPolicy(encodedSlashes: .refuse)) == nil)
  }

  @Test func aDecodedSlashMakesSegmentsThatThePolicyForDotsSees() {
    let policy = PathPolicy(dotSegments: .refuse, encodedSlashes: .decode)
    #expect(normal("/a%2F..%2Fb", policy) == nil)
    #expect(normal("/a%2F..", PathPolicy(dotSegments: .refuse)) == "/a%2F..")
  }

  // MARK: Properties

  private static let policies: [PathPolicy] = [EncodedSlashPolicy.refuse, .keep, .decode].flatMap {
    [
      PathPolicy(dotSegments: .resolve, encodedSlashes: $0),
      PathPolicy(dotSegments: .refuse, encodedSlashes: $0),
    ]
  }

  private static let pieces = [
    "/", "//", "a", "b", "api", ".", "..", "%2e", "%2E", "%2f", "%2F", "%5c", "\\", "%61", "%41",
    "%20", "%25", "%252e", "%c3", "%C3", "%a9", ";x", "~", "%7e", "%7E", "%40", "@", "-",
  ]

  private static func randomPath(_ generator: inout RandomGenerator) -> String {
    var path = "/"
    for _ in 0..<generator.next(below: 10) {
      path += pieces[generator.next(below: pieces.count)]
    }
    return path
  }

  @Test func normalisingTwiceChangesNothing() {
    var generator = RandomGenerator(seed: 1)
    for _ in 0..<4000 {
      let path = Self.randomPath(&generator)
      for policy in Self.policies {
        guard let once = normal(path, policy) else { continue }
        let output = once.hasSuffix(" ->") ? String(once.dropLast(3)) : once
        #expect(normal(output, policy) == output, "\(path)")
        #expect(output.hasPrefix("/") && !output.contains("//") && !output.contains("\\"))
        let segments = output.split(separator: "/", omittingEmptySubsequences: false)
        #expect(!segments.contains(".") && !segments.contains(".."))
      }
    }
  }

  /// Respells some characters of a path, in ways that have the same meaning for every backend.
  private static func respelt(_ path: String, _ generator: inout RandomGenerator) -> String {
    var result = ""
    for byte in path.utf8 {
      let escape = "%" + String(byte, radix: 16, uppercase: generator.chance(1, in: 2))
      switch byte {
      case UInt8(ascii: "/"):
        result += ["/", "//", "/./", "/x/../", "/%2e/", "/y/%2E./"][generator.next(below: 6)]
      default:
        result += generator.chance(1, in: 3) ? escape : String(UnicodeScalar(byte))
      }
    }
    return result
  }

  /// A route that matches a path must match every spelling of it. A route that doesn't match the
  /// path must match none of them.
  @Test(arguments: ["/admin", "/api/v1", "/@fs", "/a:b", "/a(b)!$&'*+,;="])
  func matchingAgreesOnEverySpelling(prefix: String) {
    let table = RouteTable([RouteMatch(path: .prefix(prefix)), RouteMatch(path: .prefix("/"))])
    var generator = RandomGenerator(seed: 2)
    let inside = ["", "/", "/x", "/x/y.z"].map { prefix + $0 }
    let outside = [prefix + "x", prefix + ".", "/other", "/x" + prefix, "/"]
    for (paths, route) in [(inside, 0), (outside, 1)] {
      for path in paths {
        for _ in 0..<200 {
          let spelling = Self.respelt(path, &generator)
          var output = ByteBuffer()
          let bytes = Array(spelling.utf8)
          switch normalise(bytes.span, policy: PathPolicy(), into: &output) {
          case .normal: #expect(table.match(host: Span(), path: bytes.span) == route, "\(spelling)")
          case .rewritten:
            #expect(table.match(host: Span(), path: output.bytes) == route, "\(spelling)")
          case .refused: Issue.record("\(spelling) is refused")
          }
        }
      }
    }
  }

  @Test func randomBytesAreRefusedOrMadeNormal() {
    var generator = RandomGenerator(seed: 3)
    for _ in 0..<4000 {
      var path: [UInt8] = [0x2F]
      for _ in 0..<generator.next(below: 24) {
        path.append(UInt8(0x21 + generator.next(below: 0x5E)))
      }
      let text = String(decoding: path, as: UTF8.self)
      guard let once = normal(text) else { continue }
      let output = once.hasSuffix(" ->") ? String(once.dropLast(3)) : once
      #expect(normal(output) == output, "\(text)")
    }
  }
}
