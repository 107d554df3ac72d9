// Why a connection can't be used any more, by the layer that reports it.

import Reactor
import TLS

/// What broke a connection.
enum TransportFailure: Error, Equatable {
  case system(SystemError)
  case tls(TLSFailure)
  /// Only for sending: what waited was withdrawn, and the peer must not get a part of it.
  case silenced
}
