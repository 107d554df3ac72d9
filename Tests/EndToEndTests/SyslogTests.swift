// Both logs sent to syslog, read by a receiver that follows RFC 5424 strictly, over a Unix socket
// and over UDP; and what happens to lines while there is no receiver.

import Foundation
import Testing

@Suite struct SyslogTests {
  /// A receiver in Python. It writes each valid message as a line of JSON, and the errors of other
  /// messages to its standard error.
  private static let receiver = #"""
    import json, os, re, socket, sys
    place = sys.argv[1]
    if place == "udp":
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        receiver.bind(("127.0.0.1", 0))
        print(receiver.getsockname()[1], flush=True)
    else:
        if os.path.exists(place):
            os.unlink(place)
        receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        receiver.bind(place)
        print("bound", flush=True)
    # RFC 5424 6, with the lengths that it allows.
    header = re.compile(
        rb"<(0|[1-9]\d{0,2})>([1-9]\d{0,2}) "
        rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)) "
        rb"([\x21-\x7e]{1,255}) ([\x21-\x7e]{1,48}) ([\x21-\x7e]{1,128}) ([\x21-\x7e]{1,32}) "
        rb"(-|(?:\[[^\]]+\])+)(?: (.*))?", re.S)
    while True:
        data = receiver.recv(65536)
        match = header.fullmatch(data)
        if not match or int(match[1]) > 191 or match[2] != b"1" or b"\n" in data:
            print("invalid:", data, file=sys.stderr, flush=True)
            continue
        print(json.dumps({
            "facility": int(match[1]) // 8, "severity": int(match[1]) % 8,
            "app": match[5].decode(), "process": match[6].decode(), "id": match[7].decode(),
            "text": (match[9] or b"").decode()}), flush=True)
    """#

  private struct Message: Decodable {
    let facility, severity: Int
    let app, process, id, text: String
  }

  private func receive(_ place: String, in folder: TemporaryFolder) throws -> ChildProcess {
    let child = try ChildProcess(["python3", "-c", Self.receiver, place], in: folder.path)
    eventually("it receives") { child.outputText.contains("\n") }
    return child
  }

  private func messages(_ receiver: ChildProcess) -> [Message] {
    receiver.outputText.split(separator: "\n").dropFirst().compactMap {
      try? JSONDecoder().decode(Message.self, from: Data($0.utf8))
    }
  }

  private func configuration(_ stub: StubBackend, _ log: String) -> String {
    """
    { "listeners": [{ "listen": "127.0.0.1:0" }], "pools": [{ "backends": [\(stub.json)] }],
      "watch": false, "log": { \(log) } }
    """
  }

  @Test func `both logs go to a Unix socket, message for message`() throws {
    let folder = TemporaryFolder()
    let receiver = try receive(folder.path("log"), in: folder)
    let stub = try StubBackend("hello")
    let target = "syslog:\(folder.path("log"))"
    let martlet = try MartletProcess(
      configuration(stub, #""target": "\#(target)""#), in: folder, keeping: [stub])
    try folder.write(
      configuration(stub, #""target": "\#(target)", "process-target": "\#(target)""#),
      to: "config.json")
    martlet.signal(SIGHUP)
    eventually("it is in force") {
      messages(receiver).contains { $0.text == "the new configuration is in force" }
    }
    for number in 0..<50 { _ = try martlet.get("/\(number)") }
    eventually("all are there") { messages(receiver).count { $0.id == "access" } == 50 }
    // Workers write in turn, so only the order of each worker is fixed.
    var targets: Set<String> = []
    for message in messages(receiver) where message.id == "access" {
      let line = try JSONSerialization.jsonObject(with: Data(message.text.utf8))
      let object = try #require(line as? [String: Any])
      targets.insert(try #require(object["target"] as? String))
      #expect(message.facility == 3 && message.severity == 6 && message.app == "martlet")
      #expect(message.process == "\(martlet.process.id)")
    }
    #expect(targets == Set((0..<50).map { "/\($0)" }))
    #expect(try martlet.terminate() == 0)
    let words = messages(receiver).filter { $0.id == "process" }
    #expect(words.contains { $0.text == "the new configuration is in force" && $0.severity == 5 })
    #expect(words.contains { $0.text.hasPrefix("stopped requests=50") })
    #expect(receiver.errorText.isEmpty, "\(receiver.errorText)")
  }

  @Test func `UDP carries them as well, however long a line is`() throws {
    let folder = TemporaryFolder()
    let receiver = try receive("udp", in: folder)
    let port = try #require(receiver.outputText.split(separator: "\n").first)
    let stub = try StubBackend("hello")
    let martlet = try MartletProcess(
      configuration(stub, #""access": "$target", "target": "syslog:127.0.0.1:\#(port)""#),
      in: folder, keeping: [stub])
    let long = "/" + String(repeating: "x", count: 7000)
    #expect(try martlet.get(long).status == 200)
    _ = try martlet.get("/last")
    // They may be from two workers, which write in any order.
    eventually("they are there") { Set(messages(receiver).map(\.text)) == [long, "/last"] }
    #expect(receiver.errorText.isEmpty, "\(receiver.errorText)")
  }

  @Test func `lines that are logged while the receiver is away are sent when it is back`() throws {
    let folder = TemporaryFolder()
    let first = try receive(folder.path("log"), in: folder)
    let stub = try StubBackend("hello")
    let martlet = try MartletProcess(
      configuration(stub, #""access": "$target", "target": "syslog:\#(folder.path("log"))""#),
      in: folder, keeping: [stub])
    _ = try martlet.get("/one")
    eventually("it is there") { messages(first).map(\.text) == ["/one"] }
    first.signal(SIGKILL)
    _ = try first.waitForExit()
    _ = try martlet.get("/two")
    eventually("it is said") { martlet.log.contains("the access log can't be written") }
    let second = try receive(folder.path("log"), in: folder)
    eventually("what waited is sent") { messages(second).map(\.text) == ["/two"] }
    eventually("and it is said") { martlet.log.contains("the access log can be written again") }
  }

  @Test func `a receiver that isn't there stops neither a start nor a reload, and check warns`()
    throws
  {
    let folder = TemporaryFolder()
    let stub = try StubBackend("hello")
    let place = folder.path("log")
    let log = #""access": "$target", "target": "syslog:\#(place)""#
    let martlet = try MartletProcess(
      configuration(stub, log + #", "process-target": "syslog:\#(place)""#), in: folder,
      keeping: [stub])
    #expect(try martlet.get("/one").text == "hello")
    eventually("it is said") { martlet.log.contains("the access log can't be written") }
    martlet.signal(SIGHUP)
    eventually("it is in force") { martlet.log.contains("the new configuration is in force") }
    let checked = try run([Installation.binary, "check"], in: folder.path)
    #expect(checked.status == 0)
    for key in ["log.target", "log.process-target"] {
      #expect(checked.errors.contains("warning: \(key): no syslog receiver at"), "\(checked)")
    }
    let receiver = try receive(place, in: folder)
    eventually("what waited is sent") {
      messages(receiver).contains { $0.id == "access" && $0.text == "/one" }
    }
  }

  @Test func `a refused reload leaves the process log as it was`() throws {
    let folder = TemporaryFolder()
    let receiver = try receive(folder.path("log"), in: folder)
    let stub = try StubBackend("hello")
    let martlet = try MartletProcess(configuration(stub, ""), in: folder, keeping: [stub])
    let taken = try StubBackend("taken")
    try folder.write(
      configuration(
        stub,
        #""level": "error", "format": "json", "process-target": "syslog:\#(folder.path("log"))""#
      ).replacingOccurrences(of: "127.0.0.1:0", with: taken.address), to: "config.json")
    martlet.signal(SIGHUP)
    eventually("it is refused") { martlet.log.contains("can't listen on \(taken.address)") }
    #expect(!martlet.log.contains("{\"time\"") && messages(receiver).isEmpty)
  }
}
