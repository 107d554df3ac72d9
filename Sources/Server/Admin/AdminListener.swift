// A socket on which the admin interface listens, and what its clients have to show.

import Configuration
import Reactor

struct AdminListener: Sendable {
  let socket: Socket
  let access: AdminAccess
}

/// How clients come, as far as it says who they are. A token may be asked for besides.
enum AdminAccess: Sendable {
  /// By the Unix socket, whose file nobody else can open.
  case local
  case plain
  case encrypted
  /// By TLS, with a certificate of their own.
  case certified

  var isLocal: Bool { self == .local }

  /// Of the address in `configuration`.
  init(_ configuration: Configuration.Admin) {
    if configuration.certificate == nil {
      self = .plain
    } else {
      self = configuration.clientCA == nil ? .encrypted : .certified
    }
  }

  /// What clients may do that show no token where none is asked for.
  func right(of request: AdminRequest) -> AdminRight {
    switch self {
    case .local: .change
    // Browsers show their certificate on behalf of every page that makes them ask.
    case .certified: request.isFromElsewhere ? .look : .change
    // Only on the loopback interface, where a page of any site could lead a browser by a name
    // of its own that means this address.
    case .plain, .encrypted: Self.isOwnName(request.host) ? .look : .nothing
    }
  }

  /// Names under which a browser on this machine asks for it, with brackets where they belong.
  private static func isOwnName(_ host: String) -> Bool {
    host == "localhost" || host == "[::1]" || host.hasPrefix("127.") && host.allSatisfy {
      $0 == "." || $0.isNumber
    }
  }
}
