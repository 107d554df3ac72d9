// A short run of Chaos/layer4.py on the real binary: no TCP connection is lost, crossed or changed
// while backends fail, the configuration changes every second, and the binary is replaced twice.

import Foundation
import Testing

@Suite struct FlowTests {
  @Test func `no TCP connection is lost while backends and the configuration change`() throws {
    let result = try run(
      [
        "python3", Installation.root + "/Chaos/layer4.py", "--binary", Installation.binary,
        "--seconds", "6", "--clients", "9",
      ], atMost: 120)
    #expect(result.status == 0, "\(result.output)\(result.errors)")
    #expect(result.output.contains("2 upgrade"))
  }
}
