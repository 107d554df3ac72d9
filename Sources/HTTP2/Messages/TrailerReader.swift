// Builds a trailer section from decoded fields (RFC 9113 8.1). Also a sink for blocks that are
// decoded only for the compression state.

import HTTP
import Primitives

struct TrailerReader: ~Copyable, FieldSink {
  var fields = FieldBlock()
  private var error: HTTP2Error? = nil
  private var size = HeadSize()

  init() {}

  mutating func begin(_ limits: HTTP2Limits) {
    fields.reset()
    error = nil
    size = HeadSize(
      byteCountMax: limits.trailerByteCount, fieldCountMax: limits.trailerFieldCount)
  }

  mutating func take(
    _ kind: FieldKind, name: Span<UInt8>, value: Span<UInt8>, isNeverIndexed: Bool
  ) {
    if error != nil { return }
    error = size.add(name, value) ?? size.addField()
    if error != nil { return }
    if kind.isPseudo {
      error = .pseudoFieldInTrailers
      return
    }
    error = FieldRules.violation(kind, name: name, value: value)
    if let known = kind.known, FieldRules.refusedInTrailers.contains(known), error == nil {
      error = .fieldInTrailers
    }
    if error == nil {
      fields.add(kind.known, name: name, value: value, isNeverIndexed: isNeverIndexed)
    }
  }

  func finish() -> HTTP2Error? { error }
}

/// Ignores all fields.
struct DiscardedFields: FieldSink {
  mutating func take(
    _ kind: FieldKind, name: Span<UInt8>, value: Span<UInt8>, isNeverIndexed: Bool
  ) {}
}
