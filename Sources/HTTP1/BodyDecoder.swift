// Removes the framing of a body, incrementally.
//
// The decoder never holds or copies payload. It returns where the next piece is in the input, and
// how many input bytes it has consumed. Chunks are decoded completely, and `BodyEncoder` writes new
// ones: copying them verbatim would also forward chunk extensions, which other servers may read
// differently (RFC 9112 7.1.1). Every line must end in CRLF, also within extensions.

public import HTTP
import Primitives

/// What to do next about a body.
public enum BodyStep: Equatable, Sendable {
  /// The payload is `input[skip ..< skip + count]`; `skip + count` bytes are consumed.
  case piece(skip: Int, count: Int)
  /// This number of bytes is consumed; call again with the rest and more input after it.
  case needsInput(consumed: Int)
  /// The body has ended. The bytes after the consumed ones belong to the next message.
  case end(consumed: Int)
}

public struct BodyDecoder: Sendable {
  private enum State {
    case complete
    /// More than 0 bytes are left.
    case length(remaining: UInt64)
    case untilClose
    /// In the digits of a chunk's size.
    case chunkSize(UInt64, digitCount: Int)
    /// In blanks after the size, in a response.
    case chunkSizeBlanks(size: UInt64, byteCount: Int)
    /// After the `;` that follows the size.
    case chunkExtension(size: UInt64, byteCount: Int)
    /// After the CR of the line with the size.
    case chunkSizeEnd(size: UInt64)
    /// More than 0 bytes of the chunk are left.
    case chunkData(remaining: UInt64)
    /// After the last byte of a chunk, or after the CR that follows it.
    case chunkEnd, chunkLineFeed
    case trailers(HeadScanner)
  }

  /// The maximum of extensions in one chunk, in bytes. `BodyLimits` limits their sum.
  static let extensionByteCount = 1024
  /// The maximum number of blanks after a size. The servers known to do this pad the size to eight
  /// characters.
  static let sizeBlankCount = 16
  /// Hexadecimal digits of a size, leading zeros included.
  static let sizeDigitCount = 16

  private var state: State
  /// Bytes of extensions minus bytes of payload so far.
  private var extensionExcess = 0
  private let limits: BodyLimits
  /// Nil for a request.
  private let responseRules: ResponseRules?
  /// Which errors were tolerated in this body so far.
  public private(set) var tolerated = ToleratedReasons()

  /// - Parameter rules: how strictly chunks are read, if this is the body of a response.
  public init(
    _ framing: BodyFraming, limits: BodyLimits = BodyLimits(),
    ofResponse rules: ResponseRules? = nil
  ) {
    self.limits = limits
    responseRules = rules
    state =
      switch framing {
      case .none, .length(0): .complete
      case .length(let count): .length(remaining: count)
      case .chunked: .chunkSize(0, digitCount: 0)
      case .untilClose: .untilClose
      }
  }

  /// The body has ended without another call of `next`.
  public var isComplete: Bool {
    if case .complete = state { true } else { false }
  }

  /// Whether the last chunk was read. After an error: whether the error is in the trailers.
  public var isInTrailers: Bool {
    if case .trailers = state { true } else { false }
  }

  /// The missing bytes of a body with Content-Length; 0 if it is complete, nil if the length is
  /// unknown.
  public var remaining: UInt64? {
    switch state {
    case .complete: 0
    case .length(let remaining): remaining
    default: nil
    }
  }

  /// Takes the next step; a piece has at most `limit` bytes, which must be positive. `trailers` is
  /// written only when a chunked body ends, and then contains only the trailers of this body.
  public mutating func next(
    _ input: Span<UInt8>, limit: Int = .max, trailers: inout FieldBlock
  ) throws(HTTP1Error) -> BodyStep {
    var position = 0
    while true {
      switch state {
      case .complete:
        return .end(consumed: position)
      case .trailers(var scanner):
        let rest = input.extracting(position..<input.count)
        guard let end = try scanner.scan(rest, .trailers, limits.trailers) else {
          state = .trailers(scanner)
          return .needsInput(consumed: position)
        }
        let lines = rest.extracting(0..<(end - 2))
        trailers.adopt(lines)
        try trailers.listLines(of: lines, from: 0, .strict)
        state = .complete
        position += end
      case _ where position == input.count:
        return .needsInput(consumed: position)
      case .length(let remaining):
        let count = min(remaining, UInt64(min(input.count, limit)))
        state = count == remaining ? .complete : .length(remaining: remaining - count)
        return .piece(skip: 0, count: Int(count))
      case .untilClose:
        return .piece(skip: 0, count: min(input.count, limit))
      case .chunkData(let remaining):
        let count = min(remaining, UInt64(min(input.count - position, limit)))
        state = count == remaining ? .chunkEnd : .chunkData(remaining: remaining - count)
        extensionExcess = max(0, extensionExcess - Int(count))
        return .piece(skip: position, count: Int(count))
      case .chunkSize, .chunkSizeBlanks, .chunkExtension, .chunkSizeEnd, .chunkEnd,
        .chunkLineFeed:
        state = try state(after: input[position])
        position += 1
      }
    }
  }

  /// The connection has closed. Throws unless that is how this body ends.
  public mutating func finish() throws(HTTP1Error) {
    switch state {
    case .complete: return
    case .untilClose: state = .complete
    default: throw .truncatedBody
    }
  }

  /// The step over one byte of chunk framing.
  private mutating func state(after byte: UInt8) throws(HTTP1Error) -> State {
    switch state {
    case .chunkSize(let size, let digitCount):
      if let digit = byte.hexadecimalValue {
        // Above 2^63, sums would overflow.
        guard digitCount < Self.sizeDigitCount, size >> 59 == 0 else { throw .badChunkSize }
        return .chunkSize(size << 4 | UInt64(digit), digitCount: digitCount + 1)
      }
      if byte == 0x0A { throw .bareLineFeed }
      guard digitCount > 0 else { throw .badChunkSize }
      switch byte {
      case 0x0D: return .chunkSizeEnd(size: size)
      case 0x3B: return .chunkExtension(size: size, byteCount: 0)
      // The grammar allows blanks before `;`, but clients don't send them, and servers read them
      // differently. Some servers pad the size in responses.
      case 0x20, 0x09:
        switch responseRules {
        case nil: throw .badChunkSize
        case .strict: throw .blankAfterChunkSize
        case .tolerant:
          tolerated.insert(.blankAfterChunkSize)
          return .chunkSizeBlanks(size: size, byteCount: 1)
        }
      default: throw .badChunkSize
      }
    case .chunkSizeBlanks(let size, let byteCount):
      switch byte {
      case 0x0D: return .chunkSizeEnd(size: size)
      case 0x3B: return .chunkExtension(size: size, byteCount: 0)
      case 0x20, 0x09:
        guard byteCount < Self.sizeBlankCount else { throw .badChunkSize }
        return .chunkSizeBlanks(size: size, byteCount: byteCount + 1)
      case 0x0A: throw .bareLineFeed
      default: throw .badChunkSize
      }
    case .chunkExtension(let size, let byteCount):
      switch byte {
      case 0x0D: return .chunkSizeEnd(size: size)
      case 0x0A: throw .bareLineFeed
      case 0x09, 0x20...0x7E, 0x80...0xFF:
        extensionExcess += 1
        guard byteCount < Self.extensionByteCount, extensionExcess <= limits.extensionByteCount
        else { throw .chunkExtensionTooLong }
        return .chunkExtension(size: size, byteCount: byteCount + 1)
      default: throw .controlCharacter
      }
    case .chunkSizeEnd(let size):
      guard byte == 0x0A else { throw .bareCarriageReturn }
      return size == 0 ? .trailers(HeadScanner()) : .chunkData(remaining: size)
    case .chunkEnd:
      guard byte == 0x0D else { throw .badChunkEnd }
      return .chunkLineFeed
    case .chunkLineFeed:
      guard byte == 0x0A else { throw .badChunkEnd }
      return .chunkSize(0, digitCount: 0)
    case .complete, .length, .untilClose, .chunkData, .trailers:
      return state
    }
  }
}
