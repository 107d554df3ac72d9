// Which versions of HTTP a configuration asks for, and with which limits of HTTP/2.

import Configuration
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
    stallTimeout = limits.bodyIdle
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
    frameTimeout = limits.head
    stallTimeout = limits.bodyIdle
  }
}

extension ListenerProtocols {
  init(_ listener: Configuration.Listener) {
    http1 = listener.spokenProtocols.contains(.http1)
    http2 = listener.spokenProtocols.contains(.http2)
  }

  /// For ALPN. Old clients offer only http/1.0.
  static func names(of listener: Configuration.Listener) -> [StaticString] {
    listener.spokenProtocols.flatMap { spoken -> [StaticString] in
      switch spoken {
      case .http2: ["h2"]
      case .http1: ["http/1.1", "http/1.0"]
      }
    }
  }
}
