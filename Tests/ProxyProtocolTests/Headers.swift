// Headers for the tests, and their verdicts, which must not depend on how the bytes are split.

import Primitives
import ProxyProtocol
import Testing

let signature = Array("\r\n\r\n\0\r\nQUIT\n".utf8)

/// A header of version 2 with any command, family and length.
func block(
  _ command: UInt8 = 0x21, _ family: UInt8 = 0x11, _ body: [UInt8] = tcp4, length: Int? = nil
) -> [UInt8] {
  let length = length ?? body.count
  return signature + [command, family, UInt8(length >> 8), UInt8(length & 0xFF)] + body
}

/// 192.0.2.1:40000 to 198.51.100.2:443.
let tcp4: [UInt8] = [192, 0, 2, 1, 198, 51, 100, 2, 0x9C, 0x40, 0x01, 0xBB]
/// [2001:db8::1]:40000 to [2001:db8::2]:443.
let tcp6: [UInt8] =
  [0x20, 0x01, 0x0D, 0xB8] + Array(repeating: 0, count: 11) + [1]
  + [0x20, 0x01, 0x0D, 0xB8] + Array(repeating: 0, count: 11) + [2] + [0x9C, 0x40, 0x01, 0xBB]

func tlv(_ type: UInt8, _ value: [UInt8]) -> [UInt8] {
  [type, UInt8(value.count >> 8), UInt8(value.count & 0xFF)] + value
}

func tlv(_ type: UInt8, _ value: String) -> [UInt8] { tlv(type, Array(value.utf8)) }

/// What a header is found to be. Bytes that follow it must change nothing, and each split of the
/// bytes must give the same verdict.
func verdict(
  _ bytes: [UInt8], sourceLocation: SourceLocation = #_sourceLocation
) -> ProxyHeaderParser.Verdict {
  let whole = verdict(bytes, [bytes.count])
  for cut in 0..<max(1, bytes.count) {
    #expect(
      verdict(bytes, [cut, bytes.count]) == whole, "cut at \(cut)",
      sourceLocation: sourceLocation)
  }
  #expect(
    verdict(bytes, Array(0...bytes.count)) == whole, "byte by byte",
    sourceLocation: sourceLocation)
  if case .header(_, let byteCount) = whole {
    for cut in 0..<byteCount {
      #expect(verdict(bytes, [cut]) == .more, "\(cut) bytes", sourceLocation: sourceLocation)
    }
    let payload = bytes + Array("PROXY TCP4 a\r\nGET / HTTP/1.1\r\n".utf8)
    #expect(verdict(payload, [payload.count]) == whole, sourceLocation: sourceLocation)
  }
  return whole
}

private func verdict(_ bytes: [UInt8], _ arrivals: [Int]) -> ProxyHeaderParser.Verdict {
  var parser = ProxyHeaderParser()
  for count in arrivals {
    let verdict = parser.parse(bytes.span.extracting(0..<count))
    if verdict != .more { return verdict }
  }
  return .more
}

func verdict(
  _ line: String, sourceLocation: SourceLocation = #_sourceLocation
) -> ProxyHeaderParser.Verdict {
  verdict(Array(line.utf8), sourceLocation: sourceLocation)
}

/// The header, if there is one and it is as long as the bytes.
func header(
  _ bytes: [UInt8], sourceLocation: SourceLocation = #_sourceLocation
) throws -> ProxyHeader {
  guard case .header(let header, bytes.count) = verdict(bytes, sourceLocation: sourceLocation)
  else {
    Issue.record("\(verdict(bytes))", sourceLocation: sourceLocation)
    return ProxyHeader(.v1, .unknown)
  }
  return header
}

func text(_ place: Range<Int>?, in bytes: [UInt8]) -> String? {
  place.map { String(decoding: bytes[$0], as: UTF8.self) }
}

func ends(
  _ source: String, _ sourcePort: UInt16, _ destination: String, _ destinationPort: UInt16,
  _ carrier: ProxyHeader.Carrier = .stream
) throws -> ProxyHeader.Origin {
  .ip(
    source: ProxyHeader.Endpoint(try #require(IPAddress(source)), sourcePort),
    destination: ProxyHeader.Endpoint(try #require(IPAddress(destination)), destinationPort),
    carrier)
}
