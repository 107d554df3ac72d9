// What a parser finds in a connection's bytes, in a form that allows comparing all parsers.
//
// A message is `method/target/name=value&name=value/body`, each part in hexadecimal, names in lower
// case, values without blanks around them. A reading is its messages and its ending. A peer prints
// it as one line, separated by spaces: messages, then `.` if it would wait for more, `-` if it
// would close the connection, `!reason` if it refuses the next bytes.

import HTTP
import HTTP1
import Primitives
import Proxy

struct Reading: Equatable {
  enum End: Equatable {
    case waits, closes
    case refuses(String)
  }

  var messages: [String] = []
  var end = End.waits

  /// Parses a line that a peer printed.
  init(line: Substring) {
    var words = line.split(separator: " ").map(String.init)
    switch words.popLast() {
    case ".": end = .waits
    case "-": end = .closes
    case let word?: end = .refuses(String(word.dropFirst()))
    case nil: end = .refuses("nothing was printed")
    }
    messages = words
  }
}

/// Martlet's reading of a client's bytes, with the request that it would send to a backend for
/// each.
struct MartletReading {
  var reading = Reading(line: ".")
  var forwarded: [[UInt8]] = []
  /// Only an HTTP/1.0 request may have no host.
  var namesHost: [Bool] = []

  init(_ bytes: [UInt8], tolerates: Bool = false) {
    var parser = RequestParser(tolerates: tolerates)
    var head = RequestHead()
    var trailers = FieldBlock()
    var position = 0
    do throws(HTTP1Error) {
      while true {
        let input = bytes.span.extracting(position..<bytes.count)
        guard case .complete(let count) = try parser.parse(input, into: &head) else { return }
        position += count
        let framing = try head.framing()
        let persists = head.persists && parser.tolerated.isEmpty
        let start = Self.describe(head)
        namesHost.append(!head.authority.isEmpty)

        var output = ByteBuffer()
        let encoder = Self.encode(&head, framing, into: &output)
        guard
          let body = try Self.body(
            framing, of: bytes, from: &position, encoder, into: &output, &trailers)
        else { return }
        reading.messages.append("\(start)/\(hex(body))")
        forwarded.append(output.array(0..<output.count))
        if !persists {
          reading.end = .closes
          return
        }
      }
    } catch {
      reading.end = .refuses("\(error.name)")
    }
  }

  /// The head as received. The parser replaces Host if an absolute target has another authority:
  /// then the received field is marked as removed, and ours is after all others.
  private static func describe(_ head: borrowing RequestHead) -> String {
    func text(_ slice: Slice) -> String { hex(head.fields.bytes(of: slice)) }
    func lower(_ slice: Slice) -> String {
      let bytes = head.fields.bytes(of: slice)
      return hex((0..<bytes.count).map { bytes[$0].lowercased })
    }
    let isRewritten = (0..<head.fields.count).contains {
      head.fields[$0].isRemoved && head.fields[$0].known == .host
    }
    var pairs: [String] = []
    for index in 0..<(head.fields.count - (isRewritten ? 1 : 0)) {
      let field = head.fields[index]
      // Codings have no case (RFC 9112 7), and one of the peers prints them in lower case.
      let value = field.known == .transferEncoding ? lower(field.value) : text(field.value)
      pairs.append("\(lower(field.name))=\(value)")
    }
    return "\(text(head.methodName))/\(text(head.target))/\(pairs.joined(separator: "&"))"
  }

  /// The head as a backend gets it for a client at 192.0.2.1.
  private static func encode(
    _ head: inout RequestHead, _ framing: BodyFraming, into output: inout ByteBuffer
  ) -> BodyEncoder {
    _ = prepareRequest(
      &head, peer: IPAddress(v4: 0xC000_0201), isTLS: true,
      policy: ForwardingPolicy())
    return BodyEncoder(
      head.encode(body: framing.bodyLength, connection: .keepAlive, into: &output))
  }

  /// The payload, which is also encoded again; nil when it is incomplete.
  private static func body(
    _ framing: BodyFraming, of bytes: [UInt8], from position: inout Int, _ encoder: BodyEncoder,
    into output: inout ByteBuffer, _ trailers: inout FieldBlock
  ) throws(HTTP1Error) -> [UInt8]? {
    var decoder = BodyDecoder(framing)
    var payload: [UInt8] = []
    trailers.reset()
    while !decoder.isComplete {
      let input = bytes.span.extracting(position..<bytes.count)
      switch try decoder.next(input, trailers: &trailers) {
      case .piece(let skip, let count):
        let piece = input.extracting(skip..<(skip + count))
        encoder.beginPiece(count: count, into: &output)
        output.append(piece)
        encoder.endPiece(count: count, into: &output)
        payload += bytes[(position + skip)..<(position + skip + count)]
        position += skip + count
      case .needsInput: return nil
      case .end(let consumed): position += consumed
      }
    }
    encoder.end(trailers: trailers, into: &output)
    return payload
  }
}

func hex(_ bytes: Span<UInt8>) -> String {
  let digits = Array("0123456789abcdef".utf8)
  var text: [UInt8] = []
  for index in 0..<bytes.count {
    text.append(digits[Int(bytes[index] >> 4)])
    text.append(digits[Int(bytes[index] & 15)])
  }
  return String(decoding: text, as: UTF8.self)
}

func hex(_ bytes: [UInt8]) -> String { hex(bytes.span) }
