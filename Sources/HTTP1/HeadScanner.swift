// Finds the end of a head incrementally, and checks its octets and lines on the way.
//
// The scanner jumps from control to control. Tabs are allowed everywhere, CR and LF only as a pair;
// every other control is refused (RFC 9112 2.2, RFC 9110 5.5). It remembers its position, so a head
// that arrives byte by byte is scanned once. It applies every limit before the end has arrived. All
// checks depend only on positions in the stream, so the outcome doesn't depend on how the bytes
// were split. The parsers run when the end is found and check the grammar. They can rely on this:
// each line ends in CRLF, and CR and LF occur nowhere else. Where LF alone is allowed
// (Tolerance.swift), either all lines end so or none.

import HTTP
import Primitives

/// The kind of section to scan.
enum HeadSection: Sendable {
  case request, response
  /// Field lines without a start line.
  case trailers
}

struct HeadScanner: Sendable {
  /// Where the first line begins, after leading empty lines.
  private(set) var start = 0
  /// Everything before this position is checked.
  private var position = 0
  private var lineStart = 0
  private var lineCount = 0
  private var emptyLineCount = 0
  /// Whether lines may end in LF alone, if all of them do.
  private let allowsLineFeeds: Bool
  /// The first line ended in LF alone, so all lines must.
  private(set) var usesLineFeeds = false

  init(allowsLineFeeds: Bool = false) { self.allowsLineFeeds = allowsLineFeeds }

  /// Whether a whole line has arrived.
  var hasLine: Bool { lineCount > 0 }
  /// Whether a byte of the first line has arrived.
  var hasBegun: Bool { lineCount > 0 || position > lineStart }

  /// Scans what is new in `input`, which must begin where it did at the last call. Returns the
  /// length of the section including its closing empty line, or nil while that has not arrived.
  mutating func scan(
    _ input: Span<UInt8>, _ section: HeadSection, _ limits: HeadLimits
  ) throws(HTTP1Error) -> Int? {
    let end = max(position, min(input.count, limits.headByteCount))
    if position > input.count { return nil }
    while true {
      let stop = input.firstControl(in: position..<end)
      position = stop
      if section == .request && lineCount == 0 && stop - lineStart > requestLineLimit(limits) {
        throw .targetTooLong
      }
      if stop == end { break }
      switch input[stop] {
      case 0x09:
        position = stop + 1
      case 0x0D:
        // CR LF is consumed in one step; a CR at the very end waits for the next byte.
        if stop + 1 == end {
          if end == limits.headByteCount { throw tooLarge(section) }
          return nil
        }
        guard input[stop + 1] == 0x0A else { throw .bareCarriageReturn }
        // Servers read a head with both kinds of line end in two ways.
        if usesLineFeeds { throw .bareLineFeed }
        position = stop + 2
        let isEmpty = stop == lineStart
        lineStart = position
        if isEmpty && (lineCount > 0 || section == .trailers) {
          try checkSize(section, limits)
          return position
        }
        if isEmpty { try skipEmptyLine(section) } else { try countLine(section, limits) }
      case 0x0A:
        guard allowsLineFeeds, stop > lineStart || usesLineFeeds, lineCount == 0 || usesLineFeeds
        else { throw .bareLineFeed }
        usesLineFeeds = true
        position = stop + 1
        let isEmpty = stop == lineStart
        lineStart = position
        if isEmpty {
          try checkSize(section, limits)
          return position
        }
        try countLine(section, limits)
      default: throw .controlCharacter
      }
    }
    if end >= limits.headByteCount { throw tooLarge(section) }
    return nil
  }

  /// Some clients send an empty line after a body (RFC 9112 2.2).
  private mutating func skipEmptyLine(_ section: HeadSection) throws(HTTP1Error) {
    emptyLineCount += 1
    start = position
    if section == .response { throw .badStatusLine }
    if emptyLineCount > HeadLimits.emptyLineCount { throw .tooManyEmptyLines }
  }

  @inline(__always)
  private mutating func countLine(
    _ section: HeadSection, _ limits: HeadLimits
  ) throws(HTTP1Error) {
    lineCount += 1
    if section == .trailers {
      if lineCount > limits.fieldCount { throw .trailerTooLarge }
    } else if lineCount > limits.fieldCount + 1 {
      throw .tooManyFields
    }
    try checkSize(section, limits)
  }

  /// Every field counts for more than its bytes, since many small fields cost as much as few large
  /// ones.
  @inline(__always)
  private func checkSize(
    _ section: HeadSection, _ limits: HeadLimits
  ) throws(HTTP1Error) {
    let fieldCount = section == .trailers ? lineCount : max(0, lineCount - 1)
    if position + fieldCount * HeadLimits.fieldOverhead > limits.headByteCount {
      throw tooLarge(section)
    }
  }

  /// The limit of a line with method, target, two spaces and `HTTP/1.1`.
  private func requestLineLimit(_ limits: HeadLimits) -> Int {
    HeadLimits.methodByteCount + limits.targetByteCount + 10
  }

  private func tooLarge(_ section: HeadSection) -> HTTP1Error {
    section == .trailers ? .trailerTooLarge : .headTooLarge
  }
}
