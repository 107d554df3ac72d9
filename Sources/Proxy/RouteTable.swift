// Finds the route of a request: the first match in an ordered list.
//
// The order is the configuration's, most specific first. Only routes whose host can match are
// checked: they are stored by a hash of their host, since sites with hundreds of hosts are common,
// with a few routes each. A path prefix matches whole segments: /api matches /api and /api/x, but
// not /apix. The path must be normalised first (NormalisedPath.swift). The remaining escapes count
// as the characters they encode, since backends read /%40x as /@x.

import HTTP
import Primitives

/// What a route matches.
public struct RouteMatch: Sendable {
  public enum Host: Sendable {
    case any
    case exact(String)
    /// Every name below this one: `example.org` for `*.example.org`.
    case below(String)
  }

  public enum Path: Sendable {
    case prefix(String)
    case exact(String)
  }

  public var host: Host
  public var path: Path

  public init(host: Host = .any, path: Path = .prefix("/")) {
    self.host = host
    self.path = path
  }
}

/// Finds the index of the route for a request.
public struct RouteTable: Sendable {
  private struct Entry: Sendable {
    let host: [UInt8]
    let path: [UInt8]
    let isExactPath: Bool
    let route: Int
  }

  /// Entries by hash of the lower-case host, each list in order.
  private var exact: [UInt64: [Entry]] = [:]
  private var below: [UInt64: [Entry]] = [:]
  private var any: [Entry] = []

  /// The position in `matches` is the route's index and its rank.
  public init(_ matches: [RouteMatch]) {
    for (route, match) in matches.enumerated() {
      let (path, isExactPath) =
        switch match.path {
        case .prefix(let text): (Self.withoutTrailingSlash(Array(text.utf8)), false)
        case .exact(let text): (Array(text.utf8), true)
        }
      func entry(_ host: String) -> Entry {
        Entry(
          host: Array(host.lowercased().utf8), path: path, isExactPath: isExactPath, route: route)
      }
      switch match.host {
      case .any: any.append(entry(""))
      case .exact(let host):
        let entry = entry(host)
        exact[Self.hash(entry.host.span), default: []].append(entry)
      case .below(let host):
        let entry = entry(host)
        below[Self.hash(entry.host.span), default: []].append(entry)
      }
    }
  }

  /// The route for `host` (without port, in any case) and the normalised `path`, or nil for none.
  public func match(host fullHost: Span<UInt8>, path: Span<UInt8>) -> Int? {
    // A trailing dot makes a name absolute; it is the same host (RFC 9110 4.2.3). A name with
    // several is invalid, but some backends remove them all, so they must not bypass a route.
    var end = fullHost.count
    while end > 1 && fullHost[end - 1] == 0x2E { end -= 1 }
    let host = fullHost.extracting(first: end)
    var best = Self.first(any, host.extracting(..<0), path)
    if exact.isEmpty && below.isEmpty { return best }
    // From the end, so that at each dot the hash covers the name after it.
    var hash = Self.emptyHash
    for index in host.indices.reversed() {
      if host[index] == 0x2E && index > 0, let entries = below[hash] {
        best = Self.earlier(best, Self.first(entries, host.extracting((index + 1)...), path))
      }
      hash = Self.hash(hash, host[index])
    }
    if let entries = exact[hash] { best = Self.earlier(best, Self.first(entries, host, path)) }
    return best
  }

  private static func earlier(_ left: Int?, _ right: Int?) -> Int? {
    guard let left, let right else { return left ?? right }
    return min(left, right)
  }

  private static func first(
    _ entries: [Entry], _ host: Span<UInt8>, _ path: Span<UInt8>
  ) -> Int? {
    for entry in entries where entry.host.span.equalsIgnoringCase(host) {
      if matches(entry.path.span, isExact: entry.isExactPath, path) { return entry.route }
    }
    return nil
  }

  private static func matches(
    _ pattern: Span<UInt8>, isExact: Bool, _ path: Span<UInt8>
  ) -> Bool {
    var rest = 0
    for index in pattern.indices {
      guard rest < path.count else { return false }
      if pattern[index] == path[rest] {
        rest += 1
      } else if pattern[index] == escapedByte(in: path, at: rest) {
        rest += 3
      } else {
        return false
      }
    }
    return rest == path.count || (!isExact && path[rest] == 0x2F)
  }

  /// The byte that an escape encodes; nil for an encoded slash that was kept (EncodedSlashPolicy).
  private static func escapedByte(in path: Span<UInt8>, at index: Int) -> UInt8? {
    guard path[index] == 0x25, index + 2 < path.count,
      let high = path[index + 1].hexadecimalValue, let low = path[index + 2].hexadecimalValue
    else { return nil }
    let byte = high << 4 | low
    return byte == 0x2F ? nil : byte
  }

  private static func withoutTrailingSlash(_ path: [UInt8]) -> [UInt8] {
    path.last == 0x2F ? Array(path.dropLast()) : path
  }

  private static let emptyHash: UInt64 = 0xCBF2_9CE4_8422_2325

  /// FNV-1a over the lower-case bytes, from last to first. Names are compared afterwards, so
  /// collisions only cost time.
  private static func hash(_ host: Span<UInt8>) -> UInt64 {
    var hash = emptyHash
    for index in host.indices.reversed() { hash = Self.hash(hash, host[index]) }
    return hash
  }

  @inline(__always)
  private static func hash(_ hash: UInt64, _ byte: UInt8) -> UInt64 {
    (hash ^ UInt64(byte.lowercased)) &* 0x100_0000_01B3
  }
}
