// Names and descriptions of errno values, and which of them end the process.

import Reactor
import Testing

@Suite struct SystemErrorTests {
  @Test func anErrorHasANameAndADescription() {
    #expect(SystemError.connectionRefused.name == "ECONNREFUSED")
    #expect(SystemError.connectionRefused.description == "Connection refused (ECONNREFUSED)")
    #expect(SystemError(code: 99_999).description == "errno 99999")
  }
}
