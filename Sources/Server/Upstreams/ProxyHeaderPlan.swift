// What begins the connections to the backends of a pool with `proxy-protocol`.

import Configuration
import Primitives
import ProxyProtocol

struct ProxyHeaderPlan: Equatable, Sendable {
  var version = ProxyHeader.Version.v2
  var saysALPN = false
  var saysAuthority = false
  var saysUniqueID = false
  var saysTLS = false
  var hasChecksum = false

  init(_ header: Configuration.ProxyHeader) {
    version = header.version == .v1 ? .v1 : .v2
    saysALPN = header.tlvs.contains(.alpn)
    saysAuthority = header.tlvs.contains(.authority)
    saysUniqueID = header.tlvs.contains(.uniqueID)
    saysTLS = header.tlvs.contains(.tls)
    hasChecksum = header.tlvs.contains(.crc32c)
  }

  func write(
    source: SocketAddress?, destination: SocketAddress?, _ tlvs: OutgoingTLVs,
    into output: inout ByteBuffer
  ) {
    switch version {
    case .v1:
      ProxyHeaderWriter.writeLine(source: source, destination: destination, into: &output)
    case .v2:
      ProxyHeaderWriter.writeBlock(
        source: source, destination: destination, tlvs, into: &output)
    }
  }

  /// For connections of our own, such as health checks: version 1 can only name their real ends.
  func writeOwn(source: SocketAddress?, destination: SocketAddress, into output: inout ByteBuffer) {
    switch version {
    case .v1:
      ProxyHeaderWriter.writeLine(source: source, destination: destination, into: &output)
    case .v2: ProxyHeaderWriter.writeLocal(into: &output)
    }
  }
}
