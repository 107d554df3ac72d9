// The health checks of a pool, from its configuration.

import Configuration
import Primitives

extension [UInt8] {
  /// Each character is a byte; the configuration allows no others.
  fileprivate init(latin1 text: String) {
    self = text.unicodeScalars.map { UInt8(truncatingIfNeeded: $0.value) }
  }
}

extension ActiveCheck {
  init(_ health: Configuration.Health, of pool: Configuration.Pool, tlsID: Int) {
    self.tlsID = tlsID
    proxyHeader = pool.proxyProtocol.map(ProxyHeaderPlan.init)
    spoken = BackendProtocol(pool.protocol)
    switch health.check {
    case .tcp:
      kind = .tcp
      if let reply = health.reply {
        kind = .talk(send: [UInt8](latin1: health.send ?? ""), reply: [UInt8](latin1: reply))
      }
    case .http:
      kind = .http(
        path: health.path, host: health.host,
        expected: health.expect.map {
          UInt16(clamping: $0.lowerBound)...UInt16(clamping: $0.upperBound)
        })
    case .udp:
      isDatagram = true
      kind = .talk(
        send: [UInt8](latin1: health.send ?? ""), reply: [UInt8](latin1: health.reply ?? ""))
    case .grpc: kind = .grpc(service: health.service, host: health.host)
    }
    interval = health.interval
    fastInterval = min(health.fastInterval, health.interval)
    timeout = health.timeout
    port = health.port
  }
}
