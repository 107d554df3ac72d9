// Clients don't notice an operator's changes: the whole of Chaos/changes.py, on the real binary.

import Foundation
import Testing

@Suite struct ChangesTests {
  @Test func `reloads, renewals and drains under load cause no errors`() throws {
    let result = try run(
      ["python3", Installation.root + "/Chaos/changes.py", "--binary", Installation.binary],
      atMost: 240)
    #expect(result.status == 0, "\(result.output)\(result.errors)")
    #expect(result.output.contains("50 drains"))
    #expect(result.output.contains("100 reloads, 20 renewals"))
  }
}
