// Which versions of HTTP a configuration asks for, and with which limits of HTTP/2.

import Configuration
import HTTP1
import HTTP2
import Primitives

extension BackendProtocol {
  init(_ spoken: Configuration.BackendProtocol) {
    self =
      switch spoken {
      case .http1: .http1
      case .http2: .http2
      case .auto: .auto
      }
  }
}

extension HTTP2Limits {
  /// For connections to backends.
  init(ofResponses limits: Configuration.Limits) {
    self.init()
    fieldListByteCount = limits.responseHeadSize
    fieldCount = limits.responseFieldCount
    // What is announced to the backend is for each field section, trailers included (RFC 9113
    // 6.5.2). In gRPC the details of an error are in the trailers, or alone in the head.
    trailerByteCount = limits.responseHeadSize
    trailerFieldCount = limits.responseFieldCount
    interimCount = HeadLimits.interimHeadCount
    // A block that is refused here ends the connection, with the streams of other clients. So what
    // is too large is decoded, as long as that costs little, and only its stream ends.
    fieldBlockByteCount = 256 * 1024
    continuationCount = 1024
    fieldListBombFactor = (16 << 20) / limits.responseHeadSize
    // The timeouts of the pool say how long a backend may leave its window closed. The client may
    // be the reason, when it doesn't take what the backend sends.
    stallTimeout = nil
    pingInterval = .seconds(10)
    offersExtendedConnect = false
  }

  init(_ limits: Configuration.Limits) {
    self.init()
    streamCount = limits.streamsPerConnection
    fieldListByteCount = limits.headSize
    fieldCount = limits.fieldCount
    cookieCrumbCount = limits.fieldCount
    targetByteCount = limits.targetSize
    trailerByteCount = limits.trailerSize
    trailerFieldCount = HeadLimits.trailers.fieldCount
    frameTimeout = limits.head
    stallTimeout = limits.bodyIdle
  }
}

extension ListenerProtocols {
  init(_ listener: Configuration.Listener) {
    if listener.protocol == .tcp {
      (tcp, http1, http2) = (true, false, false)
      return
    }
    http1 = listener.spokenProtocols.contains(.http1)
    http2 = listener.spokenProtocols.contains(.http2)
  }

  /// For ALPN. Old clients offer only http/1.0.
  static func names(of listener: Configuration.Listener) -> [String] {
    if listener.protocol == .tcp { return listener.alpn }
    return listener.spokenProtocols.flatMap { spoken -> [String] in
      switch spoken {
      case .http2: ["h2"]
      case .http1: ["http/1.1", "http/1.0"]
      }
    }
  }
}
