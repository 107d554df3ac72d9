// Upgrades with UDP sessions: each keeps its backend and its socket, and no datagram is lost.

import Foundation
import Testing

@Suite(.serialized) struct UDPUpgradeTests {
  /// Fewer and more workers: the group of sockets stays as it is.
  @Test(arguments: [[2, 2], [2, 1, 3]])
  func `sessions keep their backends, and queries are answered without a gap`(
    _ workers: [Int]
  ) throws {
    let backends = [try StubDatagrams("a"), try StubDatagrams("b"), try StubDatagrams("c")]
    let installed = try Installed()
    func configuration(_ workers: Int) -> String {
      let list = backends.map(\.json).joined(separator: ", ")
      return """
        { "listeners": [
            { "name": "long", "listen": "127.0.0.1:0", "protocol": "udp", "pool": "p" },
            { "name": "dns", "listen": "127.0.0.1:0", "protocol": "udp", "pool": "q",
              "responses": 1 }],
          "pools": [{ "name": "p", "backends": [\(list)] }, { "name": "q", "backends": [\(list)] }],
          "workers": \(workers), "process": { "pid-file": "pid" },
          "log": { "target": "access.log" } }
        """
    }
    let martlet = try installed.start(configuration(workers[0]), keeping: backends)
    let clients = try (0..<20).map { _ in try DatagramSocket() }
    var names: [String] = []
    for client in clients {
      names.append(String(try #require(client.ask("0", martlet.ports[0])).prefix(1)))
    }
    let ports = Set(backends.flatMap { $0.received.map(\.port) })
    #expect(ports.count == 20 && Set(names).count == 3)
    let queries = Queries(martlet.ports[1])
    for count in workers.dropFirst() {
      try installed.folder.write(configuration(count), to: "config.json")
      // On their way while the processes change.
      for (index, client) in clients.enumerated() { client.send("\(index)", to: martlet.ports[0]) }
      #expect(try installed.upgrade().status == 0, "\(martlet.log)")
      for (index, client) in clients.enumerated() {
        #expect(client.receiveText() == "\(names[index]):\(index)", "\(martlet.log)")
        #expect(client.ask("after", martlet.ports[0]) == "\(names[index]):after")
      }
    }
    let result = queries.stop()
    #expect(result.unanswered == 0 && result.count > 20, "\(result) \(martlet.log)")
    #expect(martlet.log.contains("took over UDP sessions"))
    #expect(martlet.log.contains("sessions=20") || martlet.log.contains("sessions=21"))
    let used = Set(backends.flatMap { $0.received.filter { $0.text == "after" }.map(\.port) })
    #expect(used == ports, "the sockets are the same")
    #expect(try martlet.process.waitForExit() == 0)
    kill(installed.servingProcess, SIGTERM)
    // One line for each session, with what both processes have forwarded.
    try eventually("all are logged", atMost: 30) {
      try martlet.accessLines().count { $0["listener"] as? String == "long" } >= 20
    }
    let lines = try martlet.accessLines().filter { $0["listener"] as? String == "long" }
    #expect(lines.count == 20)
    let datagrams = 1 + 2 * (workers.count - 1)
    #expect(lines.allSatisfy { $0["received_datagrams"] as? Int == datagrams }, "\(lines)")
  }
}

/// Asks in a loop on a thread, each time from another port, as a resolver does.
private final class Queries: @unchecked Sendable {
  private let lock = NSLock()
  private var isStopped = false
  private var answers = 0
  private var unanswered = 0
  private let done = DispatchSemaphore(value: 0)

  init(_ port: Int) {
    Foundation.Thread.detachNewThread { [self] in
      while !lock.withLock({ isStopped }) {
        let reply = (try? DatagramSocket())?.ask("q", port, within: 5)
        lock.withLock {
          if reply?.hasSuffix(":q") == true { answers += 1 } else { unanswered += 1 }
        }
      }
      done.signal()
    }
  }

  func stop() -> (count: Int, unanswered: Int) {
    lock.withLock { isStopped = true }
    done.wait()
    return lock.withLock { (answers, unanswered) }
  }
}
