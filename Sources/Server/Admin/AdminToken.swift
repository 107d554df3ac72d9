// The secret that clients of the admin address show.

import Reactor

enum AdminToken {
  /// Shorter ones could be guessed.
  private static let characterMin = 16

  /// The token in a file, without blanks and line ends. Throws what is wrong with it, without the
  /// path.
  static func read(_ path: String) throws(ServerFailure) -> String {
    let text: String
    do throws(SystemError) {
      text = String(decoding: try File.read(path, limit: 4096), as: UTF8.self)
    } catch {
      throw ServerFailure(error.ofFile)
    }
    let token = text.filter { !$0.isWhitespace }
    if token.utf8.count >= characterMin { return token }
    throw ServerFailure("the token has fewer than \(characterMin) characters")
  }
}
