// The path that routes are matched against: percent-decoded where this doesn't change its meaning
// for the backend, with dot segments resolved (RFC 3986 6.2.2).
//
// Matching and forwarding must agree about what a path means: a route that protects /admin is
// useless if /x/%2e%2e/admin bypasses it and the backend resolves the dots. So a path that isn't in
// normal form is either refused, or forwarded in normal form. Encoded slashes have a separate
// policy, since backends treat them differently. Repeated slashes count as one for matching.
// Queries are not changed.

import HTTP
public import Primitives

/// What to do with a path that contains `.` or `..` segments, plain or percent-encoded.
public enum DotSegmentPolicy: Sendable {
  /// Answer 400.
  case refuse
  /// Match and forward the resolved path.
  case resolve
}

/// What to do with `%2F` and `%5C` in a path. A bare backslash counts as `%5C`, its correct form
/// (RFC 3986 3.3), because backends on Windows take either for a slash.
public enum EncodedSlashPolicy: Sendable {
  /// Answer 400.
  case refuse
  /// Match it as three characters, without a segment boundary, and forward it unchanged.
  case keep
  /// Match and forward it as a slash.
  case decode
}

public struct PathPolicy: Sendable {
  public var dotSegments: DotSegmentPolicy
  public var encodedSlashes: EncodedSlashPolicy

  public init(
    dotSegments: DotSegmentPolicy = .resolve, encodedSlashes: EncodedSlashPolicy = .keep
  ) {
    self.dotSegments = dotSegments
    self.encodedSlashes = encodedSlashes
  }
}

public enum PathVerdict: Equatable, Sendable {
  /// The path is in normal form: match and forward it as it is.
  case normal
  /// `output` contains the path to match, and also to forward if `forward` is set.
  case rewritten(forward: Bool)
  case refused
}

/// Writes the normal form of `path` into `output` if it differs.
///
/// Nearly every path is already normal and costs one scan. `output` is emptied first.
public func normalise(
  _ path: Span<UInt8>, policy: PathPolicy, into output: inout ByteBuffer
) -> PathVerdict {
  output.removeAll()
  if isNormal(path) { return .normal }

  var decodedSlash = false
  var index = 0
  while index < path.count {
    var byte = path[index]
    index += 1
    let isEscaped = byte == 0x25
    if isEscaped {
      guard index + 1 < path.count, let high = path[index].hexadecimalValue,
        let low = path[index + 1].hexadecimalValue
      else { return .refused }
      byte = high << 4 | low
      index += 2
    }
    switch byte {
    case 0 where isEscaped:
      // A NUL in a path has no legitimate use, and servers in C stop reading at it.
      return .refused
    case 0x2F where !isEscaped:
      appendSlash(to: &output)
    case 0x2F, 0x5C:
      switch policy.encodedSlashes {
      case .refuse: return .refused
      case .keep: appendEscape(of: byte, to: &output)
      case .decode:
        decodedSlash = true
        appendSlash(to: &output)
      }
    case _ where !isEscaped || byte.isUnreserved:
      output.append(byte)
    default:
      appendEscape(of: byte, to: &output)
    }
  }

  if !hasDotSegment(output.bytes) { return .rewritten(forward: decodedSlash) }
  guard policy.dotSegments == .resolve, resolveDotSegments(&output) else { return .refused }
  return .rewritten(forward: true)
}

private func isNormal(_ path: Span<UInt8>) -> Bool {
  var previous: UInt8 = 0
  for index in path.indices {
    let byte = path[index]
    if byte == 0x25 || byte == 0x5C { return false }
    // A dot after a slash may start a dot segment; the slow path decides.
    if previous == 0x2F && (byte == 0x2E || byte == 0x2F) { return false }
    previous = byte
  }
  return true
}

private func hasDotSegment(_ path: Span<UInt8>) -> Bool {
  var start = 0
  var index = 0
  while index <= path.count {
    if index == path.count || path[index] == 0x2F {
      if isDots(path, start..<index) { return true }
      start = index + 1
    }
    index += 1
  }
  return false
}

/// Whether the segment is `.` or `..`.
private func isDots(_ path: Span<UInt8>, _ segment: Range<Int>) -> Bool {
  switch segment.count {
  case 1: path[segment.lowerBound] == 0x2E
  case 2: path[segment.lowerBound] == 0x2E && path[segment.lowerBound + 1] == 0x2E
  default: false
  }
}

/// RFC 3986 5.2.4 over segments, in place: the write position never passes the read position.
/// Returns false when `..` goes above the root, which only attacks do.
private func resolveDotSegments(_ path: inout ByteBuffer) -> Bool {
  let count = path.count
  var written = 0
  var start = 1
  while start <= count {
    var end = start
    while end < count && path.bytes[end] != 0x2F { end += 1 }
    let isLast = end == count
    if !isDots(path.bytes, start..<end) {
      written = move(start..<end, in: &path, to: written)
    } else {
      if end - start == 2 {
        guard let parent = lastSlash(path.bytes.extracting(first: written)) else { return false }
        written = parent
      }
      // `/a/.` and `/a/b/..` mean `/a/`.
      if isLast { written = move(end..<end, in: &path, to: written) }
    }
    start = end + 1
  }
  path.truncate(to: written)
  return true
}

/// Writes a slash and a segment at `offset`, and returns where they end.
private func move(_ segment: Range<Int>, in path: inout ByteBuffer, to offset: Int) -> Int {
  var bytes = path.mutableBytes
  bytes[offset] = 0x2F
  var end = offset + 1
  for index in segment {
    bytes[end] = bytes[index]
    end += 1
  }
  return end
}

private func lastSlash(_ path: Span<UInt8>) -> Int? {
  var index = path.count
  while index > 0 {
    index -= 1
    if path[index] == 0x2F { return index }
  }
  return nil
}

/// Several slashes in a row become one.
private func appendSlash(to output: inout ByteBuffer) {
  let count = output.count
  if count == 0 || output.bytes[count - 1] != 0x2F { output.append(0x2F) }
}

/// Equivalent spellings become the same: %c3 becomes %C3.
private func appendEscape(of byte: UInt8, to output: inout ByteBuffer) {
  output.append(0x25)
  output.append(upperHexadecimal(byte >> 4))
  output.append(upperHexadecimal(byte & 0xF))
}

private func upperHexadecimal(_ nibble: UInt8) -> UInt8 {
  nibble < 10 ? 0x30 + nibble : 0x37 + nibble
}

extension UInt8 {
  /// RFC 3986 2.3.
  fileprivate var isUnreserved: Bool {
    switch self {
    case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F, 0x7E: true
    default: false
    }
  }
}
