// The header of the PROXY protocol. Properties for any input:
//
// - However the bytes are split, the verdict is the same.
// - A header has at most 4096 bytes, and everything that it names lies within it.
// - Addresses that are written again, in either version, read as the same addresses.

import FuzzSupport
import Primitives
import ProxyProtocol

@c(LLVMFuzzerTestOneInput)
public func fuzzProxyHeader(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  guard let input = FuzzInput(start, count) else { return 0 }
  let verdict = input.everyWay { arrivals in
    var parser = ProxyHeaderParser()
    var verdict = ProxyHeaderParser.Verdict.more
    for count in arrivals where verdict == .more {
      verdict = parser.parse(input.bytes.span.extracting(0..<count))
    }
    return verdict
  }
  guard case .header(let header, let byteCount) = verdict else {
    require(
      verdict != .more || input.bytes.count < ProxyHeader.byteCountMax,
      "waits after \(input.bytes.count) bytes")
    return 0
  }
  require(byteCount <= ProxyHeader.byteCountMax, "a header of \(byteCount) bytes")
  for place in places(of: header) {
    require(place.upperBound <= byteCount, "\(place) is behind the header")
  }
  if case .ip(let source, let destination, _) = header.origin { writeAgain(source, destination) }
  return 0
}

private func places(of header: ProxyHeader) -> [Range<Int>] {
  let tlvs = header.tlvs
  var places = [tlvs.alpn, tlvs.authority, tlvs.uniqueID, tlvs.namespace, tlvs.awsEndpoint]
  if let tls = tlvs.tls {
    places += [
      tls.version, tls.commonName, tls.cipher, tls.signatureAlgorithm, tls.keyAlgorithm, tls.group,
      tls.signatureScheme, tls.certificate,
    ]
  }
  if case .unix(let source, let destination, _) = header.origin { places += [source, destination] }
  return places.compactMap { $0 }
}

private func writeAgain(_ source: ProxyHeader.Endpoint, _ destination: ProxyHeader.Endpoint) {
  let from = SocketAddress.ip(source.address, port: source.port)
  let to = SocketAddress.ip(destination.address, port: destination.port)
  var tlvs = OutgoingTLVs()
  tlvs.hasChecksum = true
  for isLine in [true, false] {
    var output = ByteBuffer()
    if isLine {
      ProxyHeaderWriter.writeLine(source: from, destination: to, into: &output)
    } else {
      ProxyHeaderWriter.writeBlock(source: from, destination: to, tlvs, into: &output)
    }
    var parser = ProxyHeaderParser()
    guard case .header(let header, output.count) = parser.parse(output.bytes) else {
      return require(false, "our own header is refused: \(quoted(output.array(0..<output.count)))")
    }
    let origin = ProxyHeader.Origin.ip(source: source, destination: destination, .stream)
    require(header.origin == origin, "\(header.origin) for \(origin)")
  }
}
