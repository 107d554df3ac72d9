// Timeouts of admin clients: each wait has one deadline, which starts when the wait begins.

import HTTP
import HTTP1
import Primitives
import Reactor
import Testing

@testable import Server

@Suite struct AdminConnectionTests {
  private let begin = Instant.origin + .seconds(1000)

  private func connection(_ access: AdminAccess = .plain) -> AdminConnection {
    AdminConnection(Transport(Socket(descriptor: -1)), access, version: 0, at: begin)
  }

  @Test func `the first head has one deadline from the accept on, however slowly it arrives`() {
    var connection = connection()
    let deadline = connection.deadline
    #expect(deadline == begin + .seconds(10))
    for second in 1..<10 {
      connection.transport.inbound.append(Array("G".utf8).span)
      connection.updateDeadline(at: begin + .seconds(Int64(second)))
      #expect(connection.deadline == deadline)
    }
  }

  @Test func `a later head has a deadline from its first byte, an idle timeout before`() throws {
    var connection = connection()
    connection.requestBegan()
    connection.updateDeadline(at: begin)
    #expect(connection.deadline == begin + .seconds(30))
    connection.transport.inbound.append(Array("GET".utf8).span)
    var head = RequestHead()
    var parser = connection.parser
    let isWhole = try parser.take(from: &connection.transport.inbound, into: &head)
    #expect(!isWhole)
    connection.parser = parser
    let later = begin + .seconds(29)
    connection.updateDeadline(at: later)
    #expect(connection.deadline == later + .seconds(10))
    connection.updateDeadline(at: later + .seconds(5))
    #expect(connection.deadline == later + .seconds(10))
  }

  @Test func `a stream that was asked for at once has no deadline left of its head`() {
    var connection = connection()
    connection.requestBegan()
    connection.phase = .stateEvents(BodyEncoder(.chunked))
    connection.updateDeadline(at: begin)
    #expect(connection.deadline == .never)
  }

  @Test func `a body has its own deadline, and a command has none`() {
    var connection = connection()
    connection.requestBegan()
    let request = AdminRequest(RequestHead(), persists: true)
    connection.phase = .receivingBody(request, BodyDecoder(.length(9)))
    connection.updateDeadline(at: begin)
    connection.updateDeadline(at: begin + .seconds(20))
    #expect(connection.deadline == begin + .seconds(30))
    connection.phase = .awaitingControl(request)
    connection.updateDeadline(at: begin + .seconds(21))
    #expect(connection.deadline == .never)
    connection.phase = .lingering
    connection.updateDeadline(at: begin + .seconds(22))
    #expect(connection.deadline == begin + .seconds(24))
  }

  @Test func `only the Unix socket is trusted from the beginning`() {
    let local = connection(.local)
    let plain = connection(.plain)
    #expect([local.isTrusted, plain.isTrusted] == [true, false])
  }
}
