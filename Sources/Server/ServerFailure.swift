// Why the server can't start, or can't take a new configuration: one sentence for each obstacle.

public struct ServerFailure: Error, CustomStringConvertible, Sendable {
  public let messages: [String]

  init(_ message: String) { messages = [message] }
  init(_ messages: [String]) { self.messages = messages }

  public var description: String { messages.joined(separator: "\n") }
}
