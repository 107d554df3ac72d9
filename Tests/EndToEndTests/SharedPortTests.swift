// Ports with several sockets at the same time: of this process while addresses change, and of other
// processes, with which the kernel would share the port without notice.

import Foundation
import Testing

@Suite(.serialized) struct SharedPortTests {
  private func configuration(
    _ stub: StubBackend, listen: String, admin: String, _ rest: String = ""
  ) -> String {
    """
    { "listeners": [{ "name": "web", "listen": "\(listen)" }],
      "pools": [{ "backends": [\(stub.json)] }], "admin": { "listen": "\(admin)"\(rest) },
      "log": { "target": "access.log" }, "watch": false }
    """
  }

  /// A process of the same user that shares its port, on 127.0.0.2.
  private final class Neighbour {
    private let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0)

    init(port: Int) throws {
      var yes: Int32 = 1
      setsockopt(
        descriptor, SOL_SOCKET, SO_REUSEPORT, &yes, socklen_t(MemoryLayout<Int32>.size))
      var address = sockaddr_in()
      address.sin_family = sa_family_t(AF_INET)
      address.sin_port = in_port_t(port).bigEndian
      address.sin_addr.s_addr = in_addr_t(0x7F00_0002).bigEndian
      let isListening = withUnsafePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
        }
      }
      guard isListening, listen(descriptor, 8) == 0 else {
        throw HarnessError("can't listen: \(String(cString: strerror(errno)))")
      }
    }

    deinit { close(descriptor) }
  }

  @Test func `a listener and the admin interface swap their ports in a reload`() throws {
    let stub = try StubBackend("hello")
    let (one, two) = (try freePort(), try freePort())
    func swapped(_ isSwapped: Bool) -> String {
      configuration(
        stub, listen: "127.0.0.1:\(isSwapped ? two : one)",
        admin: "127.0.0.1:\(isSwapped ? one : two)")
    }
    let martlet = try MartletProcess(swapped(false), keeping: [stub])
    for isSwapped in [true, false] {
      try martlet.reload(swapped(isSwapped))
      #expect(!martlet.log.contains("can't listen"), "\(martlet.log)")
      let (web, admin) = isSwapped ? (two, one) : (one, two)
      for _ in 0..<10 {
        eventually("each is where it belongs") {
          (try? Wire(port: web).get("/metrics").text) == "hello"
            && (try? Wire(port: admin).get("/metrics").text.contains("martlet_")) == true
        }
      }
    }
  }

  @Test func `a port that another process would share is refused, for listeners and the interface`()
    throws
  {
    let stub = try StubBackend("hello")
    let (web, admin) = (try freePort(), try freePort())
    let folder = TemporaryFolder()
    try folder.write("a-token-that-is-long-enough\n", to: "token")
    func configuration(_ listen: String, _ interface: String) -> String {
      self.configuration(
        stub, listen: "\(listen):\(web)", admin: "\(interface):\(admin)",
        #", "token-file": "token""#)
    }
    let martlet = try MartletProcess(
      configuration("127.0.0.1", "127.0.0.1"), in: folder, keeping: [stub])
    let neighbours = [try Neighbour(port: web), try Neighbour(port: admin)]
    func refuses(_ listen: String, _ interface: String, _ message: String) throws {
      try martlet.reload(configuration(listen, interface))
      #expect(martlet.log.contains(message), "\(martlet.log)")
    }
    try refuses("127.0.0.2", "127.0.0.1", "can't listen on 127.0.0.2:\(web)")
    try refuses("*", "127.0.0.1", "can't listen on 0.0.0.0:\(web)")
    try refuses("127.0.0.1", "127.0.0.2", "admin.listen: can't listen on 127.0.0.2:\(admin)")
    try refuses("127.0.0.1", "*", "admin.listen: can't listen on 0.0.0.0:\(admin)")
    #expect(martlet.log.components(separatedBy: "configuration is refused").count == 5)
    withExtendedLifetime(neighbours) {}
    #expect(try Wire(port: web).get().text == "hello")
  }
}
