// A health check that sends and expects bytes, for tests.

import Configuration

extension Configuration.Health {
  static func talk(_ send: String?, _ reply: String) -> Self {
    var health = Self()
    health.send = send
    health.reply = reply
    return health
  }
}
