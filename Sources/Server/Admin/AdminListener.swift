// A socket on which the admin interface listens.

import Reactor

struct AdminListener: Sendable {
  let socket: Socket
  let isLocal: Bool

  /// Names under which a browser on this machine asks for it, with brackets where they belong.
  static func isOwnName(_ host: String) -> Bool {
    host == "localhost" || host == "[::1]" || host.hasPrefix("127.") && host.allSatisfy {
      $0 == "." || $0.isNumber
    }
  }
}
