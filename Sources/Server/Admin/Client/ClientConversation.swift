// The connection of a client that waits: bytes both ways, over TLS where that is spoken.

import Primitives
import Reactor
import TLS

final class ClientConversation {
  private let address: SocketAddress
  private let socket: ClientSocket
  private let session: ClientSession?
  /// What came right behind the handshake.
  private var early: [UInt8] = []

  /// Connects, and shakes hands if there is a session.
  init(
    with address: SocketAddress, _ session: ClientSession?, atMost limit: TimeSpan?
  ) throws(BlockingClient.Failure) {
    self.address = address
    self.session = session
    do throws(SystemError) {
      socket = try ClientSocket(to: address, atMost: limit)
    } catch {
      throw BlockingClient.Failure(message: "\(address): \(error)", isUnreachable: true)
    }
    guard let session else { return }
    try take([], session)
    while !session.isEstablished {
      let bytes = try receiveFromSocket()
      if bytes.isEmpty { throw failure("closed during the TLS handshake") }
      try take(bytes, session)
    }
  }

  func send(_ bytes: [UInt8]) throws(BlockingClient.Failure) {
    guard let session else { return try sendToSocket(bytes) }
    do throws(ClientSession.Failure) {
      try session.write(bytes)
    } catch {
      throw failure(error.message)
    }
    try sendToSocket(session.takeCiphertext())
  }

  /// What comes next; empty at the end.
  func receive() throws(BlockingClient.Failure) -> [UInt8] {
    guard let session else { return try receiveFromSocket() }
    while early.isEmpty {
      let bytes = try receiveFromSocket()
      if bytes.isEmpty { return [] }
      try take(bytes, session)
    }
    defer { early = [] }
    return early
  }

  /// Gives the session what came, and the other end what the session has to say to it.
  private func take(
    _ bytes: [UInt8], _ session: ClientSession
  ) throws(BlockingClient.Failure) {
    do throws(ClientSession.Failure) {
      early += try session.receive(bytes)
    } catch {
      // An alert, by which the other end learns why.
      try? socket.send(session.takeCiphertext())
      throw failure(error.message)
    }
    try sendToSocket(session.takeCiphertext())
  }

  private func sendToSocket(_ bytes: [UInt8]) throws(BlockingClient.Failure) {
    do throws(SystemError) {
      try socket.send(bytes)
    } catch {
      throw failure("\(error)")
    }
  }

  private func receiveFromSocket() throws(BlockingClient.Failure) -> [UInt8] {
    do throws(SystemError) {
      return try socket.receive()
    } catch {
      throw failure("\(error)")
    }
  }

  private func failure(_ message: String) -> BlockingClient.Failure {
    BlockingClient.Failure(message: "\(address): \(message)")
  }
}
